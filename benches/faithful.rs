//! How well each measure sees false claims that were planted in answers, by labels, beside plain
//! ways; and what the filters refuse of good answers.
//!
//!     cargo bench --bench faithful
//!
//! Answers, captions and labels are those of `../shared/data` (`faithful/`, `strong-run/`); without
//! them it says so and ends. A flagged phrase is right inside a span that is planted or labelled as
//! unsupported. Figures stand for all photos and, in brackets, for those at even places, on which
//! the measure was made, and at odd ones. Intervals: 1,000 draws of photos, 95 %.

use std::collections::HashSet;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use pairwright::answer::filter::{FilterConfig, Filters, Verdict};
use pairwright::base::nouns::mentions;
use pairwright::dataset::record::{MeasureValue, SampleView};
use pairwright::encoder::{Encoder, EncoderOptions, OnnxEncoder, cosine};
use pairwright::image::DecodeOptions;
use pairwright::measure::MeasureName;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

const DRAWS: usize = 1000;

/// Share of the planted spans that must be found.
const RECALL: f64 = 0.5;

/// An instruction that begins so asks for something new; others ask about what is there.
const INVENTS: &[&str] = &["Write", "Plan", "Tell", "Make", "Suggest"];

struct Span {
    place: Range<usize>,
    planted: bool,
    is_object: bool,
}

struct Row {
    photo: String,
    is_even: bool,
    invents: bool,
    mismatch: bool,
    answer: String,
    spans: Vec<Span>,
    /// By measure.
    values: Vec<Option<f64>>,
    /// By way: phrases with a score, the likeliest faults first.
    flags: Vec<Vec<(f64, Range<usize>)>>,
}

const MEASURES: [MeasureName; 4] = [
    MeasureName::ObjectsUnsupported,
    MeasureName::SentenceSimilarityMin,
    MeasureName::SentenceSimilarityMean,
    MeasureName::LengthWords,
];

const WAYS: [&str; 4] =
    ["`objects_unsupported`", "noun look-up", "look-up, by ALOHa's similarity", "random nouns"];

fn main() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    if !shared.join("faithful/rows.jsonl").exists() {
        println!("faithful: SKIPPED, {} is not there", shared.display());
        return;
    }
    let rows = read(&shared);
    if std::env::args().any(|one| one == "--errors") {
        return errors(&rows);
    }
    precision(&rows);
    answers(&rows);
    filters(&shared);
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs_err::read_to_string(path).expect("readable");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn text<'a>(row: &'a Value, name: &str) -> &'a str {
    row[name].as_str().expect("a text")
}

fn read(shared: &Path) -> Vec<Row> {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/mini");
    let encoder = OnnxEncoder::open(&model, &EncoderOptions::default(), DecodeOptions::default());
    let encoder: Arc<dyn Encoder> = Arc::new(encoder.expect("the bundled model"));
    let measures = MEASURES.map(|name| name.build(Arc::clone(&encoder)).expect("of one sample"));
    let raw = lines(&shared.join("faithful/rows.jsonl"));
    let mut photos: Vec<&str> = raw.iter().map(|row| text(row, "image")).collect();
    photos.sort_unstable();
    photos.dedup();
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let row = |row: &Value| {
        let (answer, photo) = (text(row, "answer"), text(row, "image"));
        let bytes = fs_err::read(shared.join("coco-train80").join(photo)).expect("a photo");
        let pixels = encoder.preprocessor().prepare(&bytes).expect("decodes").0;
        let vector = encoder.embed_images(&[pixels]).expect("embeds").remove(0);
        let captions: Vec<&str> = row["descriptions"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|one| one.as_str().expect("a caption"))
            .collect();
        let description = captions.join("\n");
        let view = SampleView {
            text: answer,
            instruction: text(row, "instruction"),
            description: &description,
            photo: Some(&vector),
            ..SampleView::default()
        };
        let mut measured: Vec<_> =
            measures.iter().map(|one| one.values(&[view]).expect("measured").remove(0)).collect();
        let values = measured
            .iter()
            .map(|one| match one.value {
                Some(MeasureValue::Number(value)) => Some(value),
                _ => None,
            })
            .collect();
        let detail = measured.remove(0).detail.unwrap_or_default();
        let place = |one: &Value, name: &str| one[name].as_u64().expect("a place") as usize;
        let objects = detail.as_array().into_iter().flatten().map(|one| {
            let range = place(one, "begin")..place(one, "end");
            (one["score"].as_f64().expect("a score"), range)
        });
        let known: Vec<String> = mentions(&description).into_iter().map(|one| one.noun).collect();
        let nouns = mentions(answer);
        let new = || nouns.iter().filter(|one| !known.contains(&one.noun));
        let vectors = |nouns: &[String]| -> Vec<Vec<f32>> {
            let prompts: Vec<String> = nouns
                .iter()
                .map(|noun| format!("a photo of a {}", noun.replace('_', " ")))
                .collect();
            let prompts: Vec<&str> = prompts.iter().map(String::as_str).collect();
            let embedded = encoder.embed_texts(&prompts).expect("embeds");
            embedded.into_iter().map(|text| text.vector).collect()
        };
        let said = vectors(&known);
        let asked = vectors(&new().map(|one| one.noun.clone()).collect::<Vec<_>>());
        let nearest =
            |vector: &Vec<f32>| said.iter().map(|known| cosine(known, vector)).fold(0.0, f64::max);
        let flags = vec![
            objects.collect(),
            new().map(|one| (1.0, one.span.clone())).collect(),
            new().zip(&asked).map(|(one, it)| (1.0 - nearest(it), one.span.clone())).collect(),
            nouns.iter().map(|one| (random.random::<f64>(), one.span.clone())).collect(),
        ];
        let spans = |name: &str| row[name].as_array().cloned().unwrap_or_default();
        let span = |planted: bool| {
            move |one: Value| {
                let start = answer.find(text(&one, "span")).expect("a span of the answer");
                Span {
                    place: start..start + text(&one, "span").len(),
                    planted,
                    is_object: one["kind"] == "object",
                }
            }
        };
        let spans = spans("planted")
            .into_iter()
            .map(span(true))
            .chain(spans("other_unsupported").into_iter().map(span(false)))
            .collect();
        let verb = text(row, "instruction").split(' ').next().unwrap_or_default();
        Row {
            photo: photo.to_owned(),
            is_even: photos.binary_search(&photo).expect("a photo").is_multiple_of(2),
            invents: INVENTS.contains(&verb),
            mismatch: row["premise"] == "mismatch",
            answer: answer.to_owned(),
            spans,
            values,
            flags,
        }
    };
    raw.iter().map(row).collect()
}

/// Precision where half of the wanted spans are found, flags of equal score taken together, and
/// how many flags that takes; `None` where half are never found.
fn precision_at(rows: &[&Row], way: usize, objects: bool) -> Option<(f64, usize)> {
    let wanted = |span: &Span| span.planted && (span.is_object || !objects);
    let total: usize = rows.iter().flat_map(|row| &row.spans).filter(|span| wanted(span)).count();
    let mut flags: Vec<(f64, usize, &Range<usize>)> = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        flags.extend(row.flags[way].iter().map(|(score, place)| (*score, at, place)));
    }
    flags.sort_by(|one, other| other.0.total_cmp(&one.0));
    let (mut found, mut right, mut taken) = (HashSet::new(), 0, 0);
    for equal in flags.chunk_by(|one, other| one.0 == other.0) {
        for (_, at, place) in equal {
            taken += 1;
            let hit = |span: &&Span| span.place.start <= place.start && place.end <= span.place.end;
            let hits: Vec<_> =
                rows[*at].spans.iter().enumerate().filter(|(_, one)| hit(one)).collect();
            right += usize::from(!hits.is_empty());
            found.extend(hits.iter().filter(|(_, one)| wanted(one)).map(|(span, _)| (*at, *span)));
        }
        if total > 0 && found.len() as f64 >= RECALL * total as f64 {
            return Some((right as f64 / taken as f64, taken));
        }
    }
    None
}

type Figure<'a> = &'a dyn Fn(&[&Row]) -> Option<f64>;

/// The figure, its halves, and where 95 of 100 draws of photos lie.
fn shown(rows: &[&Row], figure: Figure<'_>) -> String {
    let said = |value: Option<f64>| value.map_or("none".to_owned(), |value| format!("{value:.2}"));
    let half = |even: bool| -> Vec<&Row> {
        rows.iter().copied().filter(|row| row.is_even == even).collect()
    };
    let mut photos: Vec<&str> = rows.iter().map(|row| row.photo.as_str()).collect();
    photos.sort_unstable();
    photos.dedup();
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let mut draws: Vec<f64> = (0..DRAWS)
        .filter_map(|_| {
            let drawn = (0..photos.len()).flat_map(|_| {
                let photo = photos[random.random_range(0..photos.len())];
                rows.iter().copied().filter(move |row| row.photo == photo)
            });
            figure(&drawn.collect::<Vec<_>>())
        })
        .collect();
    draws.sort_by(f64::total_cmp);
    let at = |share: f64| {
        draws.get(((draws.len() as f64 * share) as usize).min(draws.len().saturating_sub(1)))
    };
    format!(
        "{}, {} to {} ({}, {})",
        said(figure(rows)),
        said(at(0.025).copied()),
        said(at(0.975).copied()),
        said(figure(&half(true))),
        said(figure(&half(false)))
    )
}

fn groups(rows: &[Row]) -> [(&'static str, Vec<&Row>); 3] {
    [
        ("all", rows.iter().collect()),
        ("describe", rows.iter().filter(|row| !row.invents).collect()),
        ("invent", rows.iter().filter(|row| row.invents).collect()),
    ]
}

fn precision(rows: &[Row]) {
    println!("Precision of flagged phrases where half of the planted ones are found\n");
    println!("| way | tasks | objects | flags | all kinds |\n|---|---|---|---|---|");
    for (way, name) in WAYS.iter().enumerate() {
        for (tasks, rows) in groups(rows) {
            let objects = shown(&rows, &|rows| Some(precision_at(rows, way, true)?.0));
            let flags = precision_at(&rows, way, true).map_or(0, |(_, flags)| flags);
            let all = shown(&rows, &|rows| Some(precision_at(rows, way, false)?.0));
            println!("| {name} | {tasks} | {objects} | {flags} | {all} |");
        }
    }
    println!();
}

/// Share of pairs in which the first is larger, ties half.
fn auc(larger: &[f64], smaller: &[f64]) -> Option<f64> {
    let pairs = larger.len() * smaller.len();
    let won = |a: f64, b: f64| if a > b { 1.0 } else { f64::from(a == b) / 2.0 };
    let sum: f64 = larger.iter().flat_map(|a| smaller.iter().map(move |b| won(*a, *b))).sum();
    (pairs > 0).then(|| sum / pairs as f64)
}

fn answers(rows: &[Row]) {
    type Test = (&'static str, fn(&Row) -> Option<bool>);
    const TESTS: [Test; 3] = [
        ("planted object or clean", |row| {
            let planted = row.spans.iter().any(|span| span.planted);
            let object = row.spans.iter().any(|span| span.planted && span.is_object);
            (object || !planted).then_some(object)
        }),
        ("anything planted or clean", |row| Some(row.spans.iter().any(|span| span.planted))),
        ("argues with its instruction or does not", |row| Some(row.mismatch)),
    ];
    println!("AUC of answers: the larger share of pairs that the value puts in the right order\n");
    println!("| measure | tasks | {} |", TESTS.map(|test| test.0).join(" | "));
    println!("|---|---|---|---|---|");
    for (at, name) in MEASURES.iter().enumerate() {
        // A low similarity speaks for a fault.
        let is_similarity = name.name().starts_with("sentence");
        let value =
            |row: &Row| row.values[at].map(|value| if is_similarity { -value } else { value });
        for (tasks, rows) in groups(rows) {
            let figure = |test: fn(&Row) -> Option<bool>| {
                shown(&rows, &|rows| {
                    let of = |wanted: bool| -> Vec<f64> {
                        let rows = rows.iter().filter(|row| test(row) == Some(wanted));
                        rows.filter_map(|row| value(row)).collect()
                    };
                    auc(&of(true), &of(false))
                })
            };
            let figures = TESTS.map(|test| figure(test.1)).join(" | ");
            println!("| `{}` | {tasks} | {figures} |", name.name());
        }
    }
    println!("\nClean answers with one or more, and two or more unsupported objects");
    for (tasks, rows) in groups(rows) {
        let share = |planted: bool, least: f64| {
            let of = rows.iter().filter(|row| row.spans.iter().any(|span| span.planted) == planted);
            let (some, all) = of.fold((0, 0), |(some, all), row| {
                (some + i32::from(row.values[0].is_some_and(|value| value >= least)), all + 1)
            });
            format!("{some} of {all}")
        };
        println!(
            "  {tasks}: clean {}, {}; planted {}, {}",
            share(false, 1.0),
            share(false, 2.0),
            share(true, 1.0),
            share(true, 2.0)
        );
    }
    println!();
}

/// The answers of the strong writer are good: none should be refused.
fn filters(shared: &Path) {
    let filters = Filters::new(&FilterConfig::default()).expect("the defaults");
    let samples = lines(&shared.join("strong-run/samples.jsonl"));
    let mut refused = Vec::new();
    for sample in &samples {
        let view = SampleView {
            text: text(sample, "answer"),
            instruction: text(sample, "instruction"),
            description: text(&sample["lineage"], "description"),
            ..SampleView::default()
        };
        if filters.check(&view) != Verdict::Pass {
            refused.push(text(sample, "id"));
        }
    }
    println!("strong-run: {} of {} answers refused {refused:?}", refused.len(), samples.len());
}

/// What is flagged, worst first, on the photos at even places only.
fn errors(rows: &[Row]) {
    let mut flags: Vec<(f64, &Row, &Range<usize>)> = rows
        .iter()
        .filter(|row| row.is_even)
        .flat_map(|row| row.flags[0].iter().map(move |(score, place)| (*score, row, place)))
        .collect();
    flags.sort_by(|one, other| other.0.total_cmp(&one.0));
    for (score, row, place) in flags.into_iter().take(100) {
        let right = row
            .spans
            .iter()
            .any(|span| span.place.start <= place.start && place.end <= span.place.end);
        let mark = if right { '+' } else { ' ' };
        println!("{mark} {score:.2} {} | {}", &row.answer[place.clone()], row.photo);
    }
}
