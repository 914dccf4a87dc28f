//! What a judge's measures find of planted claims and of answers that argue with their instruction.
//!
//!     cargo bench --bench judged -- [stub|local|openai:URL] [ROWS]
//!
//! Rows are those of `../shared/data/faithful` (102 answers, half of them with planted claims);
//! without them it says so and ends. `stub` plays a good judge: it answers from the labels, one
//! verdict in ten turned round. Any other judge is asked as a run asks it, at most twice for each row,
//! about ROWS rows spread over the file. A claim that is not supported is right where it overlaps a
//! planted span or one that was labelled as unsupported.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use futures::{StreamExt, stream};
use pairwright::dataset::record::{MeasureValue, Measured};
use pairwright::llm::{self, ChatModel, ChatRequest, LlmConfig, SamplingSettings, See};
use pairwright::measure::judged::claims::{Verdict, claims};
use pairwright::measure::judged::{JudgePrompts, Shown};
use pairwright::measure::{JudgeConfig, MeasureName, Question};
use pairwright::work::Estimate;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;
use serde_json::json;
use tokio_util::sync::CancellationToken;

const ATTEMPTS: u32 = 2;

/// One wrong verdict of the stub in this many.
const WRONG: u32 = 10;

#[derive(Deserialize)]
struct Row {
    id: String,
    instruction: String,
    descriptions: Vec<String>,
    answer: String,
    premise: String,
    planted: Vec<Span>,
    other_unsupported: Vec<Span>,
}

#[derive(Deserialize)]
struct Span {
    span: String,
    #[serde(default)]
    against: String,
}

/// What a judge says of one row: the replies to each question.
#[derive(Default)]
struct Said {
    ratings: Vec<(String, String)>,
    claims: Vec<(String, String)>,
}

#[tokio::main]
async fn main() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/faithful/rows.jsonl");
    let Ok(text) = fs_err::read_to_string(&path) else {
        println!("judged: SKIPPED, {} is not there", path.display());
        return;
    };
    let rows: Vec<Row> =
        text.lines().map(|line| serde_json::from_str(line).expect("a row")).collect();
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let judge = arguments.first().map_or("stub", String::as_str);
    let count = arguments.get(1).map_or(rows.len(), |count| count.parse().expect("a count"));
    let step = rows.len().div_ceil(count.max(1)).max(1);
    let rows: Vec<Row> = rows.into_iter().step_by(step).collect();
    let said = match judge {
        "stub" => stub(&rows),
        target => ask(target, &rows).await,
    };
    println!("{} rows, judge {judge}", rows.len());
    report_claims(&rows, &said);
    report_ratings(&rows, &said);
}

fn shown(row: &Row) -> Shown<'_> {
    Shown {
        instruction: &row.instruction,
        answer: &row.answer,
        description: "",
        captions: &row.descriptions,
    }
}

/// Asks a model about every row, as a run does.
async fn ask(target: &str, rows: &[Row]) -> Vec<Said> {
    let mut config = LlmConfig { target: target.parse().expect("a target"), ..Default::default() };
    config.deadline_s = 3600.0;
    let at_once = config.in_flight();
    let model = llm::connect(&config).await.expect("a model");
    let prompts = JudgePrompts::read(None, &JudgePrompts::built_in()).expect("built in");
    let settings = JudgeConfig::default().resolved_settings();
    let mut estimate = Estimate::default();
    let requests = rows
        .iter()
        .flat_map(|row| [Question::Ratings, Question::Claims].map(|question| (row, question)));
    for (row, question) in requests {
        estimate.calls += 1;
        estimate.add_request(&request(&prompts, &settings, row, question, &[]));
    }
    print!("{estimate}");
    let asked = stream::iter(rows).map(async |row| Said {
        ratings: replies(&model, &prompts, &settings, row, Question::Ratings).await,
        claims: replies(&model, &prompts, &settings, row, Question::Claims).await,
    });
    asked.buffered(at_once).collect().await
}

fn request(
    prompts: &JudgePrompts,
    settings: &SamplingSettings,
    row: &Row,
    question: Question,
    replies: &[(String, String)],
) -> ChatRequest {
    let mut messages = prompts.build(question, shown(row), See::Description);
    if let Some(last) = replies.last() {
        let why = question.why_again(&row.answer, last).expect("it was refused");
        messages.extend(prompts.after_refusal(&last.0, &why.to_string()));
    }
    let mut request = ChatRequest::new(messages, settings.clone(), 1);
    request.json_schema = question.schema();
    request
}

async fn replies(
    model: &Arc<dyn ChatModel>,
    prompts: &JudgePrompts,
    settings: &SamplingSettings,
    row: &Row,
    question: Question,
) -> Vec<(String, String)> {
    let mut replies = Vec::new();
    while question.settle(&row.answer, &replies, ATTEMPTS).is_none() {
        let request = request(prompts, settings, row, question, &replies);
        match model.chat(&request, &CancellationToken::new()).await {
            Ok(reply) => replies.push((reply.text, reply.finish.name().to_owned())),
            Err(error) => {
                eprintln!("{}: {error}", row.id);
                break;
            }
        }
    }
    replies
}

/// A good judge: the labelled spans with their verdicts, the beginning of every other sentence as
/// supported, and the premise as labelled; one verdict in [`WRONG`] is turned round.
fn stub(rows: &[Row]) -> Vec<Said> {
    let mut draws = ChaCha8Rng::seed_from_u64(14);
    let mut is_wrong = || draws.random_ratio(1, WRONG);
    let mut judge = |row: &Row| {
        let planted = row.planted.iter().map(|one| (one.span.as_str(), one.against.as_str()));
        let other = row.other_unsupported.iter().map(|one| (one.span.as_str(), "not_stated"));
        let labelled: Vec<_> = planted.chain(other).collect();
        let of_labels = |text: &str| labelled.iter().any(|(span, _)| overlap(row, span, text));
        let clean = row.answer.split_inclusive(['.', '!', '?', '\n']).map(|sentence| {
            let end = sentence.match_indices(' ').nth(5).map_or(sentence.len(), |(at, _)| at);
            sentence[..end].trim()
        });
        let clean = clean.filter(|text| text.chars().any(char::is_alphanumeric));
        let clean: Vec<_> =
            clean.filter(|text| !of_labels(text)).map(|text| (text, "supported")).collect();
        let claims = labelled.iter().chain(&clean).map(|(quote, verdict)| {
            let verdict = match (*verdict, is_wrong()) {
                (verdict, false) => verdict,
                ("supported", true) => "not_stated",
                (_, true) => "supported",
            };
            json!({"quote": quote, "verdict": verdict, "why": "by label"})
        });
        let claims = json!({"claims": claims.collect::<Vec<_>>()}).to_string();
        let premise = (row.premise == "ok") != is_wrong();
        let ratings = json!({"relevance": 4, "image_correspondence": 4, "visual_dependency": 4,
            "formatting": 4, "premise": premise});
        let reply = |text: String| vec![(text, "stop".to_owned())];
        Said { ratings: reply(ratings.to_string()), claims: reply(claims) }
    };
    rows.iter().map(&mut judge).collect()
}

fn place(row: &Row, text: &str) -> Range<usize> {
    let start = row.answer.find(text).unwrap_or_else(|| panic!("{}: {text:?}", row.id));
    start..start + text.len()
}

fn overlap(row: &Row, one: &str, other: &str) -> bool {
    let (one, other) = (place(row, one), place(row, other));
    one.start < other.end && other.start < one.end
}

fn share(part: usize, whole: usize) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    format!("{:.1} % ({part}/{whole})", 100.0 * part as f64 / whole as f64)
}

fn report_claims(rows: &[Row], said: &[Said]) {
    let (mut flagged, mut right, mut planted, mut found, mut valid) = (0, 0, 0, 0, 0);
    let (mut contradicted, mut contradicted_right) = (0, 0);
    let (mut unread, mut dropped, mut false_alarms, mut clean) = (0, 0, 0, 0);
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for (row, said) in rows.iter().zip(said) {
        let read =
            said.claims.last().map(|(text, finish)| claims(&row.answer, text, finish == "length"));
        let Some(Ok(read)) = read else {
            unread += 1;
            planted += row.planted.len();
            continue;
        };
        valid += read.claims.len();
        dropped += read.dropped.values().sum::<u64>();
        let overlaps = |span: &Span, (start, end): (usize, usize)| {
            let place = place(row, &span.span);
            place.start < end && start < place.end
        };
        let flags: Vec<_> =
            read.claims.iter().filter(|claim| claim.verdict != Verdict::Supported).collect();
        let is_right = |span: (usize, usize)| {
            row.planted.iter().chain(&row.other_unsupported).any(|one| overlaps(one, span))
        };
        flagged += flags.len();
        let rights = flags.iter().filter(|claim| is_right(claim.span)).count();
        right += rights;
        let worst = flags.iter().filter(|claim| claim.verdict == Verdict::Contradicted);
        contradicted += worst.clone().count();
        contradicted_right += worst.filter(|claim| is_right(claim.span)).count();
        planted += row.planted.len();
        let hit = |one: &&Span| flags.iter().any(|claim| overlaps(one, claim.span));
        found += row.planted.iter().filter(hit).count();
        if row.planted.is_empty() && row.other_unsupported.is_empty() {
            clean += 1;
            false_alarms += usize::from(!flags.is_empty());
        }
        let value = settled(Question::Claims, row, &said.claims, MeasureName::UnsupportedShare);
        if let Some(value) = value {
            let group = if row.planted.is_empty() { &mut without } else { &mut with };
            group.push(value);
        }
    }
    println!("claims: {valid} valid, {dropped} dropped; rows that could not be read {unread}");
    println!("  flagged claims that are right     {}", share(right, flagged));
    println!("  of them called contradicted       {}", share(contradicted_right, contradicted));
    println!("  planted claims found              {}", share(found, planted));
    println!("  clean answers with a false alarm  {}", share(false_alarms, clean));
    println!("  unsupported_share, AUC planted against not  {:.3}", auc(&with, &without));
}

fn report_ratings(rows: &[Row], said: &[Said]) {
    let (mut unread, mut flagged, mut right, mut mismatch) = (0, 0, 0, 0);
    let mut values = [const { Vec::new() }; 4];
    for (row, said) in rows.iter().zip(said) {
        let is_mismatch = row.premise == "mismatch";
        mismatch += usize::from(is_mismatch);
        let read = |name| settled(Question::Ratings, row, &said.ratings, name);
        match read(MeasureName::Inapplicable) {
            Some(value) if value > 0.5 => {
                flagged += 1;
                right += usize::from(is_mismatch);
            }
            Some(_) => {}
            None => unread += 1,
        }
        for (values, name) in values.iter_mut().zip(&Question::Ratings.measures()[..4]) {
            values.extend(read(*name));
        }
    }
    println!("ratings: rows without a premise {unread}");
    println!("  inapplicable that are mismatches  {}", share(right, flagged));
    println!("  mismatches found                  {}", share(right, mismatch));
    for (values, name) in values.iter().zip(Question::Ratings.measures()) {
        let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
        let count =
            |rating: f64| values.iter().filter(|value| (**value - rating).abs() < 0.5).count();
        let counts = [1.0, 2.0, 3.0, 4.0, 5.0].map(count);
        println!("  {:<22} mean {mean:.2}, counts of 1 to 5 {counts:?}", name.name());
    }
}

fn settled(
    question: Question,
    row: &Row,
    replies: &[(String, String)],
    wanted: MeasureName,
) -> Option<f64> {
    let values = question.settle(&row.answer, replies, replies.len().max(1) as u32)?;
    let (_, Measured { value, .. }) = values.into_iter().find(|(name, _)| *name == wanted)?;
    match value? {
        MeasureValue::Number(number) => Some(number),
        MeasureValue::Text(_) => None,
    }
}

/// How often a value of the first group is above one of the second; a tie counts half.
fn auc(above: &[f64], below: &[f64]) -> f64 {
    let pairs = above.iter().flat_map(|one| below.iter().map(move |other| (one, other)));
    let won: f64 = pairs
        .map(|(one, other)| match one.total_cmp(other) {
            std::cmp::Ordering::Greater => 1.0,
            std::cmp::Ordering::Equal => 0.5,
            std::cmp::Ordering::Less => 0.0,
        })
        .sum();
    won / (above.len() * below.len()).max(1) as f64
}
