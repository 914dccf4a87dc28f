//! Measures that a language model takes, the judge: what it is asked, and how its replies are read.
//!
//! One question gives several measures. A reply that cannot be read is refused with a code and asked
//! for again; nothing in it is guessed. Who makes the calls is no matter of this room.

pub mod blind;
pub mod claims;
mod loose_json;
pub mod prompt;
pub mod ratings;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use strum::IntoStaticStr;

use super::MeasureName;
use crate::base::check::{Checks, Settings};
use crate::base::key::Key;
use crate::dataset::record::{MeasureValue, Measured};
use crate::llm::{LlmConfig, SamplingSettings, See, unfinished};

pub use prompt::{JudgePrompts, Shown};

/// The judge: a language model that takes measures.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JudgeConfig {
    /// What the judge gets to know of the photo.
    pub see: See,
    /// A folder with `measure_ratings.*` and `measure_claims.*`; what is not there is built in.
    pub prompts: Option<std::path::PathBuf>,
    /// How the judge samples. Unset: temperature 0, at most 1024 tokens.
    pub settings: Option<SamplingSettings>,
    /// Which model. Unset: the run's.
    pub llm: Option<LlmConfig>,
}

impl JudgeConfig {
    /// The sampling settings, unset resolved: a verdict is the likeliest, not one of many.
    pub fn resolved_settings(&self) -> SamplingSettings {
        self.settings.clone().unwrap_or_else(|| SamplingSettings {
            temperature: 0.0,
            top_p: 1.0,
            max_tokens: 1024,
            ..SamplingSettings::default()
        })
    }
}

impl Settings for JudgeConfig {
    fn check(&self, checks: &mut Checks) {
        if let Some(settings) = &self.settings {
            checks.section("settings", settings);
        }
        if let Some(llm) = &self.llm {
            checks.section("llm", llm);
        }
    }
}

/// What a judge is asked about a sample, in one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Question {
    /// Four ratings and whether the premise holds.
    Ratings,
    /// The claims about what can be seen, each with a verdict.
    Claims,
    /// An answer by one who has not seen the photo; asked of the run's LLM and not of the judge.
    Blind,
    /// How likely the answer is with the photo and without; in the place of [`Question::Blind`], where
    /// the server tells.
    LogProbabilities,
}

/// Why a reply tells nothing, or not all that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Unread {
    /// Stable: `judge_unreadable`, `judge_incomplete`, `judge_scale`, `judge_unclear`,
    /// `claim_not_in_answer`, `truncated`, `content_filter` or `unfinished`.
    pub code: &'static str,
    /// What the judge is told before it is asked again.
    pub reason: String,
}

impl Unread {
    fn new(code: &'static str, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }
}

/// What a reply says.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Of each measure of the question; without a value where the reply has none for it.
    pub values: Vec<(MeasureName, Measured)>,
    /// What it lacks, where that is worth asking again.
    pub lacks: Option<Unread>,
}

impl Reading {
    /// How many measures have a value.
    fn told(&self) -> usize {
        self.values.iter().filter(|(_, measured)| measured.value.is_some()).count()
    }
}

impl Question {
    /// Every question.
    pub const ALL: [Self; 4] = [Self::Ratings, Self::Claims, Self::Blind, Self::LogProbabilities];

    /// The name in stores and keys.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Whether the judge is asked; else the run's own LLM.
    pub fn is_judges(self) -> bool {
        match self {
            Self::Ratings | Self::Claims => true,
            Self::Blind | Self::LogProbabilities => false,
        }
    }

    /// The measures that its reply gives.
    pub fn measures(self) -> &'static [MeasureName] {
        match self {
            Self::Ratings => &ratings::MEASURES,
            Self::Claims => &claims::MEASURES,
            Self::Blind | Self::LogProbabilities => &blind::MEASURES,
        }
    }

    /// Those of its measures that differ from sample to sample, whatever the samples are.
    pub fn told_apart(self) -> &'static [MeasureName] {
        match self {
            Self::Ratings => &ratings::MEASURES[..ratings::RATINGS],
            Self::Claims => &claims::MEASURES[..1],
            Self::Blind | Self::LogProbabilities => &[],
        }
    }

    /// The schema that replies follow where the server takes one.
    pub fn schema(self) -> Option<Value> {
        match self {
            Self::Ratings => Some(ratings::schema()),
            Self::Claims => Some(claims::schema()),
            Self::Blind | Self::LogProbabilities => None,
        }
    }

    /// The key of everything that a reply depends on beside its sample and attempt.
    pub fn conf_key(
        self,
        prompts: &JudgePrompts,
        model: &str,
        settings: &SamplingSettings,
        see: See,
        seed: u64,
    ) -> String {
        let key = Key::new("judged", 1)
            .field("question", self.name())
            .field("prompts", prompts.hash(self))
            .field("model", model);
        let key = settings.add_to(key).field("seed", seed);
        key.unless("see", see.name(), See::Description.name()).done()
    }

    /// The version of the values that are read from replies under `conf`: changes with the reader, and
    /// with the attempts that a reply may take.
    pub fn version(self, conf: &str, attempts: u32) -> String {
        let reader = match self {
            Self::Ratings => ratings::READER,
            Self::Claims => claims::READER,
            Self::Blind | Self::LogProbabilities => blind::READER,
        };
        format!("{conf}-r{reader}-a{attempts}")
    }

    /// What a reply about `answer` says; `finish` is what [`crate::llm::FinishReason::name`] gave.
    ///
    /// # Errors
    /// Nothing can be read in it.
    pub fn read(self, answer: &str, reply: &str, finish: &str) -> Result<Reading, Unread> {
        if let Some(code) = unfinished(finish) {
            return Err(Unread::new(code, "the reply was not written to its end"));
        }
        let cut = finish == "length";
        let read = match self {
            Self::Ratings => ratings::read(reply, cut),
            Self::Claims => claims::read(answer, reply, cut),
            Self::Blind => blind::read(reply),
            // Each of its replies is a number that was worked out when it came.
            Self::LogProbabilities => Ok(Reading { values: Vec::new(), lacks: None }),
        };
        read.map_err(|unread| match cut {
            true => Unread::new("truncated", "it was cut before it said anything that can be read"),
            false => unread,
        })
    }

    /// What the replies (text and finish) to all attempts at a question come to. `None`: one more is
    /// to be made, for the reason in [`Self::why_again`]. A blind answer is made a value of by
    /// [`blind::gap`].
    pub fn settle(
        self,
        answer: &str,
        replies: &[(String, String)],
        attempts: u32,
    ) -> Option<Vec<(MeasureName, Measured)>> {
        if self == Self::LogProbabilities {
            return blind::likelihoods(replies);
        }
        let mut best: Option<Reading> = None;
        let mut last = None;
        for (text, finish) in replies {
            match self.read(answer, text, finish) {
                Ok(reading) if reading.lacks.is_none() => return Some(reading.values),
                Ok(reading) if best.as_ref().is_none_or(|best| best.told() < reading.told()) => {
                    best = Some(reading);
                }
                Ok(_) => {}
                Err(unread) => last = Some(unread.code),
            }
        }
        if replies.len() < attempts as usize {
            return None;
        }
        let values = best.map(|reading| reading.values);
        Some(values.unwrap_or_else(|| self.refused(last.unwrap_or("judge_unreadable"))))
    }

    /// Why the reply is not enough.
    pub fn why_again(self, answer: &str, (text, finish): &(String, String)) -> Option<Unread> {
        match self.read(answer, text, finish) {
            Ok(reading) => reading.lacks,
            Err(unread) => Some(unread),
        }
    }

    /// The question's measures where no value could be had.
    pub fn refused(self, code: &str) -> Vec<(MeasureName, Measured)> {
        self.measures().iter().map(|name| (*name, unsaid(code))).collect()
    }
}

/// No value, since a reply could not be used.
fn unsaid(code: &str) -> Measured {
    Measured { value: None, detail: Some(json!({ "refused": code })) }
}

fn number(value: f64, detail: Option<Value>) -> Measured {
    Measured { value: Some(MeasureValue::Number(value)), detail }
}
