//! What a caller asks for: the command line today, a job of the service alike.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::align::EmptyAnswers;
use super::error::EvaluationError;
use super::image_view::Sight;
use super::rule::Rule;
use crate::Error;
use crate::base::check::{self, Problem};
use crate::llm::{LlmConfig, LlmError, SamplingSettings};
use crate::sandbox::FileAccess;
use crate::work::Backend;

/// How a judge works; shared by `judge` and `leaderboard`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JudgeOptions {
    /// Folder of the images.
    pub images: Option<PathBuf>,
    /// What the judge sees; unset: images where their folder is given, captions otherwise.
    pub sight: Option<Sight>,
    pub empty: EmptyAnswers,
    /// The rule of the headline.
    pub rule: Rule,
    pub llm: LlmConfig,
    /// Folder with `judge.system.txt` and `judge.user.txt`; built-in prompts when absent.
    pub prompts: Option<PathBuf>,
    pub settings: SamplingSettings,
    pub seed: u64,
    /// Askings per question and order until a verdict can be read, 1 to 10.
    pub attempts: u32,
}

impl Default for JudgeOptions {
    fn default() -> Self {
        Self {
            images: None,
            sight: None,
            empty: EmptyAnswers::default(),
            rule: Rule::default(),
            llm: LlmConfig::default(),
            prompts: None,
            settings: judge_settings(),
            seed: 0,
            attempts: 3,
        }
    }
}

/// The published script's temperature; a letter needs few tokens.
fn judge_settings() -> SamplingSettings {
    SamplingSettings { temperature: 0.2, top_p: 1.0, max_tokens: 64, ..SamplingSettings::default() }
}

impl JudgeOptions {
    /// Checks every range.
    ///
    /// # Errors
    /// The first setting out of its range.
    pub fn validate(&self) -> Result<(), Error> {
        within("attempts", u64::from(self.attempts), 1, 10)?;
        self.llm.validate().map_err(LlmError::from)?;
        Ok(self.settings.validate().map_err(LlmError::from)?)
    }
}

/// What an evaluation shares with others, where it does not open its own.
#[derive(Clone, Default)]
pub struct Shared {
    /// Which files questions, answers and images may be read from.
    pub access: FileAccess,
    /// In place of one made from the request's `llm`, with whose settings it was made.
    pub backend: Option<Backend>,
}

/// Two models on the same questions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JudgeRequest {
    /// The questions' file.
    pub questions: PathBuf,
    /// The first model's answers.
    pub first: PathBuf,
    /// The second model's answers.
    pub second: PathBuf,
    pub options: JudgeOptions,
}

/// Many models on the same questions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LeaderboardRequest {
    pub questions: PathBuf,
    /// One file for each model, 2 or more.
    pub answers: Vec<PathBuf>,
    /// Everyone meets this model only; without it, everyone meets everyone.
    pub baseline: Option<String>,
    /// Resamplings for the intervals, 0 (none) to 100000.
    pub bootstrap: u32,
    pub options: JudgeOptions,
}

impl LeaderboardRequest {
    /// Checks every range.
    ///
    /// # Errors
    /// The first setting out of its range.
    pub fn validate(&self) -> Result<(), Error> {
        within("answers (files)", self.answers.len() as u64, 2, 1000)?;
        within("bootstrap", u64::from(self.bootstrap), 0, 100_000)?;
        self.options.validate()
    }
}

pub(super) fn within(
    setting: &'static str,
    value: u64,
    low: u64,
    high: u64,
) -> Result<(), EvaluationError> {
    let refused =
        |Problem { value, expected, .. }| EvaluationError::Setting { setting, value, expected };
    check::range(setting, value, low, high).map(drop).map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_named() {
        JudgeOptions::default().validate().expect("defaults");
        let options = JudgeOptions { attempts: 0, ..JudgeOptions::default() };
        let error = options.validate().expect_err("refused").to_string();
        assert_eq!(error, "attempts is 0, must be 1 to 10");
        let request = LeaderboardRequest {
            questions: "q".into(),
            answers: vec!["a".into()],
            baseline: None,
            bootstrap: 1000,
            options: JudgeOptions::default(),
        };
        let error = request.validate().expect_err("refused").to_string();
        assert_eq!(error, "answers (files) is 1, must be 2 to 1000");
    }

    #[test]
    fn a_request_reads_back_as_it_was_written() {
        let options = JudgeOptions { seed: 9, ..JudgeOptions::default() };
        let request = JudgeRequest {
            questions: "q.json".into(),
            first: "a.json".into(),
            second: "b.json".into(),
            options,
        };
        let text = serde_json::to_string(&request).expect("writes");
        assert_eq!(serde_json::from_str::<JudgeRequest>(&text).expect("reads"), request);
    }
}
