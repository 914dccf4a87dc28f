//! Answers as the service writes them: what all calls share, and the backend they go to.

use std::sync::Arc;

use crate::Error;
use crate::answer::filter::Filters;
use crate::answer::{Generator, PromptSet};
use crate::config::Config;
use crate::dataset::record::AnswerRow;
use crate::llm::{LlmError, SamplingSettings};
use crate::work::{Backend, BackendDown};

/// Prompts, filters and settings, read once, and the backend.
#[derive(Clone)]
pub struct AnswerWriter {
    pub backend: Backend,
    prompts: Arc<PromptSet>,
    filters: Arc<Filters>,
    settings: SamplingSettings,
}

impl AnswerWriter {
    /// Reads what the configuration names.
    ///
    /// # Errors
    /// Prompts, examples or filters are refused.
    pub fn new(config: &Config, backend: Backend) -> Result<Self, Error> {
        let Config { answer, llm, filters, .. } = config;
        let prompts = answer.resolved_prompts(&llm.target)?;
        Ok(Self {
            backend,
            prompts: Arc::new(prompts),
            filters: Arc::new(Filters::new(filters)?),
            settings: answer.resolved_settings(&llm.target),
        })
    }

    /// What writes answers for `seed`.
    ///
    /// # Errors
    /// The backend is down.
    pub async fn generator(&self, seed: u64) -> Result<Generator, BackendDown> {
        let model = self.backend.model().await?;
        Ok(Generator {
            conf: Generator::conf_key(&self.prompts, model.name(), &self.settings, seed),
            model,
            prompts: Arc::clone(&self.prompts),
            filters: Arc::clone(&self.filters),
            settings: self.settings.clone(),
            seed,
        })
    }

    /// Sampling settings for a question with a short answer of at most so many tokens.
    pub fn check_settings(&self, max_tokens: u32) -> SamplingSettings {
        SamplingSettings { max_tokens, ..self.settings.clone() }
    }

    /// Tells the backend's holder how a call went.
    pub fn note(&self, written: &Result<AnswerRow, LlmError>) {
        match written {
            Ok(_) => self.backend.report_success(),
            Err(error) => {
                self.backend.report_failure(error);
            }
        }
    }
}
