//! Summarising: one general instruction in place of each cluster (paper, section 3.1).

use rand::SeedableRng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::augment::sampling;
use crate::base::check::{Checks, Settings};
use crate::llm::{LlmConfig, LlmTarget, SamplingSettings};

/// How clusters are summarised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SummarizeConfig {
    /// Members nearest the centre that the LLM sees, 1 to 50.
    pub near: usize,
    /// Further members drawn from the rest, 0 to 50, so that the edge of the cluster counts too.
    pub spread: usize,
    /// Replies tried per cluster until one passes the filters, 1 to 20.
    pub attempts: u32,
    /// Cosine from which on the final instructions of two clusters are merged, above 0; above 1
    /// switches the rule off. ROUGE-L merges as `generate.filters.max_rouge_l` says.
    pub merge_cosine: f64,
    /// How the model samples. Unset: temperature 0.5 and 100 tokens, 200 with prompts that ask what
    /// an instruction requires.
    pub settings: Option<SamplingSettings>,
    /// The LLM of this stage. Unset: that of `[generate]`, else `[llm]`.
    pub llm: Option<LlmConfig>,
}

impl Default for SummarizeConfig {
    fn default() -> Self {
        Self { near: 5, spread: 3, attempts: 4, merge_cosine: 0.9, settings: None, llm: None }
    }
}

impl Settings for SummarizeConfig {
    fn check(&self, checks: &mut Checks) {
        checks.range("near", self.near, 1, 50);
        checks.range("spread", self.spread, 0, 50);
        checks.range("attempts", self.attempts, 1, 20);
        checks.above("merge_cosine", self.merge_cosine, 0.0, 2.0);
        checks.section("settings", &self.settings);
        checks.section("llm", &self.llm);
    }
}

impl SummarizeConfig {
    /// Sampling settings, unset resolved for the backend, with room for what is required where the
    /// prompts ask for it, too.
    pub fn resolved_settings(&self, target: &LlmTarget, with_requires: bool) -> SamplingSettings {
        let max_tokens = if with_requires { 200 } else { 100 };
        self.settings.clone().unwrap_or_else(|| sampling(target, 0.5, max_tokens))
    }

    /// Which of a cluster's `size` members, nearest first, the LLM sees: the nearest, then some of
    /// the rest drawn by the seed, in their order.
    pub fn shown(&self, size: usize, seed: u64) -> Vec<usize> {
        let near = self.near.min(size);
        let rest: Vec<usize> = (near..size).collect();
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut spread: Vec<usize> = rest.sample(&mut random, self.spread).copied().collect();
        spread.sort_unstable();
        (0..near).chain(spread).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_and_some_spread_members_are_shown() {
        let config = SummarizeConfig { near: 3, spread: 2, ..Default::default() };
        let shown = config.shown(20, 1);
        assert_eq!((&shown[..3], shown.len()), (&[0, 1, 2][..], 5));
        assert!(shown.is_sorted() && shown[3] >= 3);
        assert_eq!(shown, config.shown(20, 1));
        let draws: std::collections::HashSet<_> = (0..20).map(|n| config.shown(20, n)).collect();
        assert!(draws.len() > 10, "seeds must matter");
        assert_eq!(config.shown(2, 1), [0, 1]);
    }

    #[test]
    fn settings_out_of_range_are_named() {
        let wrong = SummarizeConfig {
            near: 0,
            spread: 99,
            attempts: 0,
            merge_cosine: -1.0,
            ..Default::default()
        };
        let said = wrong.validate_as("").expect_err("out of range").to_string();
        for name in ["near is 0", "spread is 99", "attempts is 0", "merge_cosine is -1"] {
            assert!(said.contains(name), "{said}");
        }
        SummarizeConfig::default().validate_as("").expect("in range");
    }
}
