use unicode_segmentation::UnicodeSegmentation;

use super::SampleView;

/// An answer with the forms of it that several filters need.
pub(super) struct Prepared<'a> {
    pub answer: &'a SampleView<'a>,
    /// The answer with straight quotes and single spaces, for patterns.
    pub plain: String,
    /// The answer's words, lower case.
    pub words: Vec<String>,
}

impl<'a> Prepared<'a> {
    pub fn new(answer: &'a SampleView<'a>) -> Self {
        Self { answer, plain: plain(answer.text), words: words(answer.text) }
    }
}

/// The words of a text in lower case, by Unicode's rules: `can't` is one word, and an ideograph is
/// a word of its own.
pub(super) fn words(text: &str) -> Vec<String> {
    text.unicode_words().map(|word| straight(word).to_lowercase()).collect()
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

fn straight(text: &str) -> String {
    text.replace(['’', '‘', 'ʼ', '`'], "'").replace(['“', '”', '„'], "\"")
}

/// Patterns joined into one, without regard to case, each starting at a word's start.
pub(super) fn any_of(patterns: &[&str]) -> regex::Regex {
    regex::Regex::new(&format!(r"(?i)\b(?:{})", patterns.join("|")))
        .expect("the patterns are constants that the tests compile")
}

/// Up to 80 characters of a text, to be quoted in a reason.
pub(super) fn excerpt(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
