use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::InstructionFilter;
use crate::base::check::{Checks, Settings};

/// The language instructions must be in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Language {
    /// English, told by its letters and function words.
    #[default]
    English,
    /// Any; `imperative`, `reference` and `detail` know English only and let others pass.
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

impl Settings for InstructionFilterConfig {
    fn check(&self, checks: &mut Checks) {
        let mut seen = HashSet::new();
        let twice = self.enabled.iter().find(|filter| !seen.insert(**filter));
        let names = twice.map(|filter| format!("{filter:?} twice")).unwrap_or_default();
        checks.require(twice.is_none(), "enabled", names, "each filter once");
        checks.at_least("min_words", self.min_words, 1);
        let (least, most) = (self.min_words, self.max_words);
        checks.require(least <= most, "max_words", most, format!("min_words, {least}, or more"));
        checks.above("max_rouge_l", self.max_rouge_l, 0.0, 2.0);
        checks.above("max_cosine", self.max_cosine, 0.0, 2.0);
    }
}
