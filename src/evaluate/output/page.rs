//! `report.html`: one page that loads nothing; every value of the evaluation is escaped.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior, Value, context};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{csv, table};
use crate::evaluate::EvaluationError;
use crate::evaluate::leaderboard::LeaderboardResults;
use crate::evaluate::results::{JudgeResults, QuestionResult};
use crate::evaluate::stats::Share;

/// The look of the run's report, and what only this page needs.
const STYLES: [&str; 2] =
    [include_str!("../../report/page/report.css"), include_str!("page/evaluation.css")];
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
pub(super) fn judge(results: &JudgeResults) -> Result<String, EvaluationError> {
    let cards: Vec<Card<'_>> = results.verdicts.iter().map(card).collect();
    let values = context! {
        results => Value::from(Serde(results)),
        cards => Value::from(Serde(cards)),
        main => Value::from(Serde(results.under(results.rule))),
        position => table::position(&results.position),
        length => table::length(&results.under(results.rule).length),
        title => format!("{} against {}", results.first.name, results.second.name),
    };
    render("judge.html", values)
}

fn card(result: &QuestionResult) -> Card<'_> {
    Card {
        result,
        strict: csv::outcome(result.strict),
        paper: csv::outcome(result.paper),
        consistency: csv::consistency(result.consistency),
        forward: csv::letter(&result.forward),
        backward: csv::letter(&result.backward),
    }
}

/// The page of a leaderboard.
pub(super) fn leaderboard(results: &LeaderboardResults) -> Result<String, EvaluationError> {
    let values = context! {
        results => Value::from(Serde(results)),
        opponents => results.opponents(),
        position => table::position(&results.position),
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
    environment.add_filter("share", |share: Serde<Share>| table::share(&share.0));
    environment.add_filter("p", table::p);
    environment.add_filter("fixed", |number: f64, digits: usize| format!("{number:.digits$}"));
    for (name, source) in TEMPLATES {
        environment.add_template(name, source)?;
    }
    Ok(environment)
}
