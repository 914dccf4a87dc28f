//! Measures: numbers about finished samples, each looked at whole.
//!
//! A filter refuses an answer before it is a sample; a measure refuses nothing. Its values are rows
//! beside the samples, taken once for each answer and version. Every measure is opt-in, since some
//! ask a model. A new one is a file here and a name in [`MeasureName`].

pub mod keep;
mod similarity;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::base::check::{Checks, Settings};
use crate::dataset::record::{Measured, SampleView};
use crate::encoder::Encoder;

/// Which measures a run takes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MeasureConfig {
    /// Taken of every accepted sample, in this order; none by default.
    pub enabled: Vec<MeasureName>,
}

impl Settings for MeasureConfig {
    fn check(&self, checks: &mut Checks) {
        let twice = |(index, name): &(usize, &MeasureName)| self.enabled[..*index].contains(name);
        let twice = self.enabled.iter().enumerate().find(twice);
        let name = twice.map(|(_, name)| format!("{} twice", name.name())).unwrap_or_default();
        checks.require(twice.is_none(), "enabled", name, "each measure once");
    }
}

/// Every measure, by its name in configuration and reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MeasureName {
    /// The smallest cosine of the photo and a sentence of the answer: how far the answer strays
    /// from the photo where it strays most.
    SentenceSimilarityMin,
    /// The mean cosine of the photo and the answer's sentences.
    SentenceSimilarityMean,
}

impl MeasureName {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::SentenceSimilarityMin, Self::SentenceSimilarityMean];

    /// The measure of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    /// Whether its values are words, not numbers.
    pub fn is_word(self) -> bool {
        match self {
            Self::SentenceSimilarityMin | Self::SentenceSimilarityMean => false,
        }
    }

    /// The name in configuration, stores and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::SentenceSimilarityMin => "sentence_similarity_min",
            Self::SentenceSimilarityMean => "sentence_similarity_mean",
        }
    }

    /// The measure itself, over the encoder that embedded the run's photos.
    pub fn build(self, encoder: Arc<dyn Encoder>) -> Box<dyn Measure> {
        match self {
            Self::SentenceSimilarityMin => Box::new(similarity::SentenceSimilarity::min(encoder)),
            Self::SentenceSimilarityMean => Box::new(similarity::SentenceSimilarity::mean(encoder)),
        }
    }
}

/// A number about a sample.
pub trait Measure: Send + Sync {
    /// Changes when the same sample would be measured otherwise: values of another version are
    /// taken anew.
    fn version(&self) -> String;

    /// What it says of each sample, in order. All samples of one photo are asked for in one call.
    ///
    /// # Errors
    /// A model that the measure asks failed.
    fn values(&self, samples: &[SampleView<'_>]) -> Result<Vec<Measured>, Error>;
}
