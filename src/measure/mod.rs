//! Measures: what can be said about finished samples, each looked at whole.
//!
//! A filter refuses an answer before it is a sample; a measure refuses nothing. Its values are rows
//! beside the samples, taken once for each answer and version. Every measure is opt-in, since some
//! ask a model. A new one is a file here and a name in [`MeasureName`].

pub mod duplicates;
pub mod judged;
pub mod keep;
mod language;
mod objects;
mod similarity;
mod words;

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
    /// Things that the answer takes for there and no description names.
    ObjectsUnsupported,
    /// How much of the answer an earlier sample has, word for word.
    NearDuplicateOf,
    /// How near the photo is to an earlier one that is nearly the same.
    ImageTwinOf,
    /// Words of the answer.
    LengthWords,
    /// Language of the answer.
    Language,
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

/// Which values of a measure are better ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    Higher,
    Lower,
    /// It tells something, and nothing about quality.
    Neither,
}

/// What a measure must have to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// The sample alone.
    Nothing,
    /// The encoder that embedded the run's photos.
    Encoder,
    /// All samples of the run: it is taken anew when they change.
    Samples,
    /// A language model: [`MeasureName::question`].
    LanguageModel,
}

/// What people and programs are told of a measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct About {
    /// In configuration, stores and reports.
    pub name: &'static str,
    /// In a few words, with its range.
    pub meaning: &'static str,
    pub better: Better,
    pub needs: Needs,
}

impl MeasureName {
    /// Every measure.
    pub const ALL: [Self; 15] = [
        Self::SentenceSimilarityMin,
        Self::SentenceSimilarityMean,
        Self::ObjectsUnsupported,
        Self::NearDuplicateOf,
        Self::ImageTwinOf,
        Self::LengthWords,
        Self::Language,
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
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    /// Whether its values are words, not numbers.
    pub fn is_word(self) -> bool {
        self == Self::Language
    }

    /// What there is to know of it.
    pub fn about(self) -> About {
        let about = |name, meaning, better, needs| About { name, meaning, better, needs };
        match self {
            Self::SentenceSimilarityMin => about(
                "sentence_similarity_min",
                "smallest cosine of the photo and a sentence of the answer, -1 to 1",
                Better::Higher,
                Needs::Encoder,
            ),
            Self::SentenceSimilarityMean => about(
                "sentence_similarity_mean",
                "mean cosine of the photo and the sentences of the answer, -1 to 1",
                Better::Higher,
                Needs::Encoder,
            ),
            Self::ObjectsUnsupported => about(
                "objects_unsupported",
                "things that the answer takes for there and no description names, 0 or more",
                Better::Lower,
                Needs::Nothing,
            ),
            Self::NearDuplicateOf => about(
                "near_duplicate_of",
                "share of runs of five words in common with the most alike earlier answer, 0 to 1",
                Better::Lower,
                Needs::Samples,
            ),
            Self::ImageTwinOf => about(
                "image_twin_of",
                "cosine of the photo and an earlier one that is nearly the same, 0 to 1; 0 without",
                Better::Lower,
                Needs::Encoder,
            ),
            Self::LengthWords => about(
                "length_words",
                "words of the answer, 0 or more",
                Better::Neither,
                Needs::Nothing,
            ),
            Self::Language => about(
                "language",
                "language of the answer, as its ISO 639-3 code",
                Better::Neither,
                Needs::Nothing,
            ),
            Self::Relevance => about(
                "relevance",
                "how far the answer does what the instruction asks, by the judge, 1 to 5",
                Better::Higher,
                Needs::LanguageModel,
            ),
            Self::ImageCorrespondence => about(
                "image_correspondence",
                "how well the instruction suits the photo, by the judge, 1 to 5",
                Better::Higher,
                Needs::LanguageModel,
            ),
            Self::VisualDependency => about(
                "visual_dependency",
                "how much of the photo the instruction needs, by the judge, 1 to 5",
                Better::Higher,
                Needs::LanguageModel,
            ),
            Self::Formatting => about(
                "formatting",
                "how well the answer is written and laid out, by the judge, 1 to 5",
                Better::Higher,
                Needs::LanguageModel,
            ),
            Self::Inapplicable => about(
                "inapplicable",
                "1 where what the instruction takes for granted is not in the photo, by the judge; else 0",
                Better::Lower,
                Needs::LanguageModel,
            ),
            Self::UnsupportedShare => about(
                "unsupported_share",
                "share of the claims about the photo that nothing supports, by the judge, 0 to 1",
                Better::Lower,
                Needs::LanguageModel,
            ),
            Self::ContradictedShare => about(
                "contradicted_share",
                "share of those claims that cannot be true, by the judge, 0 to 1",
                Better::Lower,
                Needs::LanguageModel,
            ),
            Self::BlindGap => about(
                "blind_gap",
                "how much of the answer needs the photo, by the run's LLM, 0 or so to 1, or nats a token",
                Better::Higher,
                Needs::LanguageModel,
            ),
        }
    }

    /// The name in configuration, stores and reports.
    pub fn name(self) -> &'static str {
        self.about().name
    }

    /// The question to the judge that gives it; `None` where no language model is asked.
    pub fn question(self) -> Option<Question> {
        Question::ALL.into_iter().find(|question| question.measures().contains(&self))
    }

    /// The measure itself, over the encoder that embedded the run's photos; `None` for one that
    /// is told from what else the run has.
    pub fn build(self, encoder: Arc<dyn Encoder>) -> Option<Box<dyn Measure>> {
        Some(match self {
            Self::SentenceSimilarityMin => Box::new(similarity::SentenceSimilarity::min(encoder)),
            Self::SentenceSimilarityMean => Box::new(similarity::SentenceSimilarity::mean(encoder)),
            Self::ObjectsUnsupported => Box::new(objects::ObjectsUnsupported),
            Self::LengthWords => Box::new(words::LengthWords),
            Self::Language => Box::new(words::Language),
            Self::NearDuplicateOf
            | Self::ImageTwinOf
            | Self::Relevance
            | Self::ImageCorrespondence
            | Self::VisualDependency
            | Self::Formatting
            | Self::Inapplicable
            | Self::UnsupportedShare
            | Self::ContradictedShare
            | Self::BlindGap => return None,
        })
    }
}

/// Something that can be said of a sample by itself.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_the_one_of_the_configuration() {
        for name in MeasureName::ALL {
            let text = serde_json::to_value(name).expect("a name");
            assert_eq!(text, name.name(), "{name:?}");
        }
    }
}
