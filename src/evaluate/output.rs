//! What an evaluation leaves for people and programs: JSON, CSV (RFC 4180) and an HTML page that
//! loads nothing, in which every value of the evaluation is escaped.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior, Value, context};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::Error;
use crate::base::json;
use crate::dataset::sink::StagedFile;

use super::error::EvaluationError;
use super::folder::EvaluationFolder;
use super::results::{JudgeResults, LeaderboardResults, RESULTS_FILE};
use super::stats::{Share, p_value};
use super::tally::{QuestionResult, Side};

/// One row per question.
pub const VERDICTS_FILE: &str = "verdicts.csv";
/// The page for people.
pub const REPORT_FILE: &str = "report.html";

/// Writes the three files of a judged pair, each whole or not at all.
pub(super) fn write_judge(folder: &EvaluationFolder, results: &JudgeResults) -> Result<(), Error> {
    save_json(&folder.file(RESULTS_FILE), results)?;
    save(&folder.file(VERDICTS_FILE), verdicts(results).as_bytes())?;
    save(&folder.file(REPORT_FILE), judge_page(results)?.as_bytes())
}

/// Puts `bytes` in the place of an earlier file, in one step.
pub(super) fn save(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut file = StagedFile::create(path)?;
    file.put(bytes)?;
    file.commit(1)?;
    Ok(())
}

/// As [`save`], for anything that serialises.
pub(super) fn save_json<T: Serialize>(path: &Path, value: &T) -> Result<(), Error> {
    let mut text = serde_json::to_vec_pretty(value)
        .map_err(|error| EvaluationError::io(path)(std::io::Error::other(error)))?;
    text.push(b'\n');
    save(path, &text)
}

/// As [`save`], for rows of JSON, each on a line of its own for any reader.
pub(super) fn save_json_lines(path: &Path, rows: &[serde_json::Value]) -> Result<(), Error> {
    let mut text = Vec::new();
    for row in rows {
        json::append(&mut text, row)
            .map_err(|error| EvaluationError::io(path)(std::io::Error::other(error)))?;
        text.push(b'\n');
    }
    save(path, &text)
}

/// Writes the two files of a leaderboard.
pub(super) fn write_leaderboard(
    folder: &EvaluationFolder,
    results: &LeaderboardResults,
) -> Result<(), Error> {
    save_json(&folder.file(RESULTS_FILE), results)?;
    save(&folder.file(REPORT_FILE), leaderboard_page(results)?.as_bytes())
}

/// The columns of [`VERDICTS_FILE`].
const HEAD: [&str; 15] = [
    "question_id",
    "category",
    "instruction",
    "strict",
    "paper",
    "consistency",
    "forward",
    "backward",
    "forfeit",
    "first_words",
    "second_words",
    "forward_reply",
    "backward_reply",
    "first_answer",
    "second_answer",
];

/// One row per question, in the questions' order.
fn verdicts(results: &JudgeResults) -> String {
    let mut text = HEAD.join(",") + "\r\n";
    for question in &results.verdicts {
        let row: Vec<String> = fields(question).iter().map(|field| quoted(field)).collect();
        text.push_str(&row.join(","));
        text.push_str("\r\n");
    }
    text
}

fn fields(question: &QuestionResult) -> [String; HEAD.len()] {
    [
        question.question_id.to_string(),
        question.category.clone(),
        question.instruction.clone(),
        question.strict.name().to_owned(),
        question.paper.name().to_owned(),
        question.consistency.name().to_owned(),
        question.forward.label().to_owned(),
        question.backward.label().to_owned(),
        question.forfeit.to_string(),
        question.first_words.to_string(),
        question.second_words.to_string(),
        last_reply(&question.forward),
        last_reply(&question.backward),
        question.first_answer.clone(),
        question.second_answer.clone(),
    ]
}

fn last_reply(side: &Side) -> String {
    side.replies.last().map(|reply| reply.text.clone()).unwrap_or_default()
}

/// Quotes where needed. A cell that a spreadsheet would run as a formula is given an apostrophe,
/// since replies and answers are strangers' texts.
fn quoted(field: &str) -> String {
    let formula = field.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let field = if formula { format!("'{field}") } else { field.to_owned() };
    if field.contains([',', '"', '\n', '\r']) {
        return format!("\"{}\"", field.replace('"', "\"\""));
    }
    field
}

/// The look of the run's report, and what only this page needs.
const STYLES: [&str; 2] =
    [include_str!("../report/page/report.css"), include_str!("page/evaluation.css")];
const SCRIPT: &str = include_str!("page/evaluation.js");

/// The page's parts. Their names end in `.html`, which switches escaping on.
const TEMPLATES: [(&str, &str); 3] = [
    ("frame.html", include_str!("page/frame.html.j2")),
    ("judge.html", include_str!("page/judge.html.j2")),
    ("leaderboard.html", include_str!("page/leaderboard.html.j2")),
];

/// A question with its labels.
#[derive(Serialize)]
struct Card<'a> {
    result: &'a QuestionResult,
    strict: &'static str,
    paper: &'static str,
    consistency: &'static str,
    forward: &'static str,
    backward: &'static str,
}

/// The page of a judged pair.
fn judge_page(results: &JudgeResults) -> Result<String, EvaluationError> {
    let cards: Vec<Card<'_>> = results.verdicts.iter().map(card).collect();
    let values = context! {
        results => Value::from(Serde(results)),
        cards => Value::from(Serde(cards)),
        main => Value::from(Serde(results.under(results.rule))),
        position => results.position.to_string(),
        length => results.under(results.rule).length.to_string(),
        title => format!("{} against {}", results.first.name, results.second.name),
    };
    render("judge.html", values)
}

fn card(result: &QuestionResult) -> Card<'_> {
    Card {
        result,
        strict: result.strict.name(),
        paper: result.paper.name(),
        consistency: result.consistency.name(),
        forward: result.forward.label(),
        backward: result.backward.label(),
    }
}

/// The page of a leaderboard.
fn leaderboard_page(results: &LeaderboardResults) -> Result<String, EvaluationError> {
    let values = context! {
        results => Value::from(Serde(results)),
        opponents => results.opponents(),
        position => results.position.to_string(),
        title => format!("{} models", results.ranking.len()),
    };
    render("leaderboard.html", values)
}

fn render(template: &str, values: Value) -> Result<String, EvaluationError> {
    let page = environment()?.get_template(template)?.render(context! {
        style => Value::from_safe_string(STYLES.concat()),
        script => Value::from_safe_string(SCRIPT.to_owned()),
        script_hash => format!("sha256-{}", STANDARD.encode(Sha256::digest(SCRIPT))),
        ..values
    })?;
    Ok(page)
}

fn environment() -> Result<Environment<'static>, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.add_filter("share", |share: Serde<Share>| share.0.to_string());
    environment.add_filter("p", p_value);
    environment.add_filter("fixed", |number: f64, digits: usize| format!("{number:.digits$}"));
    for (name, source) in TEMPLATES {
        environment.add_template(name, source)?;
    }
    Ok(environment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_where_they_must_be() {
        assert_eq!(quoted("plain"), "plain");
        assert_eq!(quoted("a, \"b\"\nc"), "\"a, \"\"b\"\"\nc\"");
        assert_eq!(quoted("=1+2"), "'=1+2");
        assert_eq!(quoted("- B, surely"), "\"'- B, surely\"");
    }
}
