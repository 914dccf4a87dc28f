//! Filters that need no list of phrases.

use super::prepared::Prepared;
use super::{AnswerFilter, Fault};
use crate::dataset::sink::{IMAGE_TOKEN, find_garbage};

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

/// Refuses control characters, and U+FFFD, which stands where bytes were lost.
pub(super) struct Garbage;

impl AnswerFilter for Garbage {
    fn check(&self, answer: &Prepared<'_>) -> Result<(), Fault> {
        let text = answer.answer.text;
        let lost = || text.chars().find(|c| *c == char::REPLACEMENT_CHARACTER);
        match find_garbage(text).or_else(lost) {
            Some(found) => Err(("garbage", format!("the answer holds {}", found.escape_unicode()))),
            None => Ok(()),
        }
    }
}

/// Refuses an answer that the token limit cut off.
pub(super) struct Truncated;

impl AnswerFilter for Truncated {
    fn check(&self, answer: &Prepared<'_>) -> Result<(), Fault> {
        if !answer.answer.truncated {
            return Ok(());
        }
        let count = answer.words.len();
        Err(("truncated", format!("the token limit cut the answer off after {count} words")))
    }
}

/// Refuses the word that trainers replace with a photo.
pub(super) struct ImageToken;

impl AnswerFilter for ImageToken {
    fn check(&self, answer: &Prepared<'_>) -> Result<(), Fault> {
        if !answer.answer.text.contains(IMAGE_TOKEN) {
            return Ok(());
        }
        Err(("image_token", format!("the answer holds `{IMAGE_TOKEN}`")))
    }
}

/// Refuses answers of fewer than `min` or more than `max` words.
pub(super) struct Length {
    pub min: usize,
    pub max: usize,
}

impl AnswerFilter for Length {
    fn check(&self, answer: &Prepared<'_>) -> Result<(), Fault> {
        let (count, min, max) = (answer.words.len(), self.min, self.max);
        if count < min {
            return Err(("too_short", format!("{count} words; the fewest allowed are {min}")));
        }
        if count > max {
            return Err(("too_long", format!("{count} words; the most allowed are {max}")));
        }
        Ok(())
    }
}
