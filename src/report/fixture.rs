//! A small run's report, for tests: five photos, four pairs, every verdict.

use super::histogram::{Comparison, Histogram, Layout};
use super::*;

/// A 1 × 1 pixel PNG's opening; enough to pass for a photo.
const PNG: &[u8] = &[0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a];

pub(super) fn small() -> ReportData {
    ReportData {
        title: "demo-run".into(),
        run_folder: "/data/demo-run".into(),
        generated_with: "pairwright 0.1.0".into(),
        notices: vec!["1 pair failed; `pairwright run --out demo-run` tries it again.".into()],
        run: RunFacts {
            sections: vec![Section {
                name: "Source".into(),
                rows: vec![KeyValue::new("kind", "folder"), KeyValue::new("seed", 7)],
            }],
            toml: "[llm]\nurl = \"http://127.0.0.1:8080/v1\"\n".into(),
        },
        encoder: encoder(),
        llm: LlmFacts {
            name: "SmolLM2-135M-Instruct".into(),
            backend: "local: smollm2.gguf".into(),
            notice: Some("A very small model; its answers are poor.".into()),
        },
        funnel: funnel(),
        rejections: rejections(),
        failures: vec![FailureGroup {
            code: "llm_timeout".into(),
            count: 1,
            example: "no reply within 60 s".into(),
        }],
        similarity: similarity(),
        instruction_use: instruction_use(),
        answer_words: Histogram::of(Layout::nice_counts(0, 60, 6), [42.0, 57.0]),
        tokens: TokenFacts {
            prompt: 1200,
            completion: 400,
            calls: 6,
            retries: 1,
            accepted: 2,
            spending: Vec::new(),
        },
        stages: vec![
            StageTime { name: "image".into(), items: 5, seconds: 0.25 },
            StageTime { name: "answer".into(), items: 4, seconds: 8.0 },
        ],
        prompts: vec![PromptText {
            name: "answer/system".into(),
            hash: "00112233445566778899aabbccddeeff".into(),
            text: "You see a photo.\nAnswer as if you saw it.".into(),
        }],
        generation: None,
        measures: measures(),
        matching: MatchingFacts {
            facts: vec![KeyValue::new("strategy", "softmax"), KeyValue::new("floor", 0.05)],
            hubs: vec![Hub { instruction_id: "poem".into(), mean: 0.21, deviation: 0.03 }],
        },
        samples: samples(),
        samples_total: 4,
        samples_note: String::new(),
        exports: vec![ExportFile {
            path: "dataset/llava.json".into(),
            rows: 2,
            bytes: 2048,
            sha256: "ab".repeat(32),
        }],
    }
}

fn measures() -> Vec<MeasureReport> {
    let edge = |id: &str, value, passes| EdgeSample {
        id: id.into(),
        value,
        passes,
        thumbnail: Thumbnail::from_encoded(PNG).ok().filter(|_| passes),
        width: 640,
        height: 480,
        description: "A grey cat sleeps on a chair.".into(),
        instruction: "Write a short poem.".into(),
        answer: "Grey fur on red wood.".into(),
    };
    let threshold = ThresholdReport {
        expression: "objects_unsupported <= 1".into(),
        cut: Some(2.0),
        left_out: 1,
        alone: 1,
        edge: vec![edge("cat-1", 1.0, true), edge("cat-2", 3.0, false)],
    };
    let values = Histogram::of(Layout::nice_counts(0, 3, 40), [1.0, 3.0]);
    let word = ThresholdReport {
        expression: "language == en".into(),
        cut: None,
        edge: Vec::new(),
        ..threshold.clone()
    };
    vec![
        MeasureReport {
            name: "objects_unsupported".into(),
            meaning: "things that the answer takes for there, 0 or more".into(),
            samples: 3,
            missing: 1,
            values: MeasuredValues::Numbers(values),
            thresholds: vec![threshold],
        },
        MeasureReport {
            name: "language".into(),
            meaning: String::new(),
            samples: 3,
            missing: 0,
            values: MeasuredValues::Words(vec![("en".into(), 2), ("de".into(), 1)]),
            thresholds: vec![word],
        },
    ]
}

fn encoder() -> EncoderFacts {
    EncoderFacts {
        name: "mini".into(),
        hash: "cd".repeat(32),
        embedding_dim: 256,
        stand_in: true,
        notice: Some("Use CLIP for real work.".into()),
        files: vec![ModelFile { path: "vision.onnx".into(), sha256: "ef".repeat(32) }],
        quality: vec![KeyValue::new("recall@5, photo to text", "61 %")],
    }
}

fn funnel() -> Vec<FunnelStep> {
    let step = |stage: &str, input, output, rejected, failed| FunnelStep {
        stage: stage.into(),
        input,
        output,
        rejected,
        failed,
    };
    vec![
        step("image", 5, 4, 1, 0),
        step("match", 4, 4, 0, 0),
        step("answer", 4, 3, 0, 1),
        step("filter", 3, 2, 1, 0),
    ]
}

fn rejections() -> Vec<RejectionGroup> {
    let example =
        |subject: &str, reason: &str| Example { subject: subject.into(), reason: reason.into() };
    let group = |stage: &str, code: &str, examples| RejectionGroup {
        stage: stage.into(),
        code: code.into(),
        count: 1,
        examples,
    };
    vec![
        group("image", "truncated_image", vec![example("cut.jpg", "the file ends early")]),
        group("filter", "meta_talk", vec![example("cat-1", "says \"the description\"")]),
    ]
}

fn similarity() -> Comparison {
    let mut comparison = Comparison::new(Layout::nice(-0.1, 0.4, 10));
    [(0.1, false), (-0.02, false), (0.31, true), (0.22, true)]
        .into_iter()
        .for_each(|(value, chosen)| comparison.add(value, chosen));
    comparison
}

fn instruction_use() -> Vec<InstructionUse> {
    let one = |id: &str, text: &str, chosen, accepted| InstructionUse {
        id: id.into(),
        text: text.into(),
        category: Some("creative writing".into()),
        chosen,
        accepted,
    };
    vec![
        one("menu", "Write a menu.", 1, 1),
        one("poem", "Write a short poem.", 3, 1),
        one("plan", "Plan a day out.", 0, 0),
    ]
}

fn samples() -> Vec<SampleCard> {
    let rejected =
        Verdict::Rejected { filter: "meta_talk".into(), reason: "says \"the description\"".into() };
    let failed =
        Verdict::Failed { code: "llm_timeout".into(), reason: "no reply within 60 s".into() };
    vec![
        card("cat-1", "poem", "Write a short poem.", Verdict::Accepted),
        card("cat-2", "menu", "Write a menu.", Verdict::Accepted),
        card("dog-1", "poem", "Write a short poem.", rejected),
        SampleCard {
            answer: String::new(),
            thumbnail: None,
            ..card("dog-2", "poem", "Write a short poem.", failed)
        },
    ]
}

fn card(id: &str, instruction_id: &str, instruction: &str, verdict: Verdict) -> SampleCard {
    let candidate = |id: &str, text: &str, similarity: f64, score: f64| Candidate {
        id: id.into(),
        text: text.into(),
        similarity,
        score,
        chosen: id == instruction_id,
        refused: if id == "boat" { "text: no boat".into() } else { String::new() },
    };
    let attempt = |attempt, verdict: &str, text: &str| Attempt {
        attempt,
        text: text.into(),
        verdict: verdict.into(),
        finish: "stop".into(),
        tokens: 40,
    };
    SampleCard {
        id: id.into(),
        thumbnail: Thumbnail::from_encoded(PNG).ok(),
        width: 640,
        height: 480,
        description: "A grey cat sleeps on a chair. The chair is red.".into(),
        instruction_id: instruction_id.into(),
        instruction: instruction.into(),
        category: Some("creative writing".into()),
        requires: Some("animal".into()),
        similarity: 0.22,
        score: 0.31,
        probability: Some(0.5),
        rank: 1,
        strategy: "softmax".into(),
        candidates: vec![
            candidate("poem", "Write a short poem.", 0.22, 0.31),
            candidate("menu", "Write a menu.", 0.1, -0.02),
            candidate("boat", "Sell the boat in the image.", 0.09, -0.04),
        ],
        answer: "Grey fur on red wood,\nthe afternoon forgets you.".into(),
        verdict,
        attempts: vec![
            attempt(1, "too_short", "Cat."),
            attempt(2, "accepted", "Grey fur on red wood,\nthe afternoon forgets you."),
        ],
        llm: "SmolLM2-135M-Instruct".into(),
        seed: 42,
        example_ids: vec!["ex-3".into(), "ex-7".into()],
    }
}
