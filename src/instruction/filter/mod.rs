//! Filters of generated instructions: each named, each with reason codes. They run in the
//! configured order; the first refusal counts.

mod config;
mod rules;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use config::{InstructionFilterConfig, Language};

/// Every filter that looks at one instruction by itself; duplicates are looked for besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InstructionFilter {
    /// Control characters, `<image>`, chat markers, placeholders.
    Garbage,
    /// Another language than the configured one.
    Language,
    /// Too few or too many words.
    Length,
    /// Nothing but a question.
    Question,
    /// No clause tells anybody to do something.
    Imperative,
    /// Does not speak of the image.
    Reference,
    /// Asks for harm, or to identify or judge people.
    Unsafe,
    /// Names a particular detail of the image it was written for.
    Detail,
}

impl InstructionFilter {
    /// Every filter in the default order: the cheap and certain ones first.
    pub const ALL: [Self; 8] = [
        Self::Garbage,
        Self::Language,
        Self::Length,
        Self::Question,
        Self::Imperative,
        Self::Reference,
        Self::Unsafe,
        Self::Detail,
    ];

    /// Whether it has nothing to say of an instruction in another language.
    fn knows_english_only(self) -> bool {
        matches!(self, Self::Imperative | Self::Reference | Self::Detail)
    }
}

/// An instruction that is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// A stable, snake_case code.
    pub code: String,
    /// One sentence for a person, with the words or numbers that decided.
    pub reason: String,
}

impl Refusal {
    pub(super) fn new(code: &str, reason: impl Into<String>) -> Self {
        Self { code: code.to_owned(), reason: reason.into() }
    }
}

/// What one filter says.
type Finding = Result<(), Refusal>;

/// Looks at `text` by itself. `descriptions` are those of the images it was written for.
///
/// # Errors
/// The first refusal.
pub fn check(config: &InstructionFilterConfig, text: &str, descriptions: &[&str]) -> Finding {
    let foreign =
        config.language == Language::Any && rules::language(Language::English, text).is_err();
    let judging = config.enabled.iter().filter(|filter| !foreign || !filter.knows_english_only());
    judging.into_iter().try_for_each(|filter| match filter {
        InstructionFilter::Garbage => rules::garbage(text),
        InstructionFilter::Language => rules::language(config.language, text),
        InstructionFilter::Length => rules::length(config, text),
        InstructionFilter::Question => rules::question(text),
        InstructionFilter::Imperative => rules::imperative(text),
        InstructionFilter::Reference => rules::reference(text),
        InstructionFilter::Unsafe => rules::harmless(text),
        InstructionFilter::Detail => {
            descriptions.iter().try_for_each(|description| rules::general(text, description))
        }
    })
}
