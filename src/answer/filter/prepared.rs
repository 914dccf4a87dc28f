use super::SampleView;
use crate::base::words::{self, straight, words};

/// An answer with the forms of it that several filters need.
pub(super) struct Prepared<'a> {
    pub answer: &'a SampleView<'a>,
    /// The answer with straight quotes and single spaces, for patterns.
    pub plain: String,
    /// The answer's words, lower case; in scripts without spaces its characters.
    pub words: Vec<String>,
    /// How many words that is, with characters as shares of a word.
    pub word_count: usize,
    /// Entries of `words` for each word, 1 or more.
    per_word: f64,
}

impl<'a> Prepared<'a> {
    pub fn new(answer: &'a SampleView<'a>) -> Self {
        let text = answer.text;
        let (word_count, per_word) = (words::count(text), words::per_word(text));
        Self { answer, plain: plain(text), words: words(text), word_count, per_word }
    }

    /// How many entries of `words` so many words are: limits are in words.
    pub fn entries(&self, words: usize) -> usize {
        (words as f64 * self.per_word).round() as usize
    }
}

/// A text with straight quotes and runs of white space as one space.
pub(super) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !plain.is_empty() {
            plain.push(' ');
        }
        plain.push_str(&straight(word));
    }
    plain
}

/// Up to 80 characters of a text, to be quoted in a reason.
pub(super) fn excerpt(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
