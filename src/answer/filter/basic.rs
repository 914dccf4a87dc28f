//! Filters that need no list of phrases.

use super::prepared::Prepared;
use super::{AnswerFilter, Fault};
use crate::base::tokens;
use crate::dataset::sink::find_garbage;
use crate::llm::reasoning;

/// Refuses an answer without a letter or a digit.
pub(super) struct Empty;

impl AnswerFilter for Empty {
    fn check(&self, answer: &Prepared<'_>) -> Result<(), Fault> {
        if answer.answer.text.chars().any(char::is_alphanumeric) {
            return Ok(());
        }
        Err(("empty", "the answer has no letter and no digit".into()))
    }
}

/// Refuses control characters, U+FFFD, which stands where bytes were lost, and the marks of
/// reasoning that a model thought aloud.
pub(super) struct Garbage;

impl AnswerFilter for Garbage {
    fn check(&self, answer: &Prepared<'_>) -> Result<(), Fault> {
        let text = answer.answer.text;
        let lost = || text.chars().find(|c| *c == char::REPLACEMENT_CHARACTER);
        if let Some(found) = find_garbage(text).or_else(lost) {
            return Err(("garbage", format!("the answer holds {}", found.escape_unicode())));
        }
        if reasoning::contains(text) {
            let reason = "the answer holds marks of a model's reasoning, such as <think>";
            return Err(("reasoning", reason.into()));
        }
        Ok(())
    }
}

/// Refuses an answer that the token limit cut off.
pub(super) struct Truncated;

impl AnswerFilter for Truncated {
    fn check(&self, answer: &Prepared<'_>) -> Result<(), Fault> {
        if !answer.answer.truncated {
            return Ok(());
        }
        let count = answer.word_count;
        Err(("truncated", format!("the token limit cut the answer off after {count} words")))
    }
}

/// Refuses words that trainers replace with a photo, a video or a sound, in the answer and in the
/// instruction beside it.
pub(super) struct ImageToken;

impl AnswerFilter for ImageToken {
    fn check(&self, answer: &Prepared<'_>) -> Result<(), Fault> {
        let texts = [("answer", answer.answer.text), ("instruction", answer.answer.instruction)];
        for (what, text) in texts {
            if let Some(token) = tokens::placeholder(text) {
                return Err(("image_token", format!("the {what} holds `{token}`")));
            }
        }
        Ok(())
    }
}

/// Refuses answers of fewer than `min` or more than `max` words.
pub(super) struct Length {
    pub min: usize,
    pub max: usize,
}

impl AnswerFilter for Length {
    fn check(&self, answer: &Prepared<'_>) -> Result<(), Fault> {
        let (count, min, max) = (answer.word_count, self.min, self.max);
        if count < min {
            return Err(("too_short", format!("{count} words; the fewest allowed are {min}")));
        }
        if count > max {
            return Err(("too_long", format!("{count} words; the most allowed are {max}")));
        }
        Ok(())
    }
}
