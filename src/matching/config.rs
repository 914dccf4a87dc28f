//! Settings of matching, and the rules they make together with a model's defaults.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::{MatchError, Strategy};
use crate::model::ModelDefaults;

/// The most candidates fetched, drawn from or recorded.
pub(super) const MOST: usize = 10_000;

/// The correction for instructions that are near to every photo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hubness {
    /// Score = similarity.
    #[default]
    None,
    /// Score = (similarity − the instruction's mean) / its deviation, both over the calibration
    /// photos. Scores are in deviations: a temperature near 0.5 fits, not one near 0.05.
    Zscore,
    /// Cross-domain similarity local scaling (Conneau et al. 2018): score = 2 · similarity −
    /// the instruction's mean similarity to its nearest calibration photos − the photo's mean
    /// similarity to its nearest instructions.
    Csls,
}

/// Settings of matching.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MatchingConfig {
    /// How instructions are drawn.
    pub strategy: Strategy,
    /// Instructions drawn for each photo, at least 1; fewer come when fewer are eligible.
    pub per_image: usize,
    /// Candidates fetched from the index for each photo.
    pub pool: usize,
    /// The lowest similarity (before correction) that is eligible, in [-1, 1]; unset takes the
    /// model's default.
    pub min_similarity: Option<f64>,
    /// Spread of the draw for `softmax` (above 0) and `mmr` (0 or above), in units of score.
    pub temperature: f64,
    /// How many of the best are drawn from (`topk`, `softmax`), at most `pool`.
    pub top_k: usize,
    /// Probability mass drawn from (`softmax`), in (0, 1]; 1 cuts nothing.
    pub top_p: f64,
    /// Weight of the score against diversity (`mmr`), in [0, 1].
    pub mmr_lambda: f64,
    /// Share of the caption in the similarity, in [0, 1]; unset takes the model's default.
    pub caption_weight: Option<f64>,
    /// The correction for hubs.
    pub hubness: Hubness,
    /// Photos over which the correction's statistics are taken, at least 2.
    pub calibration: usize,
    /// Largest share of all planned pairs that one instruction may take, in [0, 1]; 0 and 1 set
    /// no bound.
    pub max_share: f64,
    /// Candidates recorded with each pair, best first; those picked are always recorded.
    pub record_candidates: usize,
}

impl Default for MatchingConfig {
    fn default() -> Self {
        Self {
            strategy: Strategy::Softmax,
            per_image: 1,
            pool: 32,
            min_similarity: None,
            temperature: 0.05,
            top_k: 8,
            top_p: 0.95,
            mmr_lambda: 0.7,
            caption_weight: None,
            hubness: Hubness::None,
            calibration: 1000,
            max_share: 0.0,
            record_candidates: 8,
        }
    }
}

impl MatchingConfig {
    /// Every setting that is out of range or contradicts another one: its name, its value and
    /// the range. Empty when all is well.
    pub fn validate(&self) -> Vec<String> {
        let mut problems = Vec::new();
        self.check_counts(&mut problems);
        self.check_fractions(&mut problems);
        problems
    }

    fn check_counts(&self, problems: &mut Vec<String>) {
        let (most_top_k, most_per_image) = self.strategy.bounds(self);
        let ranges = [
            ("pool", self.pool, 1..=MOST, ""),
            ("top_k", self.top_k, 1..=most_top_k.0, most_top_k.1),
            ("per_image", self.per_image, 1..=most_per_image.0, most_per_image.1),
            ("calibration", self.calibration, 2..=10_000_000, ""),
            ("record_candidates", self.record_candidates, 0..=MOST, ""),
        ];
        for (name, value, range, why) in ranges {
            if !range.contains(&value) {
                let (low, high) = range.into_inner();
                problems.push(format!("matching.{name}: {value} is not in [{low}, {high}]{why}"));
            }
        }
    }

    fn check_fractions(&self, problems: &mut Vec<String>) {
        let mut check = |name: &str, value: f64, range: RangeInclusive<f64>| {
            if !range.contains(&value) {
                let (low, high) = range.into_inner();
                problems.push(format!("matching.{name}: {value} is not in [{low}, {high}]"));
            }
        };
        check("min_similarity", self.min_similarity.unwrap_or(0.0), -1.0..=1.0);
        check("caption_weight", self.caption_weight.unwrap_or(0.0), 0.0..=1.0);
        check("mmr_lambda", self.mmr_lambda, 0.0..=1.0);
        check("max_share", self.max_share, 0.0..=1.0);
        check("top_p", self.top_p, 1e-6..=1.0);
        check("temperature", self.temperature, self.strategy.coldest()..=1000.0);
    }
}

/// Settings found sound, with nothing left unset.
#[derive(Debug, Clone, PartialEq)]
pub struct MatchRules {
    config: MatchingConfig,
    min_similarity: f64,
    caption_weight: f64,
}

impl MatchRules {
    /// Checks `config` and fills what it leaves unset.
    ///
    /// # Errors
    /// [`MatchError::Config`] with everything that [`MatchingConfig::validate`] finds, in the
    /// settings or in the defaults.
    pub fn new(config: &MatchingConfig, defaults: ModelDefaults) -> Result<Self, MatchError> {
        let min_similarity = config.min_similarity.unwrap_or(defaults.min_similarity);
        let caption_weight = config.caption_weight.unwrap_or(defaults.caption_weight);
        let filled = MatchingConfig {
            min_similarity: Some(min_similarity),
            caption_weight: Some(caption_weight),
            ..config.clone()
        };
        let problems = filled.validate();
        if !problems.is_empty() {
            return Err(MatchError::Config { problems });
        }
        Ok(Self { config: filled, min_similarity, caption_weight })
    }

    /// The settings, with `min_similarity` and `caption_weight` set.
    pub fn config(&self) -> &MatchingConfig {
        &self.config
    }

    /// The lowest similarity that is eligible.
    pub fn min_similarity(&self) -> f64 {
        self.min_similarity
    }

    /// Share of the caption in the similarity.
    pub fn caption_weight(&self) -> f64 {
        self.caption_weight
    }
}
