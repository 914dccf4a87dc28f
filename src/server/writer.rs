//! Answers as the service writes them: what all calls share, and the backend they go to.

use std::sync::Arc;

use crate::Error;
use crate::answer::filter::Filters;
use crate::answer::{Generator, PromptSet};
use crate::config::Config;
use crate::llm::{LlmError, SamplingSettings, See};
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
        // A call brings a description, and no photo.
        let prompts = answer.prompts_seeing(&llm.target, See::Description)?;
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

    /// Tells the backend's holder how a call went.
    pub fn note<T>(&self, called: &Result<T, LlmError>) {
        match called {
            Ok(_) => self.backend.report_success(),
            Err(error) => {
                self.backend.report_failure(error);
            }
        }
    }
}
