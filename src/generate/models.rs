//! The language models of a generation.

use crate::config::Config;
use crate::llm::LlmConfig;
use crate::work::{Backend, ProbePolicy};

/// The LLMs of both stages; the same one twice where the settings are alike.
#[derive(Clone)]
pub struct Models {
    pub augment: Backend,
    pub summarize: Backend,
}

impl Models {
    /// The backends that `config` asks for. They connect when they are first needed.
    pub fn of(config: &Config) -> Self {
        let own = Backend::new(config.llm.clone(), ProbePolicy::default());
        Self::around(config, &own)
    }

    /// As [`Models::of`], with `shared` in place of the one of `[llm]`.
    pub fn around(config: &Config, shared: &Backend) -> Self {
        let pick = |llm: &LlmConfig, others: &[&Backend]| match others
            .iter()
            .find(|backend| backend.config() == llm)
        {
            Some(backend) => (*backend).clone(),
            None => Backend::new(llm.clone(), ProbePolicy::default()),
        };
        let augment = pick(augment_llm(config), &[shared]);
        let summarize = pick(summarize_llm(config), &[shared, &augment]);
        Self { augment, summarize }
    }
}

/// The settings of the augmenting LLM.
pub fn augment_llm(config: &Config) -> &LlmConfig {
    config.augment_llm().1
}

/// The settings of the summarising LLM.
pub fn summarize_llm(config: &Config) -> &LlmConfig {
    summarize_section(config).1
}

/// The table of the configuration that the summarising LLM's settings are in, and these.
pub fn summarize_section(config: &Config) -> (&'static str, &LlmConfig) {
    let own = config.summarize.llm.as_ref().map(|llm| ("summarize.llm", llm));
    own.unwrap_or_else(|| config.augment_llm())
}
