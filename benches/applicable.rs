//! How many of the drawn instructions apply to their photo, by labels, with each kind of check and
//! each correction for hubs, and how well the checks agree with the labels.
//!
//!     cargo bench --bench applicable -- [LIBRARY.jsonl]
//!
//! Photos, captions and labels are those of `../shared/data` (80 photos, 58 instructions); without
//! them it says so and ends. The library defaults to the labelled instructions, whose requirements
//! are then found by rule; a library with `requires` measures those. Each photo is drawn for 100
//! times; the shares are over all draws. Photos go the way of a run: search, check, draw. The
//! language model is a stub that answers from the labels, one answer in ten turned round; it is
//! asked as the service asks, about the best candidates alone.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pairwright::encoder::{Encoder, EncoderOptions, OnnxEncoder};
use pairwright::image::DecodeOptions;
use pairwright::index::{ExactIndex, VectorStore};
use pairwright::matching::check::{
    Asked, CheckKind, CheckVerdict, Checker, PhotoView, Requirements,
};
use pairwright::matching::{
    Candidate, CandidateCheck, Drawing, Hubness, HubnessFit, MatchRules, Matcher, MatchingConfig,
    QuotaBook, Wording, checked_candidates, combined_query,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

const DRAWS: u64 = 100;

const NONE: &[CheckKind] = &[];
const BOTH: &[CheckKind] = &[CheckKind::Text, CheckKind::Encoder];

/// One wrong answer of the stub in this many.
const WRONG: u32 = 10;

/// How a photo's candidates are checked.
#[derive(Clone, Copy)]
struct Mode {
    kinds: &'static [CheckKind],
    /// Captions are known to search, checks and stub.
    with_text: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Label {
    Applies,
    Weak,
    Not,
}

struct Photo {
    captions: Vec<String>,
    image: Vec<f32>,
    caption: Vec<f32>,
    labels: Vec<Label>,
}

struct Instruction {
    id: String,
    text: String,
    requires: Option<Vec<String>>,
}

struct World {
    encoder: Arc<dyn Encoder>,
    photos: Vec<Photo>,
    instructions: Vec<Instruction>,
    index: Arc<ExactIndex>,
    /// Instructions that do not apply to some photo.
    bound: Vec<bool>,
}

fn main() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    if !shared.join("applicable/labels.jsonl").exists() {
        println!("applicable: SKIPPED, {} is not there", shared.display());
        return;
    }
    let library = std::env::args().skip(1).find(|arg| arg.ends_with(".jsonl"));
    let library =
        library.map_or_else(|| shared.join("applicable/instructions.jsonl"), PathBuf::from);
    let world = World::read(&shared, &library);
    println!("library {}: {}", library.display(), world.instructions.len());
    for one in &world.instructions {
        let requires = one.requires.clone().unwrap_or_else(|| Requirements::of_text(&one.text));
        println!("  {:24} {}", one.id, requires.join(" + "));
    }
    world.checks();
    world.corrections();
}

fn rows(path: &Path) -> Vec<Value> {
    let text = fs_err::read_to_string(path).expect("readable");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn texts(value: &Value) -> Vec<String> {
    let items = value.as_array().into_iter().flatten();
    items.filter_map(|one| Some(one.as_str()?.to_owned())).collect()
}

impl World {
    fn read(shared: &Path, library: &Path) -> Self {
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/mini");
        let encoder =
            OnnxEncoder::open(&model, &EncoderOptions::default(), DecodeOptions::default());
        let encoder: Arc<dyn Encoder> = Arc::new(encoder.expect("the bundled model"));
        let instruction = |row: Value| Instruction {
            id: row["id"].as_str().expect("an id").to_owned(),
            text: row["text"].as_str().expect("a text").to_owned(),
            requires: row.get("requires").map(texts),
        };
        let instructions: Vec<_> = rows(library).into_iter().map(instruction).collect();
        let embed = |texts: &[&str]| -> Vec<Vec<f32>> {
            let embedded = encoder.embed_texts(texts).expect("embeds");
            embedded.into_iter().map(|text| text.vector).collect()
        };
        let vectors = embed(&instructions.iter().map(|one| &*one.text).collect::<Vec<_>>());
        let mut index = ExactIndex::new(encoder.dim(), 1).expect("a width");
        for (one, vector) in instructions.iter().zip(&vectors) {
            index.add(&one.id, vector).expect("added");
        }
        let labels: HashMap<u64, Value> = rows(&shared.join("applicable/labels.jsonl"))
            .into_iter()
            .map(|row| (row["image_id"].as_u64().expect("an id"), row))
            .collect();
        let photos = rows(&shared.join("coco-train80/captions.jsonl")).into_iter().map(|row| {
            let file = shared.join("coco-train80").join(row["file_name"].as_str().expect("a file"));
            let bytes = fs_err::read(file).expect("a photo");
            let pixels = encoder.preprocessor().prepare(&bytes).expect("decodes").0;
            let captions = texts(&row["captions"]);
            // As the sources join them.
            let ended = |text: &String| {
                let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
                if text.ends_with(['.', '!', '?']) { text } else { format!("{text}.") }
            };
            let joined = captions.iter().map(ended).collect::<Vec<_>>().join(" ");
            let label = &labels[&row["id"].as_u64().expect("an id")];
            let (weak, not) = (texts(&label["weak"]), texts(&label["not"]));
            let label = |one: &Instruction| match (weak.contains(&one.id), not.contains(&one.id)) {
                (_, true) => Label::Not,
                (true, _) => Label::Weak,
                _ => Label::Applies,
            };
            Photo {
                image: encoder.embed_images(&[pixels]).expect("embeds").remove(0),
                caption: embed(&[&joined]).remove(0),
                labels: instructions.iter().map(label).collect(),
                captions,
            }
        });
        let photos: Vec<Photo> = photos.collect();
        let is_bound = |at: usize| photos.iter().any(|photo| photo.labels[at] == Label::Not);
        let bound = (0..instructions.len()).map(is_bound).collect();
        let index = Arc::new(index);
        Self { encoder, photos, instructions, index, bound }
    }

    fn asked(&self) -> Vec<Asked<'_>> {
        self.instructions
            .iter()
            .map(|Instruction { text, requires, .. }| Asked { text, requires: requires.as_deref() })
            .collect()
    }

    /// Whether the stub says that each instruction applies to each photo.
    fn said(&self) -> Vec<Vec<bool>> {
        let mut random = ChaCha8Rng::seed_from_u64(7);
        let mut said =
            |label: &Label| (*label == Label::Applies) != (random.random_range(0..WRONG) == 0);
        self.photos.iter().map(|photo| photo.labels.iter().map(&mut said).collect()).collect()
    }

    /// For each photo, which instructions pass the named checks.
    fn passed(&self, mode: Mode) -> Vec<Vec<bool>> {
        if mode.kinds.contains(&CheckKind::Llm) {
            return self.said();
        }
        let checker = Checker::new(mode.kinds, Some(Arc::clone(&self.encoder)));
        let asked = self.asked();
        let one = |photo: &Photo| -> Vec<bool> {
            let view = PhotoView {
                descriptions: if mode.with_text { &photo.captions } else { &[] },
                image: Some(&photo.image),
            };
            let verdicts = checker.verdicts(&view, &asked).expect("checked");
            verdicts.iter().map(CheckVerdict::passed).collect()
        };
        self.photos.iter().map(one).collect()
    }

    fn checks(&self) {
        let mode = |kinds, with_text| Mode { kinds, with_text };
        let modes: [(&str, Mode); 7] = [
            ("off", mode(&[], true)),
            ("text", mode(&[CheckKind::Text], true)),
            ("encoder", mode(&[CheckKind::Encoder], true)),
            ("text,encoder", mode(BOTH, true)),
            ("llm (stub)", mode(&[CheckKind::Llm], true)),
            ("off, photo alone", mode(&[], false)),
            ("both, photo alone", mode(BOTH, false)),
        ];
        println!("\nprecision and recall of the checks over all pairs of photo and instruction");
        for (name, mode) in modes.iter().filter(|(_, mode)| !mode.kinds.is_empty()) {
            let passed = self.passed(*mode);
            self.agreement(name, &passed, false);
            self.agreement(name, &passed, true);
        }
        for per_image in [1, 3] {
            println!("\nper_image {per_image}");
            let mut before = [0.0; 2];
            for (name, mode) in modes {
                let config = MatchingConfig { per_image, ..MatchingConfig::default() };
                let drawn = self.draw(config, 0.3, mode);
                let base = &mut before[usize::from(mode.with_text)];
                if name.starts_with("off") {
                    *base = drawn.bound;
                }
                drawn.print(name, *base);
            }
        }
    }

    fn agreement(&self, name: &str, passed: &[Vec<bool>], bound: bool) {
        let mut counts: HashMap<(usize, bool), f64> = HashMap::new();
        for (photo, passed) in self.photos.iter().zip(passed) {
            for at in (0..passed.len()).filter(|&at| !bound || self.bound[at]) {
                *counts.entry((photo.labels[at] as usize, passed[at])).or_default() += 1.0;
            }
        }
        let count = |label: Label, passed| counts.get(&(label as usize, passed)).copied();
        let count = |label, passed| count(label, passed).unwrap_or(0.0);
        let all = |passed| {
            [Label::Applies, Label::Weak, Label::Not]
                .map(|one| count(one, passed))
                .iter()
                .sum::<f64>()
        };
        let caught =
            |label| 100.0 * count(label, false) / (count(label, false) + count(label, true));
        println!(
            "  {name:22} {}: passed apply {:.1} %, of what applies passed {:.1} %; refused do not \
             apply {:.1} %, of `not` refused {:.1} %, of `weak` refused {:.1} %",
            if bound { "subject-bound" } else { "all          " },
            100.0 * count(Label::Applies, true) / all(true),
            100.0 - caught(Label::Applies),
            100.0 * count(Label::Not, false) / all(false),
            caught(Label::Not),
            caught(Label::Weak),
        );
    }

    fn draw(&self, config: MatchingConfig, weight: f64, mode: Mode) -> Drawn {
        let asks = mode.kinds.contains(&CheckKind::Llm);
        let kinds = if asks { &[] } else { mode.kinds };
        let (weight, check) = (Some(weight), Some(kinds.to_vec()));
        let config = MatchingConfig { caption_weight: weight, check, ..config };
        let defaults = self.encoder.manifest().defaults;
        let rules = MatchRules::new(&config, defaults).expect("sound rules");
        let drawing = |photo: &'_ Photo| -> (Vec<f32>, Option<Vec<f32>>, Vec<String>) {
            let caption = mode.with_text.then(|| photo.caption.clone());
            let said = if mode.with_text { photo.captions.clone() } else { Vec::new() };
            (photo.image.clone(), caption, said)
        };
        let known: Vec<_> = self.photos.iter().map(drawing).collect();
        let stats = (config.hubness != Hubness::None).then(|| {
            let ids: Vec<&str> = self.instructions.iter().map(|one| &*one.id).collect();
            let mut fit = HubnessFit::new(&*self.index, &ids).expect("given").by(&config);
            for (image, caption, _) in &known {
                let query = combined_query(image, caption.as_deref(), rules.caption_weight());
                fit.add(&query.expect("a query")).expect("added");
            }
            fit.finish().expect("enough")
        });
        let places: HashMap<String, usize> =
            self.instructions.iter().zip(0..).map(|(one, at)| (one.id.clone(), at)).collect();
        let wordings: Vec<Wording> = self
            .instructions
            .iter()
            .map(|one| Wording {
                text: one.text.as_str().into(),
                requires: one.requires.as_deref().map(Into::into),
            })
            .collect();
        let by_id = places.clone();
        let check = CandidateCheck {
            checker: Checker::new(kinds, Some(Arc::clone(&self.encoder))),
            wordings: Arc::new(move |id| wordings.get(*by_id.get(id)?).cloned()),
        };
        let matcher = Matcher::new(rules, self.index.clone(), stats).expect("a matcher");
        let matcher = if kinds.is_empty() { matcher } else { matcher.with_check(check) };
        let drawings: Vec<Drawing<'_>> = known
            .iter()
            .map(|(subject, caption, descriptions)| Drawing {
                subject,
                caption: caption.as_deref(),
                descriptions,
                is_photo: true,
                seed: 0,
            })
            .collect();
        let candidates = checked_candidates(&matcher, &drawings).expect("found");
        let mut candidates: Vec<Vec<Candidate>> =
            candidates.into_iter().map(|one| one.expect("sound")).collect();
        if asks {
            for (list, said) in candidates.iter_mut().zip(self.said()) {
                // As the service asks: about the best alone, and the others are left out.
                list.retain(|one| one.is_open(matcher.rules()));
                list.sort_by(Candidate::best_first);
                list.truncate(config.top_k.max(config.per_image));
                list.retain(|one| said[places[&one.id]]);
            }
        }
        let mut drawn = Drawn::default();
        for seed in 0..DRAWS {
            let mut different = HashSet::new();
            for (number, candidates) in candidates.iter().enumerate() {
                let (left, seed) = (candidates.clone(), seed * 1000 + number as u64);
                let outcome = matcher.draw(left, &mut QuotaBook::unlimited(), seed).expect("drawn");
                drawn.left += if outcome.picks.is_empty() { 1.0 } else { 0.0 };
                for pick in &outcome.picks {
                    let at = places[&pick.id];
                    different.insert(at);
                    let label = self.photos[number].labels[at];
                    drawn.halves[number % 2][label as usize] += 1.0;
                    if self.bound[at] && label == Label::Applies {
                        drawn.bound += 1.0;
                    }
                }
            }
            drawn.different += different.len() as f64;
        }
        drawn
    }

    fn corrections(&self) {
        let nnn = |hubness_neighbours, hubness_weight| MatchingConfig {
            hubness: Hubness::Nnn,
            hubness_neighbours,
            hubness_weight,
            ..MatchingConfig::default()
        };
        let of = |hubness, temperature| MatchingConfig {
            hubness,
            temperature,
            ..MatchingConfig::default()
        };
        let corrections = [
            ("none", of(Hubness::None, 0.05)),
            ("csls", of(Hubness::Csls, 0.05)),
            ("zscore", of(Hubness::Zscore, 0.5)),
            ("nnn k 10, weight 0.25", nnn(10, 0.25)),
            ("nnn k 10, weight 0.5", nnn(10, 0.5)),
            ("nnn k 10, weight 0.75", nnn(10, 0.75)),
            ("nnn k 3, weight 0.75", nnn(3, 0.75)),
            ("nnn k 30, weight 0.75", nnn(30, 0.75)),
            ("nnn k 10, weight 1", nnn(10, 1.0)),
        ];
        for (state, kinds) in [("off", NONE), ("text,encoder", BOTH)] {
            let mode = Mode { kinds, with_text: true };
            println!("\ncorrections for hubs, per_image 1, check {state}");
            let mut base = 0.0;
            for (name, config) in &corrections {
                let drawn = self.draw(config.clone(), 0.3, mode);
                base = if *name == "none" { drawn.bound } else { base };
                drawn.print(name, base);
            }
            println!("caption weights, per_image 1, check {state}");
            for weight in [0.0, 0.3, 0.5, 0.7, 1.0] {
                let drawn = self.draw(MatchingConfig::default(), weight, mode);
                drawn.print(&format!("caption_weight {weight}"), base);
            }
        }
    }
}

#[derive(Default)]
struct Drawn {
    /// Draws by label, of the photos at even and at odd places.
    halves: [[f64; 3]; 2],
    bound: f64,
    left: f64,
    different: f64,
}

impl Drawn {
    fn print(&self, name: &str, bound_before: f64) {
        let share = |counts: &[f64; 3]| {
            let all: f64 = counts.iter().sum();
            counts.map(|count| 100.0 * count / all.max(1.0))
        };
        let both = [0, 1, 2].map(|label| self.halves[0][label] + self.halves[1][label]);
        let ([applies, weak, not], [one, other]) =
            (share(&both), [0, 1].map(|half| share(&self.halves[half])));
        let draws = DRAWS as f64;
        println!(
            "  {name:22} applies {applies:5.1} weak {weak:5.1} not {not:5.1} (halves: applies {:.0} {:.0}, not \
             {:.1} {:.1}); {:5.1} pairs, {:4.1} different, {:4.1} photos left; subject-bound that \
             apply {:5.1} ({:.0} % of before)",
            one[0],
            other[0],
            one[2],
            other[2],
            both.iter().sum::<f64>() / draws,
            self.different / draws,
            self.left / draws,
            self.bound / draws,
            100.0 * self.bound / bound_before.max(1.0),
        );
    }
}
