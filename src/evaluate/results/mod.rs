//! Results of one pair of models: derived from the stored replies, never from anything else.

mod tally;

use std::collections::HashMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::llm::SamplingSettings;

use super::judge::{Board, Judge};
use super::question::QuestionId;
use super::rule::{Consistency, Letter, Outcome, Rule};
use super::scene::Sight;
use super::store::{EvaluationStore, FailedCall, Reply};

pub use tally::{ConsistencyCounts, Group, Length, Position, RuleResults, Tally};

/// Version of the JSON that results are written as.
pub const RESULTS_VERSION: u32 = 1;

/// Who judged, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JudgeFacts {
    pub model: String,
    /// Where it ran, such as `openai:http://host/v1` or `local`.
    pub backend: String,
    /// What it saw of each image.
    pub sight: Sight,
    pub prompt_hash: String,
    pub system_prompt: String,
    pub user_prompt: String,
    pub settings: SamplingSettings,
    pub seed: u64,
    /// Askings per order.
    pub attempts: u32,
}

/// A file that was judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFacts {
    /// The model's name; empty for the questions.
    pub name: String,
    pub path: PathBuf,
    pub sha256: String,
}

/// What the judge said in one order.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Side {
    /// The verdict; none where it cannot be read or is missing.
    pub letter: Option<Letter>,
    /// Whether nothing more is to be asked.
    pub settled: bool,
    /// Every raw reply, in order of askings.
    pub replies: Vec<Reply>,
    /// The failure of the last call, if it failed.
    pub failure: Option<FailedCall>,
}

/// One question with all that was said about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QuestionResult {
    pub question_id: QuestionId,
    pub image: String,
    pub instruction: String,
    pub caption: String,
    pub category: String,
    pub first_answer: String,
    pub second_answer: String,
    pub first_words: u64,
    pub second_words: u64,
    /// The first model's answer shown as A.
    pub forward: Side,
    /// The second model's answer shown as A.
    pub backward: Side,
    /// Won without a call, because the other answer is empty.
    pub forfeit: bool,
    pub consistency: Consistency,
    pub strict: Outcome,
    pub paper: Outcome,
}

impl QuestionResult {
    /// The outcome under `rule`.
    pub fn outcome(&self, rule: Rule) -> Outcome {
        match rule {
            Rule::Strict => self.strict,
            Rule::Paper => self.paper,
        }
    }

    /// Words of the first answer minus words of the second.
    pub fn length_difference(&self) -> i64 {
        self.first_words as i64 - self.second_words as i64
    }
}

/// Sums over every reply that was paid for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    pub replies: u64,
    /// Requests sent, retries included.
    pub requests: u64,
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
}

impl Cost {
    /// Adds one reply.
    pub(super) fn add(&mut self, reply: &Reply) {
        self.replies += 1;
        self.requests += u64::from(reply.calls);
        self.prompt_tokens += reply.prompt_tokens;
        self.completion_tokens += reply.completion_tokens;
    }
}

/// Everything about one pair of models.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JudgeResults {
    pub version: u32,
    /// The program that made it.
    pub made_by: String,
    pub questions: FileFacts,
    pub first: FileFacts,
    pub second: FileFacts,
    pub judge: JudgeFacts,
    /// The rule of the headline; the other stands beside it.
    pub rule: Rule,
    pub strict: RuleResults,
    pub paper: RuleResults,
    pub consistency: ConsistencyCounts,
    pub position: Position,
    pub cost: Cost,
    pub verdicts: Vec<QuestionResult>,
}

impl JudgeResults {
    /// The results under `rule`.
    pub fn under(&self, rule: Rule) -> &RuleResults {
        match rule {
            Rule::Strict => &self.strict,
            Rule::Paper => &self.paper,
        }
    }

    /// Whether every question was judged to an end.
    pub fn is_complete(&self) -> bool {
        self.strict.total.missing == 0
    }
}

/// The stored replies and failures of an evaluation, by task.
pub struct Record {
    replies: HashMap<String, Vec<Reply>>,
    failures: HashMap<String, FailedCall>,
}

impl Record {
    /// Reads all of them.
    ///
    /// # Errors
    /// The store's.
    pub fn read(store: &EvaluationStore) -> Result<Self, Error> {
        Ok(Self { replies: store.replies()?, failures: store.failures()? })
    }

    pub(super) fn replies(&self, key: &str) -> &[Reply] {
        self.replies.get(key).map_or(&[], Vec::as_slice)
    }

    fn side(&self, judge: &Judge, key: &str) -> Side {
        let replies = self.replies(key).to_vec();
        let letter = replies.last().and_then(|last| Letter::of(&last.verdict));
        let failure = self.failures.get(key).cloned();
        Side { letter, settled: judge.is_settled(&replies), replies, failure }
    }

    /// Every question of one pair.
    pub fn pair(&self, board: &Board, judge: &Judge, pair: (usize, usize)) -> Vec<QuestionResult> {
        let conf = judge.conf();
        (0..board.questions.len())
            .map(|question| self.question(board, judge, &conf, (question, pair)))
            .collect()
    }

    fn question(
        &self,
        board: &Board,
        judge: &Judge,
        conf: &str,
        (question, (one, other)): (usize, (usize, usize)),
    ) -> QuestionResult {
        let asked = &board.questions[question];
        let side = |a, b| self.side(judge, &board.task(conf, question, a, b).key);
        let forfeit = board.is_forfeit(question, (one, other));
        let (forward, backward) = match forfeit {
            true => (Side::default(), Side::default()),
            false => (side(one, other), side(other, one)),
        };
        let answers =
            (&board.entrants[one].answers[question], &board.entrants[other].answers[question]);
        let decide = |rule: Rule| match forfeit {
            true if board.is_blank(question, one) => Outcome::Second,
            true => Outcome::First,
            false => outcome(rule, &forward, &backward),
        };
        QuestionResult {
            question_id: asked.question_id.clone(),
            image: asked.image.clone(),
            instruction: asked.text.clone(),
            caption: asked.caption.clone(),
            category: asked.category.clone(),
            first_answer: answers.0.clone(),
            second_answer: answers.1.clone(),
            first_words: words(answers.0),
            second_words: words(answers.1),
            forfeit,
            consistency: Consistency::of(forward.letter, backward.letter),
            strict: decide(Rule::Strict),
            paper: decide(Rule::Paper),
            forward,
            backward,
        }
    }
}

fn outcome(rule: Rule, forward: &Side, backward: &Side) -> Outcome {
    if forward.settled && backward.settled {
        rule.outcome(forward.letter, backward.letter)
    } else {
        Outcome::Missing
    }
}

fn words(text: &str) -> u64 {
    text.split_whitespace().count() as u64
}

/// Results of a board's only pair.
pub(super) fn of_pair(
    verdicts: Vec<QuestionResult>,
    facts: (FileFacts, FileFacts, FileFacts),
    judge: JudgeFacts,
    rule: Rule,
) -> JudgeResults {
    let (questions, first, second) = facts;
    let mut cost = Cost::default();
    for verdict in &verdicts {
        let replies = verdict.forward.replies.iter().chain(&verdict.backward.replies);
        replies.for_each(|reply| cost.add(reply));
    }
    JudgeResults {
        version: RESULTS_VERSION,
        made_by: concat!("Pairwright ", env!("CARGO_PKG_VERSION")).to_owned(),
        questions,
        first,
        second,
        judge,
        rule,
        strict: RuleResults::of(&verdicts, Rule::Strict),
        paper: RuleResults::of(&verdicts, Rule::Paper),
        consistency: ConsistencyCounts::of(&verdicts),
        position: Position::of(&verdicts),
        cost,
        verdicts,
    }
}
