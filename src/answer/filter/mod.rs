//! Filters: which answers are not good enough to train on.
//!
//! Each filter is named, looks at one answer, and passes it or refuses it with a reason code. They
//! run in the configured order; the first refusal counts.

mod basic;
mod config;
mod echo;
mod lists;
mod meta_talk;
mod prepared;
mod refusal;
mod repetition;

use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use self::prepared::Prepared;
use crate::base::check::{Problems, Settings};

pub use crate::dataset::record::{Refused, SampleView, Verdict};
pub use config::{FilterConfig, RepetitionConfig};

/// A filter's finding: the code and the reason.
type Fault = (&'static str, String);

/// One test of an answer.
trait AnswerFilter: Send + Sync {
    fn check(&self, answer: &Prepared<'_>) -> Result<(), Fault>;
}

/// Every filter, by its name in configuration and reports.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum FilterName {
    /// No letter or digit.
    Empty,
    /// Control or replacement characters, or marks of reasoning.
    Garbage,
    /// Cut off at the token limit.
    Truncated,
    /// Holds a placeholder such as `<image>`, which trainers would take for a photo.
    ImageToken,
    /// The LLM declines or apologises instead of answering.
    Refusal,
    /// Talks about the description, the prompt, or itself.
    MetaTalk,
    /// Repeats the instruction, the prompt or the description, or leaks chat markers.
    PromptEcho,
    /// Loops.
    Repetition,
    /// Too few or too many words.
    Length,
}

impl FilterName {
    /// Every filter in the default order: the cheap and certain ones first.
    pub const ALL: [Self; 9] = [
        Self::Empty,
        Self::Garbage,
        Self::Truncated,
        Self::ImageToken,
        Self::Refusal,
        Self::MetaTalk,
        Self::PromptEcho,
        Self::Repetition,
        Self::Length,
    ];

    /// The name in configuration, lineage and reports.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Whether it looks for the phrases of some languages and has nothing to say of others.
    fn knows_some_languages(self) -> bool {
        matches!(self, Self::Refusal | Self::MetaTalk)
    }

    fn build(self, config: &FilterConfig) -> Box<dyn AnswerFilter> {
        match self {
            Self::Empty => Box::new(basic::Empty),
            Self::Garbage => Box::new(basic::Garbage),
            Self::Truncated => Box::new(basic::Truncated),
            Self::ImageToken => Box::new(basic::ImageToken),
            Self::Refusal => Box::new(refusal::Refusal),
            Self::MetaTalk => Box::new(meta_talk::MetaTalk),
            Self::PromptEcho => Box::new(echo::PromptEcho::new(config.echo_words)),
            Self::Repetition => Box::new(repetition::Repetition::new(config.repetition.clone())),
            Self::Length => {
                Box::new(basic::Length { min: config.min_words, max: config.max_words })
            }
        }
    }
}

/// The configured filters, ready to use from any thread.
pub struct Filters {
    chain: Vec<(FilterName, Box<dyn AnswerFilter>)>,
}

impl Filters {
    /// Builds the enabled filters in their order.
    ///
    /// # Errors
    /// A value is out of its range.
    pub fn new(config: &FilterConfig) -> Result<Self, Problems> {
        config.validate_as("filters")?;
        let chain = config.enabled.iter().map(|name| (*name, name.build(config))).collect();
        Ok(Self { chain })
    }

    /// The verdict of the first filter that refuses, or a pass.
    pub fn check(&self, answer: &SampleView<'_>) -> Verdict {
        let prepared = Prepared::new(answer);
        let verdicts = self.chain.iter().map(|(_, filter)| judge(filter.as_ref(), &prepared));
        verdicts.into_iter().find(|verdict| *verdict != Verdict::Pass).unwrap_or(Verdict::Pass)
    }

    /// Every filter's own verdict, for a dry run over finished answers.
    pub fn check_each(&self, answer: &SampleView<'_>) -> Vec<(FilterName, Verdict)> {
        let prepared = Prepared::new(answer);
        let verdicts = self.chain.iter();
        verdicts.map(|(name, filter)| (*name, judge(filter.as_ref(), &prepared))).collect()
    }

    /// The filters' names in their order.
    pub fn names(&self) -> Vec<String> {
        self.chain.iter().map(|(name, _)| name.name().to_owned()).collect()
    }

    /// The names of the filters that can judge a text, in their order: what a passed answer's
    /// lineage records. Those that look for phrases are not among them where the text is in a
    /// language without a list.
    pub fn judging(&self, text: &str) -> Vec<String> {
        let known = lists::know(text);
        let judging = self.chain.iter().filter(|(name, _)| known || !name.knows_some_languages());
        judging.map(|(name, _)| name.name().to_owned()).collect()
    }
}

fn judge(filter: &dyn AnswerFilter, answer: &Prepared<'_>) -> Verdict {
    match filter.check(answer) {
        Ok(()) => Verdict::Pass,
        Err((code, reason)) => Verdict::Reject(Refused { code: code.to_owned(), reason }),
    }
}

#[cfg(test)]
mod published;
#[cfg(test)]
mod tests;
