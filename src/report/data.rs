//! What a report says, as plain values. The run's database fills it; the template reads it.

use serde::{Deserialize, Serialize};

use super::histogram::{Comparison, Histogram};
use super::{GenerationReport, MeasureReport, Thumbnail};
use crate::llm::RoleSpent;

/// Everything one page shows. Counts are of the whole run; `samples` may be a part of it.
#[derive(Debug, Clone, Serialize)]
pub struct ReportData {
    /// The page's title, usually the run folder's name.
    pub title: String,
    /// Where the run lies.
    pub run_folder: String,
    /// Program and version that made the page.
    pub generated_with: String,
    /// Sentences shown above all else: an interrupted run, failed rows, how to resume.
    pub notices: Vec<String>,
    /// The configuration.
    pub run: RunFacts,
    /// The image-text encoder.
    pub encoder: EncoderFacts,
    /// The language model that wrote the answers.
    pub llm: LlmFacts,
    /// What went into and came out of each stage, in order.
    pub funnel: Vec<FunnelStep>,
    /// Every reason for rejection, once per stage and code.
    pub rejections: Vec<RejectionGroup>,
    /// Every kind of failure that a resumed run tries again.
    pub failures: Vec<FailureGroup>,
    /// Image-instruction similarity of all candidates and of the chosen ones.
    pub similarity: Comparison,
    /// How often each instruction of the library was drawn, unused ones included.
    pub instruction_use: Vec<InstructionUse>,
    /// Length of the accepted answers in words.
    pub answer_words: Histogram,
    /// What the language model was asked for.
    pub tokens: TokenFacts,
    /// Work and time of each stage.
    pub stages: Vec<StageTime>,
    /// The prompt templates and their hashes.
    pub prompts: Vec<PromptText>,
    /// What the measures say of the accepted samples; empty where none was asked for.
    pub measures: Vec<MeasureReport>,
    /// How candidates became pairs.
    pub matching: MatchingFacts,
    /// How the instructions were generated, when they were.
    pub generation: Option<GenerationReport>,
    /// The pairs shown, a bounded number of them.
    pub samples: Vec<SampleCard>,
    /// How many pairs the run has; `samples` shows some or all of them.
    pub samples_total: u64,
    /// How the shown pairs were picked, for the reader; empty when all are shown.
    pub samples_note: String,
    /// The files written from the run.
    pub exports: Vec<ExportFile>,
}

/// A name with its value, both ready to be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyValue {
    pub key: String,
    pub value: String,
}

impl KeyValue {
    /// A row from anything that prints.
    pub fn new(key: impl Into<String>, value: impl ToString) -> Self {
        Self { key: key.into(), value: value.to_string() }
    }
}

/// The configuration in short and in full.
#[derive(Debug, Clone, Serialize)]
pub struct RunFacts {
    /// The settings worth a glance, grouped.
    pub sections: Vec<Section>,
    /// The text of `run.toml`.
    pub toml: String,
}

/// A named group of settings.
#[derive(Debug, Clone, Serialize)]
pub struct Section {
    pub name: String,
    pub rows: Vec<KeyValue>,
}

/// The encoder that was really loaded.
#[derive(Debug, Clone, Serialize)]
pub struct EncoderFacts {
    pub name: String,
    /// The hash over the loaded graphs.
    pub hash: String,
    /// Width of an embedding, in numbers.
    pub embedding_dim: u32,
    /// True for the bundled model: the page then says that it is no CLIP.
    pub stand_in: bool,
    /// What its manifest wants readers to know.
    pub notice: Option<String>,
    pub files: Vec<ModelFile>,
    /// Measured quality, for instance `recall@1, text to image`.
    pub quality: Vec<KeyValue>,
}

/// One file of a model.
#[derive(Debug, Clone, Serialize)]
pub struct ModelFile {
    pub path: String,
    /// 64 hexadecimal digits.
    pub sha256: String,
}

/// The language model that wrote the answers.
#[derive(Debug, Clone, Serialize)]
pub struct LlmFacts {
    /// The name as its server reports it.
    pub name: String,
    /// `openai` or `local`, with the address or file.
    pub backend: String,
    /// What readers should know, for instance that it is a small stand-in.
    pub notice: Option<String>,
}

/// One stage's intake and result, in records.
#[derive(Debug, Clone, Serialize)]
pub struct FunnelStep {
    pub stage: String,
    pub input: u64,
    /// Records that went on; more than `input` where one photo takes several instructions.
    pub output: u64,
    pub rejected: u64,
    /// Records that a resumed run tries again.
    pub failed: u64,
}

/// One reason for rejection.
#[derive(Debug, Clone, Serialize)]
pub struct RejectionGroup {
    pub stage: String,
    /// The stable snake_case code.
    pub code: String,
    pub count: u64,
    /// A few of them.
    pub examples: Vec<Example>,
}

/// One rejected record.
#[derive(Debug, Clone, Serialize)]
pub struct Example {
    /// The user's own id, or the file or line.
    pub subject: String,
    pub reason: String,
}

/// One kind of failure.
#[derive(Debug, Clone, Serialize)]
pub struct FailureGroup {
    /// The stable snake_case code.
    pub code: String,
    pub count: u64,
    /// The message of one of them.
    pub example: String,
}

/// How often one instruction was drawn.
#[derive(Debug, Clone, Serialize)]
pub struct InstructionUse {
    pub id: String,
    pub text: String,
    pub category: Option<String>,
    /// Pairs drawn with it.
    pub chosen: u64,
    /// Pairs whose answer was accepted.
    pub accepted: u64,
}

/// What the language model was asked for.
#[derive(Debug, Clone, Serialize)]
pub struct TokenFacts {
    pub prompt: u64,
    pub completion: u64,
    pub calls: u64,
    pub retries: u64,
    /// Accepted samples, over which the tokens are shared out.
    pub accepted: u64,
    /// What each role has spent, in all sessions.
    pub spending: Vec<RoleSpent>,
}

/// Work and time of one stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageTime {
    pub name: String,
    pub items: u64,
    /// Wall-clock seconds; stages overlap, so the sum exceeds the run's.
    pub seconds: f64,
}

/// One prompt template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromptText {
    pub name: String,
    pub hash: String,
    pub text: String,
}

/// How candidates became pairs.
#[derive(Debug, Clone, Default, Serialize)]
pub struct MatchingFacts {
    /// Strategy, floor, caption weight, quota and what they did.
    pub facts: Vec<KeyValue>,
    /// Instructions that are close to everything, most so first; empty without hubness statistics.
    pub hubs: Vec<Hub>,
}

/// An instruction's similarity over the calibration photos.
#[derive(Debug, Clone, Serialize)]
pub struct Hub {
    pub instruction_id: String,
    pub mean: f64,
    pub deviation: f64,
}

/// One photo with its drawn instruction and what became of it.
#[derive(Debug, Clone, Serialize)]
pub struct SampleCard {
    pub id: String,
    /// `None` when the photo is no longer there; the card says so.
    pub thumbnail: Option<Thumbnail>,
    /// Width of the photo in pixels, after EXIF orientation.
    pub width: u32,
    /// Height of the photo in pixels, after EXIF orientation.
    pub height: u32,
    pub description: String,
    pub instruction_id: String,
    pub instruction: String,
    pub category: Option<String>,
    /// What the instruction requires of a photo, in words; `None` where that is not known.
    pub requires: Option<String>,
    pub similarity: f64,
    /// The score the sampling used.
    pub score: f64,
    /// Probability of the draw in (0, 1]; `None` where the strategy is not random.
    pub probability: Option<f64>,
    /// 1 for the first instruction drawn for the photo.
    pub rank: u32,
    pub strategy: String,
    /// What was considered, best first.
    pub candidates: Vec<Candidate>,
    /// The last answer; empty when there is none.
    pub answer: String,
    pub verdict: Verdict,
    /// Every answer that was tried, in order.
    pub attempts: Vec<Attempt>,
    pub llm: String,
    pub seed: u64,
    /// Ids of the in-context examples, in the order shown to the model.
    pub example_ids: Vec<String>,
}

/// One considered instruction.
#[derive(Debug, Clone, Serialize)]
pub struct Candidate {
    pub id: String,
    pub text: String,
    pub similarity: f64,
    pub score: f64,
    /// True for the instruction of this card.
    pub chosen: bool,
    /// What a check did not find in the photo, in words; empty where it was not refused.
    pub refused: String,
}

/// What became of a pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Verdict {
    /// In the dataset.
    Accepted,
    /// Refused by a filter.
    Rejected { filter: String, reason: String },
    /// No answer could be had; a resumed run tries again.
    Failed { code: String, reason: String },
}

/// One answer that was tried.
#[derive(Debug, Clone, Serialize)]
pub struct Attempt {
    /// From 1.
    pub attempt: u32,
    pub text: String,
    /// `accepted`, or the code of the filter that refused it.
    pub verdict: String,
    /// Why the model stopped, as its server said it: `stop`, `length`.
    pub finish: String,
    /// Tokens of the completion.
    pub tokens: u32,
}

/// One exported file.
#[derive(Debug, Clone, Serialize)]
pub struct ExportFile {
    pub path: String,
    pub rows: u64,
    pub bytes: u64,
    /// 64 hexadecimal digits.
    pub sha256: String,
}
