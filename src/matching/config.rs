//! Settings of matching, and the rules they make together with a model's defaults.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use strum::IntoStaticStr;

use super::check::CheckKind;
use super::{MatchError, Strategy};
use crate::base::check::{Checks, Settings};
use crate::base::key::Key;
use crate::model::manifest::ModelDefaults;

/// The most candidates fetched, drawn from or recorded.
pub(super) const MOST: usize = 10_000;

/// The correction for instructions that are near to every photo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
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
    /// Nearest-neighbour normalisation (Chowdhury et al. 2024): score = similarity −
    /// `hubness_weight` · the instruction's mean similarity to its `hubness_neighbours` nearest
    /// calibration photos.
    Nnn,
}

impl Hubness {
    /// The name used in settings.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// The checks of whoever names none.
pub const DEFAULT_CHECKS: [CheckKind; 2] = [CheckKind::Text, CheckKind::Encoder];

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
    /// Nearest calibration photos over which `nnn` takes its mean, at least 1.
    pub hubness_neighbours: usize,
    /// How much of that mean `nnn` takes off the similarity, in [0, 2].
    pub hubness_weight: f64,
    /// Photos over which the correction's statistics are taken, at least 2.
    pub calibration: usize,
    /// Largest share of all planned pairs that one instruction may take, in [0, 1]; 0 and 1 set
    /// no bound.
    pub max_share: f64,
    /// Candidates recorded with each pair, best first; those picked are always recorded.
    pub record_candidates: usize,
    /// What a candidate must pass before the draw, each once; empty: nothing. Unset takes
    /// [`DEFAULT_CHECKS`], in a run what it began with.
    #[serde(deserialize_with = "checks_by_name", skip_serializing_if = "Option::is_none")]
    pub check: Option<Vec<CheckKind>>,
}

/// The checks of a list of names. Blank names are none: an empty flag or variable is one.
fn checks_by_name<'de, D: Deserializer<'de>>(
    reader: D,
) -> Result<Option<Vec<CheckKind>>, D::Error> {
    let Some(names) = Option::<Vec<String>>::deserialize(reader)? else { return Ok(None) };
    let names = names.iter().map(|name| name.trim()).filter(|name| !name.is_empty());
    let kind = |name: &str| {
        let known = CheckKind::ALL.map(CheckKind::name).join(", ");
        let unknown =
            || D::Error::custom(format!("check {name:?} is not known; known are {known}"));
        CheckKind::named(name).ok_or_else(unknown)
    };
    names.map(kind).collect::<Result<_, _>>().map(Some)
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
            hubness_neighbours: 10,
            hubness_weight: 0.75,
            calibration: 1000,
            max_share: 0.0,
            record_candidates: 8,
            check: None,
        }
    }
}

impl Settings for MatchingConfig {
    fn check(&self, checks: &mut Checks) {
        checks.range("pool", self.pool, 1, MOST);
        checks.range("top_k", self.top_k, 1, MOST);
        checks.range("record_candidates", self.record_candidates, 0, MOST);
        checks.range("hubness_neighbours", self.hubness_neighbours, 1, MOST);
        checks.range("hubness_weight", self.hubness_weight, 0.0, 2.0);
        checks.range("calibration", self.calibration, 2, 10_000_000);
        checks.range("min_similarity", self.min_similarity, -1.0, 1.0);
        checks.range("caption_weight", self.caption_weight, 0.0, 1.0);
        checks.range("mmr_lambda", self.mmr_lambda, 0.0, 1.0);
        checks.range("max_share", self.max_share, 0.0, 1.0);
        checks.range("top_p", self.top_p, 1e-6, 1.0);
        checks.range("temperature", self.temperature, 0.0, 1000.0);
        let named = self.check.as_deref().unwrap_or_default();
        let twice = named.iter().enumerate().find(|(at, kind)| named[..*at].contains(kind));
        let twice = twice.map(|(_, kind)| kind.name());
        checks.require(twice.is_none(), "check", twice.unwrap_or_default(), "named once");
        let ((most_top_k, why), (most, per_image_why)) = self.strategy.bounds(self);
        let fits = self.top_k <= most_top_k || self.top_k > MOST;
        checks.require(fits, "top_k", self.top_k, format!("1 to {most_top_k}{why}"));
        let (fits, expected) =
            ((1..=most).contains(&self.per_image), format!("1 to {most}{per_image_why}"));
        checks.require(fits, "per_image", self.per_image, expected);
        let coldest = self.strategy.coldest();
        let frozen = (0.0..coldest).contains(&self.temperature);
        let expected = format!("{coldest} to 1000 with this strategy");
        checks.require(!frozen, "temperature", self.temperature, expected);
    }
}

/// Settings found sound, with nothing left unset.
#[derive(Debug, Clone, PartialEq)]
pub struct MatchRules {
    config: MatchingConfig,
    min_similarity: f64,
    /// The floor was set, and is not the model's default.
    floor_is_set: bool,
    caption_weight: f64,
}

impl MatchRules {
    /// Checks `config` and fills what it leaves unset.
    ///
    /// # Errors
    /// [`MatchError::Config`] with everything that is out of range or contradicts, in the
    /// settings or in the defaults.
    pub fn new(config: &MatchingConfig, defaults: ModelDefaults) -> Result<Self, MatchError> {
        let min_similarity = config.min_similarity.unwrap_or(defaults.min_similarity);
        let caption_weight = config.caption_weight.unwrap_or(defaults.caption_weight);
        let filled = MatchingConfig {
            min_similarity: Some(min_similarity),
            caption_weight: Some(caption_weight),
            check: Some(config.check.clone().unwrap_or_else(|| DEFAULT_CHECKS.into())),
            ..config.clone()
        };
        filled.validate_as("matching")?;
        let floor_is_set = config.min_similarity.is_some();
        Ok(Self { config: filled, min_similarity, floor_is_set, caption_weight })
    }

    /// The settings, with `min_similarity`, `caption_weight` and `check` set.
    pub fn config(&self) -> &MatchingConfig {
        &self.config
    }

    /// Adds every rule to the key of what is drawn by them.
    pub fn add_to(&self, key: Key) -> Key {
        let MatchingConfig { strategy, per_image, pool, temperature, top_k, top_p, .. } =
            &self.config;
        let MatchingConfig { mmr_lambda, hubness, calibration, max_share, .. } = &self.config;
        // A correction that does not use them has the key that it had before they were there.
        let key = match hubness {
            Hubness::Nnn => key
                .field("hubness_neighbours", self.config.hubness_neighbours)
                .field("hubness_weight", self.config.hubness_weight),
            Hubness::None | Hubness::Zscore | Hubness::Csls => key,
        };
        let key = key
            .field("strategy", strategy.name())
            .field("per_image", *per_image)
            .field("pool", *pool)
            .field("min_similarity", self.min_similarity)
            .field("temperature", *temperature)
            .field("top_k", *top_k)
            .field("top_p", *top_p)
            .field("mmr_lambda", *mmr_lambda)
            .field("caption_weight", self.caption_weight)
            .field("hubness", hubness.name())
            .field("calibration", *calibration)
            .field("max_share", *max_share)
            .field("record_candidates", self.config.record_candidates);
        match self.checks() {
            // What was drawn before there were checks keeps its key.
            [] => key,
            checks => key
                .list("check", checks.iter().map(|kind| kind.name()))
                .field("floor_is_set", self.floor_is_set),
        }
    }

    /// What a candidate must pass before the draw; empty: nothing.
    pub fn checks(&self) -> &[CheckKind] {
        self.config.check.as_deref().unwrap_or_default()
    }

    /// The lowest similarity that is eligible.
    pub fn min_similarity(&self) -> f64 {
        self.min_similarity
    }

    /// Whether the floor was set. The model's own gives way where a check leaves a photo without
    /// an instruction: it is a guess at what applies, and the check knows better.
    pub fn floor_is_set(&self) -> bool {
        self.floor_is_set
    }

    /// Share of the caption in the similarity.
    pub fn caption_weight(&self) -> f64 {
        self.caption_weight
    }
}
