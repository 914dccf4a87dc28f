//! Requirements against the words of the descriptions.

use std::collections::HashSet;

use super::{CheckKind, Finding};

/// The words of a photo's descriptions.
pub(super) struct Nouns(HashSet<String>);

impl Nouns {
    pub fn of(descriptions: &[String]) -> Self {
        Self(descriptions.iter().flat_map(|text| words(text)).collect())
    }

    pub fn finding(&self, requires: &[String]) -> Finding {
        let kind = CheckKind::Text;
        if self.0.is_empty() {
            return Finding { kind, score: None, missing: Vec::new() };
        }
        let there = |required: &&String| words(required).any(|word| self.0.contains(&word));
        let missing: Vec<String> =
            requires.iter().filter(|required| !there(required)).cloned().collect();
        Finding { kind, score: Some(if missing.is_empty() { 1.0 } else { 0.0 }), missing }
    }
}

fn words(text: &str) -> impl Iterator<Item = String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| word.len() > 2);
    words.map(|word| {
        let word = word.to_lowercase();
        word.strip_suffix('s').map(str::to_owned).unwrap_or(word)
    })
}
