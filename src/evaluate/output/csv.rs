//! Verdicts as comma-separated values (RFC 4180).

use crate::evaluate::results::{JudgeResults, QuestionResult, Side};
use crate::evaluate::rule::{Consistency, Outcome};

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
pub(super) fn verdicts(results: &JudgeResults) -> String {
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
        outcome(question.strict).to_owned(),
        outcome(question.paper).to_owned(),
        consistency(question.consistency).to_owned(),
        letter(&question.forward).to_owned(),
        letter(&question.backward).to_owned(),
        question.forfeit.to_string(),
        question.first_words.to_string(),
        question.second_words.to_string(),
        last_reply(&question.forward),
        last_reply(&question.backward),
        question.first_answer.clone(),
        question.second_answer.clone(),
    ]
}

/// The name of an outcome in tables.
pub(super) fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::First => "first",
        Outcome::Tie => "tie",
        Outcome::Second => "second",
        Outcome::Unparsed => "unparsed",
        Outcome::Missing => "missing",
    }
}

/// The name of what two orders say.
pub(super) fn consistency(consistency: Consistency) -> &'static str {
    match consistency {
        Consistency::Agreed => "agreed",
        Consistency::Flip => "order flip",
        Consistency::Leaning => "leaning",
        Consistency::Unread => "unread",
    }
}

/// A side's letter, `unparsed`, or nothing where it is missing.
pub(super) fn letter(side: &Side) -> &'static str {
    match side.letter {
        Some(letter) => letter.name(),
        None if side.settled => "unparsed",
        None => "",
    }
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
