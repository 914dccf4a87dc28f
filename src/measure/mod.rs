//! Measures: numbers about finished samples, each looked at whole.
//!
//! A filter refuses an answer before it is a sample; a measure refuses nothing. Its values are rows
//! beside the samples, taken once for each answer and version. Every measure is opt-in, since some
//! ask a model. A new one is a file here and a name in [`MeasureName`].

pub mod judged;
pub mod keep;
mod similarity;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::base::check::{Checks, Settings};
use crate::dataset::record::{Measured, SampleView};
use crate::encoder::Encoder;

pub use judged::{JudgeConfig, Question};

/// Which measures a run takes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MeasureConfig {
    /// Taken of every accepted sample, in this order; none by default.
    pub enabled: Vec<MeasureName>,
    /// Askings per question to the judge until its reply can be read, 1 to 10.
    pub attempts: u32,
    pub judge: JudgeConfig,
}

impl Default for MeasureConfig {
    fn default() -> Self {
        Self { enabled: Vec::new(), attempts: 2, judge: JudgeConfig::default() }
    }
}

impl Settings for MeasureConfig {
    fn check(&self, checks: &mut Checks) {
        let twice = |(index, name): &(usize, &MeasureName)| self.enabled[..*index].contains(name);
        let twice = self.enabled.iter().enumerate().find(twice);
        let name = twice.map(|(_, name)| format!("{} twice", name.name())).unwrap_or_default();
        checks.require(twice.is_none(), "enabled", name, "each measure once");
        checks.range("attempts", self.attempts, 1, 10);
        checks.section("judge", &self.judge);
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
    /// By the judge, 1 to 5: how far the answer does what the instruction asks.
    Relevance,
    /// By the judge, 1 to 5: how well the instruction suits the photo.
    ImageCorrespondence,
    /// By the judge, 1 to 5: how much of the photo the instruction needs.
    VisualDependency,
    /// By the judge, 1 to 5: how well the answer is written and laid out.
    Formatting,
    /// By the judge: 1 where what the instruction takes for granted is not in the photo, else 0.
    Inapplicable,
    /// By the judge, 0 to 1: the share of the answer's claims about the photo that nothing supports.
    UnsupportedShare,
    /// By the judge, 0 to 1: the share of those claims that cannot be true.
    ContradictedShare,
    /// By the run's LLM: how much of the answer needs the photo. Where the server tells
    /// log-probabilities, how much likelier a token of the answer is with the photo's description, in
    /// nats; else how far the answer is from one that is written blind, about 0 to 1.
    BlindGap,
}

impl MeasureName {
    /// Every measure.
    pub const ALL: &[Self] = &[
        Self::SentenceSimilarityMin,
        Self::SentenceSimilarityMean,
        Self::Relevance,
        Self::ImageCorrespondence,
        Self::VisualDependency,
        Self::Formatting,
        Self::Inapplicable,
        Self::UnsupportedShare,
        Self::ContradictedShare,
        Self::BlindGap,
    ];

    /// The measure of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|one| one.name() == name)
    }

    /// Whether its values are words, not numbers.
    pub fn is_word(self) -> bool {
        match self {
            Self::SentenceSimilarityMin
            | Self::SentenceSimilarityMean
            | Self::Relevance
            | Self::ImageCorrespondence
            | Self::VisualDependency
            | Self::Formatting
            | Self::Inapplicable
            | Self::UnsupportedShare
            | Self::ContradictedShare
            | Self::BlindGap => false,
        }
    }

    /// The name in configuration, stores and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::SentenceSimilarityMin => "sentence_similarity_min",
            Self::SentenceSimilarityMean => "sentence_similarity_mean",
            Self::Relevance => "relevance",
            Self::ImageCorrespondence => "image_correspondence",
            Self::VisualDependency => "visual_dependency",
            Self::Formatting => "formatting",
            Self::Inapplicable => "inapplicable",
            Self::UnsupportedShare => "unsupported_share",
            Self::ContradictedShare => "contradicted_share",
            Self::BlindGap => "blind_gap",
        }
    }

    /// The question to the judge that gives it; `None` where no language model is asked.
    pub fn question(self) -> Option<Question> {
        Question::ALL.into_iter().find(|question| question.measures().contains(&self))
    }

    /// The measure itself, over the encoder that embedded the run's photos; `None` where a language
    /// model is asked ([`MeasureName::question`]).
    pub fn build(self, encoder: Arc<dyn Encoder>) -> Option<Box<dyn Measure>> {
        match self {
            Self::SentenceSimilarityMin => {
                Some(Box::new(similarity::SentenceSimilarity::min(encoder)))
            }
            Self::SentenceSimilarityMean => {
                Some(Box::new(similarity::SentenceSimilarity::mean(encoder)))
            }
            Self::Relevance
            | Self::ImageCorrespondence
            | Self::VisualDependency
            | Self::Formatting
            | Self::Inapplicable
            | Self::UnsupportedShare
            | Self::ContradictedShare
            | Self::BlindGap => None,
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
