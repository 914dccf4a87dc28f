use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::InstructionFilter;

/// The language instructions must be in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Language {
    /// English, told by its letters and function words.
    #[default]
    English,
    /// Any; `imperative` and `reference` know English only and should be off then.
    Any,
}

/// Which filters run on generated instructions, and their limits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InstructionFilterConfig {
    /// The filters in the order in which they run; each at most once.
    pub enabled: Vec<InstructionFilter>,
    /// The language wanted.
    pub language: Language,
    /// The fewest words, at least 1.
    pub min_words: usize,
    /// The most words, not below `min_words`.
    pub max_words: usize,
    /// ROUGE-L F with a seed or an earlier instruction from which on a new one is a duplicate,
    /// above 0; above 1 switches the rule off (Self-Instruct takes 0.7).
    pub max_rouge_l: f64,
    /// Cosine of sentence embeddings from which on a new one is a duplicate, above 0; above 1
    /// switches the rule off.
    pub max_cosine: f64,
}

impl Default for InstructionFilterConfig {
    fn default() -> Self {
        Self {
            enabled: InstructionFilter::ALL.to_vec(),
            language: Language::English,
            min_words: 5,
            max_words: 40,
            max_rouge_l: 0.7,
            max_cosine: 0.93,
        }
    }
}

impl InstructionFilterConfig {
    /// Every setting that is out of range: its name below `section`, its value and the range.
    pub fn validate(&self, section: &str) -> Vec<String> {
        let mut problems = Vec::new();
        let mut seen = HashSet::new();
        if let Some(twice) = self.enabled.iter().find(|filter| !seen.insert(**filter)) {
            problems.push(format!("{section}.enabled names {twice:?} twice"));
        }
        if self.min_words == 0 || self.max_words < self.min_words {
            let (min, max) = (self.min_words, self.max_words);
            problems.push(format!(
                "{section}: min_words is {min} and max_words {max}; 1 <= min_words <= max_words"
            ));
        }
        for (name, value) in [("max_rouge_l", self.max_rouge_l), ("max_cosine", self.max_cosine)] {
            if !(value > 0.0 && value <= 2.0) {
                problems
                    .push(format!("{section}.{name} is {value}, must be above 0 and at most 2"));
            }
        }
        problems
    }
}
