use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use super::super::filter::InstructionFilterConfig;
use crate::base::check::{Checks, Settings};
use crate::llm::{LlmConfig, LlmTarget, PromptSource, SamplingSettings, See};

/// What seeds are drawn from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pool {
    /// The seeds alone.
    #[default]
    Seeds,
    /// The seeds and every instruction accepted in earlier rounds, as Self-Instruct does.
    Accepted,
}

/// How the form of a reply is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Structured {
    /// A JSON schema goes with each call; a server that refuses it is asked without one.
    Schema,
    /// The schema also demands that an instruction begins with one of some verbs and ends with
    /// the image: for models too small to keep to it by themselves.
    Verbs,
    /// No schema; the reply is read with patience.
    Off,
}

/// What a generated library is made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum LibraryMode {
    /// One general instruction for each cluster, written by the LLM.
    #[default]
    Summaries,
    /// The raw instructions nearest each cluster's centre, near-duplicates left out.
    Members,
    /// Both, members that say what a summary says left out.
    Both,
}

impl LibraryMode {
    /// All, for the command line.
    pub const ALL: [Self; 3] = [Self::Summaries, Self::Members, Self::Both];

    /// The name in configuration.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Whether clusters are summarised.
    pub fn summarizes(self) -> bool {
        self != Self::Members
    }

    /// Whether clusters give members.
    pub fn picks(self) -> bool {
        self != Self::Summaries
    }
}

/// How new instructions are asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GenerateConfig {
    /// Whether `pairwright run` begins by generating its instructions.
    pub enabled: bool,
    /// Seed instructions, `.jsonl` or `.txt`; the built-in ones when absent.
    pub seeds: Option<PathBuf>,
    /// A list of descriptions, `.txt` or `.jsonl`, in place of `[source]`.
    pub descriptions: Option<PathBuf>,
    /// What the model gets to know of a photo: what is said of it, the photo, or both. A photo needs
    /// a model that sees, and `[source]`.
    pub see: See,
    /// Descriptions written for, drawn by the seed; all when absent. At least 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Seeds shown in each prompt (k), 1 to 32.
    pub seeds_per_prompt: usize,
    /// Instructions asked for per description (m), 1 to 20.
    pub per_description: usize,
    /// Replies tried per description until one holds an acceptable instruction, 1 to 10.
    pub attempts: u32,
    /// What the seeds are drawn from.
    pub pool: Pool,
    /// Descriptions of one round, 1 to 100000: those of a round are asked at the same time and
    /// see the pool that earlier rounds left.
    pub round: usize,
    /// The form of replies. Unset: `verbs` with a local server, else `schema`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub structured: Option<Structured>,
    /// `capable` or `small`, the built-in sets, or a folder with `augment.*` and `summarize.*`.
    /// Unset: `small` with a local server, else `capable`.
    pub prompts: Option<PromptSource>,
    /// What the library is made of.
    pub library: LibraryMode,
    /// Instructions that each cluster gives a library of members, 1 to 50.
    pub members_per_cluster: usize,
    /// How the model samples. Unset: temperature 0.8 and room for m instructions.
    pub settings: Option<SamplingSettings>,
    /// The LLM of this stage. Unset: `[llm]`.
    pub llm: Option<LlmConfig>,
    /// fastembed's name of the sentence embedder, which `models pull` fetches. Unset: the encoder's
    /// text tower.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text_model: Option<String>,
    /// `pairwright run` adds the instructions of `[library]` (or the built-in ones) to the
    /// generated ones when these are fewer, 0 to 100000.
    pub min_library: usize,
    /// Filters of raw and final instructions.
    pub filters: InstructionFilterConfig,
}

impl Default for GenerateConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            seeds: None,
            descriptions: None,
            see: See::Description,
            limit: None,
            seeds_per_prompt: 4,
            per_description: 3,
            attempts: 2,
            pool: Pool::Seeds,
            round: 64,
            structured: None,
            prompts: None,
            library: LibraryMode::Summaries,
            members_per_cluster: 3,
            settings: None,
            llm: None,
            text_model: None,
            min_library: 20,
            filters: InstructionFilterConfig::default(),
        }
    }
}

impl Settings for GenerateConfig {
    fn check(&self, checks: &mut Checks) {
        let fits = self.descriptions.is_none() || !self.see.shows_photo();
        let expected = "description with generate.descriptions: a list of texts has no photos";
        checks.require(fits, "see", self.see.name(), expected);
        checks.at_least("limit", self.limit, 1);
        checks.range("seeds_per_prompt", self.seeds_per_prompt, 1, 32);
        checks.range("per_description", self.per_description, 1, 20);
        checks.range("attempts", self.attempts, 1, 10);
        checks.range("round", self.round, 1, 100_000);
        checks.range("members_per_cluster", self.members_per_cluster, 1, 50);
        checks.range("min_library", self.min_library, 0, 100_000);
        checks.section("filters", &self.filters);
        checks.section("settings", &self.settings);
        checks.section("llm", &self.llm);
    }
}

impl GenerateConfig {
    /// The form of replies, unset resolved for the backend.
    pub fn resolved_structured(&self, target: &LlmTarget) -> Structured {
        self.structured.unwrap_or(match target {
            LlmTarget::Local { .. } => Structured::Verbs,
            LlmTarget::OpenAi { .. } => Structured::Schema,
        })
    }

    /// Sampling settings, unset resolved for the backend: room for m instructions of 60 tokens,
    /// and for a local server a repeat penalty, without which small models loop.
    pub fn resolved_settings(&self, target: &LlmTarget) -> SamplingSettings {
        self.settings.clone().unwrap_or_else(|| {
            let max_tokens = 60 * self.per_description as u32 + 60;
            sampling(target, 0.8, max_tokens)
        })
    }
}

/// Sampling for a stage that writes instructions.
pub fn sampling(target: &LlmTarget, temperature: f32, max_tokens: u32) -> SamplingSettings {
    let small = matches!(target, LlmTarget::Local { .. });
    SamplingSettings {
        temperature: if small { 0.6 } else { temperature },
        top_p: 0.9,
        max_tokens,
        repeat_penalty: small.then_some(1.1),
        ..SamplingSettings::default()
    }
}
