//! The settings under which a run's present rows stand, kept in its store, so that `answer`,
//! `export`, `report` and `verify` need neither the encoder nor the LLM.

use serde::{Deserialize, Serialize};

use crate::base::db::DbError;
use crate::dataset::store::{SampleContext, Store};
use crate::index::SearchFacts;
use crate::llm::{SamplingSettings, See};
use crate::model::manifest::ModelFile;

const MATCH: &str = "settings:match";
const ANSWER: &str = "settings:answer";
const SEARCH: &str = "settings:search";

/// What the match stage last worked with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MatchSettings {
    /// Key over encoder, library, matching settings and seed.
    pub conf: String,
    pub library: String,
    pub library_origin: String,
    pub strategy: String,
    /// What candidates had to pass; empty: nothing.
    #[serde(default)]
    pub checks: Vec<String>,
    pub encoder: EncoderFacts,
    pub caption_weight: f64,
    pub min_similarity: f64,
    pub temperature: f64,
    /// Pairs one instruction may have, where shares are limited.
    pub quota: Option<u64>,
    /// The folder image paths are relative to, where the source has one.
    pub image_root: Option<std::path::PathBuf>,
    pub source: String,
}

/// The encoder that was loaded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EncoderFacts {
    pub name: String,
    pub hash: String,
    pub embedding_dim: usize,
    pub stand_in: bool,
    pub notice: Option<String>,
    pub files: Vec<ModelFile>,
    pub quality: Vec<(String, String)>,
}

/// What the answer stage last worked with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AnswerSettings {
    /// Key over prompts, model, sampling settings and seed.
    pub conf: String,
    /// Key over the filters.
    pub filter_conf: String,
    /// The names of the filters.
    #[serde(default)]
    pub filters: Vec<String>,
    pub prompt_hash: String,
    pub system: String,
    pub user: String,
    /// What the model gets to know of a photo.
    #[serde(default)]
    pub see: See,
    pub llm: String,
    pub backend: String,
    /// As sent with each call.
    pub sampling: SamplingSettings,
    pub notice: Option<String>,
    /// What the LLM server turned out not to take, in any session of the run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub adaptations: Vec<String>,
}

/// Both, where the stages have run.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Settings {
    pub matching: Option<MatchSettings>,
    pub answering: Option<AnswerSettings>,
    /// How the library was last searched.
    pub search: Option<SearchFacts>,
}

impl Settings {
    /// Reads them from a run's store.
    ///
    /// # Errors
    /// SQLite's, or a damaged row.
    pub fn read(store: &Store) -> Result<Self, DbError> {
        let db = store.database();
        let (matching, answering) = (db.meta_json(MATCH)?, db.meta_json(ANSWER)?);
        Ok(Self { matching, answering, search: db.meta_json(SEARCH)? })
    }

    /// What accepted samples share; `None` before the first match and answer.
    pub fn sample_context(&self) -> Option<SampleContext<'_>> {
        let (matching, answering) = (self.matching.as_ref()?, self.answering.as_ref()?);
        Some(SampleContext {
            match_conf: &matching.conf,
            answer_conf: &answering.conf,
            strategy: &matching.strategy,
            prompt_hash: &answering.prompt_hash,
            encoder: &matching.encoder.name,
            encoder_hash: &matching.encoder.hash,
            image_root: matching.image_root.as_deref(),
        })
    }

    /// The match stage's key; empty before the first match, where no row can have it.
    pub fn match_conf(&self) -> &str {
        self.matching.as_ref().map_or("", |settings| &settings.conf)
    }

    /// The answer stage's key; empty before the first answer.
    pub fn answer_conf(&self) -> &str {
        self.answering.as_ref().map_or("", |settings| &settings.conf)
    }
}

/// Keeps how the library is searched.
///
/// # Errors
/// SQLite's.
pub fn write_search(facts: &SearchFacts, store: &Store) -> Result<(), DbError> {
    store.database().set_meta_json(SEARCH, facts)
}

impl MatchSettings {
    /// Keeps them.
    ///
    /// # Errors
    /// SQLite's.
    pub fn write(&self, store: &Store) -> Result<(), DbError> {
        store.database().set_meta_json(MATCH, self)
    }
}

impl AnswerSettings {
    /// Keeps them.
    ///
    /// # Errors
    /// SQLite's.
    pub fn write(&self, store: &Store) -> Result<(), DbError> {
        store.database().set_meta_json(ANSWER, self)
    }
}
