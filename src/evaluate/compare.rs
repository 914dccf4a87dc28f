//! Agreement of two judges on the same questions and answers.

use std::collections::HashMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::EvaluationError;
use super::error::listed;
use super::question::QuestionId;
use super::results::{JudgeResults, read_results};
use super::rule::{Outcome, Rule};
use super::stats::{Kappa, cohens_kappa};
use super::tally::QuestionResult;

/// How far two judges agree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// The judges' names.
    pub one: String,
    pub other: String,
    pub rule: Rule,
    /// Questions that both judged.
    pub compared: u64,
    /// Questions that one of them left unparsed or missing, and forfeits, which nobody judged.
    pub left_out: u64,
    /// `counts[judge 1][judge 2]` over first, tie, second.
    pub counts: [[u64; 3]; 3],
    /// None without questions to compare.
    pub kappa: Option<Kappa>,
    /// Questions on which they differ.
    pub differ: Vec<QuestionId>,
}

/// Compares the results in two evaluation folders.
///
/// # Errors
/// A folder has no results, or they are about other questions or answers: with the ids.
pub fn compare(one: &Path, other: &Path, rule: Rule) -> Result<Agreement, EvaluationError> {
    let one: JudgeResults = read_results(one)?;
    let other: JudgeResults = read_results(other)?;
    agreement(&one, &other, rule)
}

fn agreement(
    one: &JudgeResults,
    other: &JudgeResults,
    rule: Rule,
) -> Result<Agreement, EvaluationError> {
    check_same(&one.verdicts, &other.verdicts)?;
    let (mut counts, mut differ) = ([[0u64; 3]; 3], Vec::new());
    let theirs = by_id(&other.verdicts);
    for question in &one.verdicts {
        let Some(twin) = theirs.get(&question.question_id) else { continue };
        let places = (place(question, rule), place(twin, rule));
        if let (Some(here), Some(there)) = places {
            counts[here][there] += 1;
            if here != there {
                differ.push(question.question_id.clone());
            }
        }
    }
    let compared: u64 = counts.iter().flatten().sum();
    Ok(Agreement {
        one: one.judge.model.clone(),
        other: other.judge.model.clone(),
        rule,
        compared,
        left_out: one.verdicts.len() as u64 - compared,
        counts,
        kappa: cohens_kappa(&counts),
        differ,
    })
}

fn place(question: &QuestionResult, rule: Rule) -> Option<usize> {
    match question.outcome(rule) {
        _ if question.forfeit => None,
        Outcome::First => Some(0),
        Outcome::Tie => Some(1),
        Outcome::Second => Some(2),
        Outcome::Unparsed | Outcome::Missing => None,
    }
}

fn by_id(questions: &[QuestionResult]) -> HashMap<&QuestionId, &QuestionResult> {
    questions.iter().map(|question| (&question.question_id, question)).collect()
}

/// Agreement means nothing unless both judged the very same texts.
fn check_same(one: &[QuestionResult], other: &[QuestionResult]) -> Result<(), EvaluationError> {
    let (mine, theirs) = (by_id(one), by_id(other));
    let missing = |from: &[QuestionResult], there: &HashMap<&QuestionId, &QuestionResult>| {
        let ids = from.iter().map(|question| &question.question_id);
        ids.filter(|id| !there.contains_key(id)).cloned().collect::<Vec<_>>()
    };
    let texts = |question: &QuestionResult| {
        [&question.instruction, &question.first_answer, &question.second_answer].map(String::clone)
    };
    let differs = |question: &&QuestionResult| {
        theirs.get(&question.question_id).is_some_and(|twin| texts(twin) != texts(question))
    };
    let changed = one.iter().filter(differs).map(|question| question.question_id.clone());
    let findings = [
        ("only judge 1 has questions", missing(one, &theirs)),
        ("only judge 2 has questions", missing(other, &mine)),
        ("other answers or instructions at questions", changed.collect()),
    ];
    let problems: Vec<String> = findings
        .iter()
        .filter(|(_, ids)| !ids.is_empty())
        .map(|(what, ids)| format!("{what}: {}", listed(ids)))
        .collect();
    if problems.is_empty() { Ok(()) } else { Err(EvaluationError::Align { problems }) }
}
