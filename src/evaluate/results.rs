//! Results of one pair of models: derived from the stored replies, never from anything else.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::llm::SamplingSettings;

use super::error::EvaluationError;
use super::image_view::Sight;
use super::judge::{Board, Judge};
use super::rule::{Consistency, Letter, Outcome, Rule};
use super::store::Record;
use super::tally::{ConsistencyCounts, Cost, Position, QuestionResult, RuleResults, Side, Tally};

/// Version of the JSON that results are written as.
pub const RESULTS_VERSION: u32 = 1;

/// The program that results are made by.
pub(super) const MADE_BY: &str = concat!("Pairwright ", env!("CARGO_PKG_VERSION"));

/// Everything, for programs.
pub const RESULTS_FILE: &str = "results.json";

/// Reads results that an earlier evaluation wrote.
///
/// # Errors
/// [`EvaluationError::NoResults`] where there are none, [`EvaluationError::OtherResults`] where
/// they are of another version or kind.
pub fn read_results<T: DeserializeOwned>(folder: &Path) -> Result<T, EvaluationError> {
    let path = folder.join(RESULTS_FILE);
    if !path.is_file() {
        return Err(EvaluationError::NoResults { path: folder.to_owned(), file: RESULTS_FILE });
    }
    let bytes = fs_err::read(&path).map_err(EvaluationError::io(&path))?;
    serde_json::from_slice(&bytes).map_err(|error| EvaluationError::OtherResults {
        path,
        message: format!("no results that this version reads: {error}"),
    })
}

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

    /// Why nothing was judged, where no question has a reply or a forfeit.
    pub fn why_nothing(&self) -> Option<String> {
        if self.cost.replies > 0 || self.strict.total.forfeits > 0 {
            return None;
        }
        let sides = self.verdicts.iter().flat_map(|one| [&one.forward, &one.backward]);
        let failure = sides.filter_map(|side| side.failure.as_ref()).next();
        let why = failure.map_or("nothing was asked", |failure| &failure.reason);
        Some(format!("the judge gave no reply: {why}"))
    }
}

/// A model in its place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ranked {
    pub name: String,
    /// Bradley-Terry log-strength; the mean over all models is 0.
    pub strength: f64,
    /// 95 % bootstrap interval of the strength; none without resamplings.
    pub interval: Option<(f64, f64)>,
    /// The strength on Elo's scale, mean 1000.
    pub elo: f64,
    pub wins: u64,
    pub ties: u64,
    pub losses: u64,
    pub file: FileFacts,
}

/// How the questions ended for two models that met.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Matchup {
    pub first: String,
    pub second: String,
    pub tally: Tally,
}

/// A leaderboard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LeaderboardResults {
    pub version: u32,
    pub made_by: String,
    pub questions: FileFacts,
    pub judge: JudgeFacts,
    pub rule: Rule,
    /// The model that everyone met; none if everyone met everyone.
    pub baseline: Option<String>,
    /// Strongest first.
    pub ranking: Vec<Ranked>,
    pub pairs: Vec<Matchup>,
    pub position: Position,
    /// Half a win each way was added to every pair that met, since strengths would be infinite.
    pub smoothed: bool,
    pub bootstrap: u32,
    pub cost: Cost,
}

impl LeaderboardResults {
    /// Who met whom, in words.
    pub fn opponents(&self) -> String {
        match &self.baseline {
            Some(name) => format!("everyone met {name}"),
            None => "everyone met everyone".to_owned(),
        }
    }

    /// Whether every question was judged to an end.
    pub fn is_complete(&self) -> bool {
        self.pairs.iter().all(|pair| pair.tally.missing == 0)
    }
}

impl Record {
    fn side(&self, judge: &Judge, key: &str) -> Side {
        let replies = self.replies(key).to_vec();
        let letter = replies.last().and_then(|last| Letter::of(&last.verdict));
        let failure = self.failure(key).cloned();
        let settled = judge.is_settled(&replies) || self.is_refused(key);
        Side { letter, settled, replies, failure }
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
    JudgeResults {
        version: RESULTS_VERSION,
        made_by: MADE_BY.to_owned(),
        questions,
        first,
        second,
        judge,
        rule,
        strict: RuleResults::of(&verdicts, Rule::Strict),
        paper: RuleResults::of(&verdicts, Rule::Paper),
        consistency: ConsistencyCounts::of(&verdicts),
        position: Position::of(&verdicts),
        cost: Cost::of(&verdicts),
        verdicts,
    }
}
