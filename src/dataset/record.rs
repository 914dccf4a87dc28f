//! The typed records that move through a run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use super::ImageRef;
use crate::base::hash;

/// A record that did not go on: where it stopped, why, and what it was about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// The stage that refused it.
    pub stage: Stage,
    /// A stable, snake_case code, for instance `truncated_image` or `missing_description`.
    pub code: String,
    /// One sentence for a person: the file or line, the limit and the value seen.
    pub reason: String,
    /// The user's own id of the item (or the file or line where no id could be read).
    pub subject: String,
}

/// The stages of a run, in the order in which a record meets them.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Stage {
    /// Reading the source: ids, descriptions, files.
    Source,
    /// Decoding and preparing the photo.
    Image,
    /// Having a model describe the photo.
    Describe,
    /// Embedding, searching and sampling instructions.
    Match,
    /// Asking the LLM for the answer.
    Answer,
    /// Checking the answer.
    Filter,
}

impl Stage {
    /// The name used in the database, the exports and the report.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// One captioned photo as a source gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceRecord {
    /// The user's own id, unique in the source.
    pub id: String,
    /// Where the photo's bytes are.
    pub image: ImageRef,
    /// The detailed description (several captions are joined by the source).
    pub description: String,
    /// The captions apart, in their order, where the source has several; else none.
    pub descriptions: Vec<String>,
    /// Where the record came from, for messages: `manifest.jsonl:12` or a file's path.
    pub origin: String,
    /// The photo's licence in the source's own words, a name or an address; `None` where it tells none.
    pub license: Option<String>,
}

/// A final instruction.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instruction {
    /// The user's own id, unique in its library.
    pub id: String,
    pub text: String,
    /// The category or cluster it belongs to.
    #[serde(default)]
    pub category: Option<String>,
    /// What must be in a photo for the instruction to make sense, as short noun phrases ("boat",
    /// "food or drink"), all of them. An empty list fits any photo; `None` is not known, and found
    /// from the text where it is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requires: Option<Vec<String>>,
    /// Words to choose it by, of the user's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

impl Instruction {
    /// The key made of the text alone.
    pub fn key(&self) -> String {
        hash::key(&["instruction", &self.text])
    }
}

/// A photo with one of the instructions drawn for it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pair {
    /// Key over photo, description and instruction.
    pub key: String,
    /// Place of the photo in the source; with `rank`, the order of pairs.
    pub seq: i64,
    /// The user's own id of the photo.
    pub item_id: String,
    pub image: ImageRef,
    /// SHA-256 of the photo's bytes when it was embedded.
    pub image_sha256: String,
    /// Width in pixels after EXIF orientation.
    pub width: u32,
    /// Height in pixels after EXIF orientation.
    pub height: u32,
    /// The photo's format, such as `jpeg`.
    pub format: String,
    pub description: String,
    /// The captions that the description joins, apart; none where it is one text.
    pub captions: Vec<String>,
    /// The photo's licence in the source's own words, where it tells one.
    pub license: Option<String>,
    /// Key of the instruction's text.
    pub instruction_key: String,
    /// The instruction's own id in its library.
    pub instruction_id: String,
    /// The instruction's text.
    pub instruction: String,
    /// The instruction's category or cluster, when its library names one.
    pub category: Option<String>,
    /// What the instruction requires of a photo, where that is known.
    pub requires: Option<Vec<String>>,
    /// 1 for the first instruction drawn for this photo.
    pub rank: u32,
    /// Cosine similarity (caption-weighted) of photo and instruction, in [-1, 1].
    pub similarity: f64,
    /// What the sampling used, after hubness correction.
    pub score: f64,
    /// Of the draw, in (0, 1]; `None` where the strategy is not random.
    pub probability: Option<f64>,
}

/// What became of an answer: what the filters say, or the LLM itself, where it declines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    Reject(Refused),
}

impl Verdict {
    /// What stores and reports call an accepted answer.
    pub const ACCEPTED: &str = "accepted";

    /// The code where the LLM declined because the instruction does not fit the photo.
    pub const INAPPLICABLE: &str = "inapplicable";

    /// [`Verdict::ACCEPTED`], or the code of the filter that refused.
    pub fn code(&self) -> &str {
        match self {
            Self::Pass => Self::ACCEPTED,
            Self::Reject(refused) => &refused.code,
        }
    }

    /// Whether another attempt could end better: the answer was refused, and not by the LLM itself.
    pub fn asks_again(&self) -> bool {
        ![Self::ACCEPTED, Self::INAPPLICABLE].contains(&self.code())
    }

    /// Why it was refused; empty where it was not.
    pub fn reason(&self) -> &str {
        match self {
            Self::Pass => "",
            Self::Reject(refused) => &refused.reason,
        }
    }
}

/// Why an answer was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// A stable, snake_case code; a filter may have several.
    pub code: String,
    /// One sentence for a person, with the words or numbers that decided.
    pub reason: String,
}

/// A generated answer and what the filters said.
#[derive(Debug, Clone, PartialEq)]
pub struct AnswerRow {
    pub answer_key: String,
    pub pair_key: String,
    /// From 1.
    pub attempt: u32,
    pub text: String,
    /// Why the LLM stopped: `stop`, `length`, `content_filter`, `failed` or `unknown`; release
    /// 0.1.0 knew `other` for what is neither of the first three.
    pub finish: String,
    /// The LLM's name as its server reports it.
    pub llm: String,
    /// The seed sent to the LLM.
    pub seed: u64,
    /// Ids of the in-context examples in the order shown to the model.
    pub examples: Vec<String>,
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    /// What the LLM reasoned before the text, where that was to be kept. No filter sees it.
    pub reasoning: Option<String>,
    pub verdict: Verdict,
    /// Names of the filters that passed it; none where one refused it.
    pub filters: Vec<String>,
}

/// A sample as filters and measures see it: the answer, what it came from, and what stands beside
/// it.
#[derive(Debug, Clone, Copy, Default)]
pub struct SampleView<'a> {
    /// The answer as the LLM gave it.
    pub text: &'a str,
    /// The LLM was cut off at its token limit (finish reason `length`).
    pub truncated: bool,
    /// The instruction it answers.
    pub instruction: &'a str,
    /// The description that grounded it.
    pub description: &'a str,
    /// Other texts shown to the LLM that an answer must not repeat: the system prompt, the
    /// in-context examples' answers.
    pub prompt_texts: &'a [&'a str],
    /// Photo, instruction and draw; `None` for an answer that belongs to no run.
    pub pair: Option<&'a Pair>,
    /// Unit vector of the photo, in measures.
    pub photo: Option<&'a [f32]>,
    /// All accepted samples of the photo, this one included, in measures.
    pub siblings: &'a [(Pair, AnswerRow)],
}

/// What a measure says of one sample.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Measured {
    /// `None` where the measure says nothing about it.
    pub value: Option<MeasureValue>,
    /// What the value rests on, in the measure's own form; shown to people, never computed with.
    pub detail: Option<serde_json::Value>,
}

impl Measured {
    /// A number, or nothing.
    pub fn number(value: Option<f64>) -> Self {
        Self { value: value.map(MeasureValue::Number), detail: None }
    }
}

/// The value of a measure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum MeasureValue {
    /// Finite.
    Number(f64),
    /// A word, such as the code of a language.
    Text(String),
}

impl MeasureValue {
    /// The number, if it is one.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(_) => None,
        }
    }

    /// The word, if it is one.
    pub fn word(&self) -> Option<&str> {
        match self {
            Self::Text(word) => Some(word),
            Self::Number(_) => None,
        }
    }
}

/// One accepted sample with its whole lineage: what the exports write.
///
/// No field depends on the time or on how often a run was interrupted, so that exports of equal
/// runs are equal byte for byte.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Unique in the dataset: `{item id}-{rank}`, made unique by the store.
    pub id: String,
    /// The image path as trainers should open it: relative to the image folder when the run has
    /// one, absolute otherwise.
    pub image: String,
    pub instruction: String,
    pub answer: String,
    pub lineage: Lineage,
    /// What measures say of it, by their names; those that say nothing are not among them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub measures: BTreeMap<String, MeasureValue>,
    /// What these values rest on, each in its measure's own form.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub measure_details: BTreeMap<String, serde_json::Value>,
}

/// Where a sample came from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Lineage {
    /// The user's own id of the photo.
    pub item_id: String,
    /// SHA-256 of the image file's bytes.
    pub image_sha256: String,
    /// Width in pixels after EXIF orientation.
    pub width: u32,
    /// Height in pixels after EXIF orientation.
    pub height: u32,
    /// The photo's licence in the source's own words, where it tells one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// The description that grounded the answer.
    pub description: String,
    /// The instruction's own id in its library.
    pub instruction_id: String,
    /// The instruction's category or cluster, when its library names one.
    pub category: Option<String>,
    /// What the instruction requires of a photo, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requires: Option<Vec<String>>,
    /// Cosine similarity (caption-weighted) of image and instruction, in [-1, 1].
    pub similarity: f64,
    /// The score the sampling used, after hubness correction; equals `similarity` without one.
    pub score: f64,
    /// Probability of the draw under the sampling strategy, in (0, 1]; `None` where the strategy
    /// is not random.
    pub probability: Option<f64>,
    /// 1 for the first instruction drawn for this image.
    pub rank: u32,
    /// The sampling strategy's name.
    pub strategy: String,
    /// The candidates that were considered, best first.
    pub candidates: Vec<CandidateScore>,
    /// Ids of the in-context examples in the order shown to the model.
    pub examples: Vec<String>,
    /// Hash over the prompt templates and examples.
    pub prompt_hash: String,
    /// The LLM's name as its server reports it.
    pub llm: String,
    /// The seed sent to the LLM.
    pub seed: u64,
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    /// Encoder name and the hash over the graphs that were really loaded.
    pub encoder: String,
    pub encoder_hash: String,
    /// Names of the filters that looked at the answer and passed it.
    pub filters_passed: Vec<String>,
    /// What the LLM reasoned before the answer, where that was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
}

/// One candidate instruction of an image, as recorded in the lineage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CandidateScore {
    /// The instruction's own id in its library.
    pub id: String,
    /// Cosine similarity, rounded to six decimals so that equal runs print equal bytes.
    pub similarity: f64,
    /// The score the sampling used, rounded alike.
    pub score: f64,
    /// What each check said of it; none where nothing was checked or it requires nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<CheckFinding>,
}

/// What one check said of a candidate, as recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckFinding {
    /// The check's name.
    pub check: String,
    /// How well the least well founded requirement is founded, on the check's own scale, rounded to
    /// six decimals; `None` where the check had nothing to go by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// The requirements that were not found; empty where the candidate passed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}
