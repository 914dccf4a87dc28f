use super::*;

fn small() -> GenerationReport {
    let set = SetFacts {
        name: "Seeds".into(),
        count: 2,
        distinct: [0.5, 0.75, 1.0],
        similarity: None,
        not_questions: 100.0,
        mean_words: 7.5,
        verb_count: 1,
        verbs: vec![VerbFacts {
            verb: "write".into(),
            count: 2,
            percent: 100.0,
            objects: "poem 1".into(),
        }],
    };
    GenerationReport {
        title: "g".into(),
        folder: "/tmp/g".into(),
        generated_with: "pairwright".into(),
        notices: vec!["2 LLM calls failed".into()],
        tiles: vec![KeyValue::new("Seeds", 2)],
        losses: vec![Loss {
            of: "raw".into(),
            code: "seed_copy".into(),
            count: 3,
            percent: 12.5,
            examples: vec![KeyValue::new("Write <b>bold</b>.", "seed s1 word for word")],
        }],
        map: ClusterMap {
            points: vec![MapPoint { x: 0.0, y: 600.0, hue: 137, tip: "cluster 1: \"x\"".into() }],
            total: 1,
            carried: 42.0,
        },
        clusters: vec![ClusterFacts {
            number: 0,
            size: 4,
            hue: 0,
            inertia: 1.5,
            verdict: "reply_prose".into(),
            text: String::new(),
            reason: "nothing in the reply".into(),
            nearest: vec![KeyValue::new("photo-1", "Write a poem about the image.")],
        }],
        largest: 4,
        tried: vec![TriedFacts { k: 2, silhouette: 0.25, inertia: 3.0, chosen: true }],
        sets: vec![set],
        facts: vec![KeyValue::new("seeds_hash", "abc")],
        prompts: vec![PromptText {
            name: "augment.user.txt".into(),
            hash: "f".repeat(32),
            text: "{description}".into(),
        }],
        stages: vec![StageTime { name: "augment".into(), items: 8, seconds: 2.5 }],
    }
}

#[test]
fn the_page_holds_what_it_was_given_and_escapes_it() {
    let page = render::render_generation(&small()).expect("rendered");
    for wanted in [
        "seed_copy",
        "12.5 %",
        "&lt;b&gt;bold",
        "42.0 %",
        "nothing in the reply",
        "photo-1",
        "2 (chosen)",
        "0.250",
        "poem 1",
        "augment.user.txt",
        "2 LLM calls failed",
    ] {
        assert!(page.contains(wanted), "{wanted}");
    }
    assert!(page.contains("cx=\"0.0\" cy=\"600.0\"") && page.contains("hsl(137 62% 50%)"));
    assert!(!page.contains("<b>bold") && !page.contains("<script"));
}

#[test]
fn an_empty_generation_has_a_page_too() {
    let mut data = small();
    (data.losses, data.clusters, data.tried, data.sets) = Default::default();
    data.map = ClusterMap::default();
    let page = render::render_generation(&data).expect("rendered");
    for wanted in ["Nothing was lost", "Nothing was clustered", "There are no clusters"] {
        assert!(page.contains(wanted), "{wanted}");
    }
}

#[test]
fn a_run_shows_it_as_a_section() {
    let mut run = super::super::fixture::small();
    assert!(!render::render(&run).expect("rendered").contains("instruction-map"));
    run.generation = Some(small());
    let page = render::render(&run).expect("rendered");
    assert!(page.contains("href=\"#instructions\"") && page.contains("id=\"instruction-map\""));
}
