//! The language models of a generation.

use std::sync::Arc;

use crate::Error;
use crate::config::Config;
use crate::instruction::GenerateError;
use crate::llm::{self, ChatModel, LlmConfig};

/// The LLMs of both stages; the same one twice where the settings are alike.
#[derive(Clone)]
pub struct Models {
    pub augment: Arc<dyn ChatModel>,
    pub summarize: Arc<dyn ChatModel>,
}

impl Models {
    /// Opens the backends that `config` asks for and asks whether they answer.
    ///
    /// # Errors
    /// A backend cannot be used.
    pub async fn connect(config: &Config) -> Result<Self, Error> {
        let (first, second) = (augment_llm(config), summarize_llm(config));
        let augment = connect(first).await?;
        let summarize = match first == second {
            true => Arc::clone(&augment),
            false => connect(second).await?,
        };
        Ok(Self { augment, summarize })
    }

    /// With a model that is open already in place of `[llm]`.
    ///
    /// # Errors
    /// As [`Models::connect`].
    pub async fn around(config: &Config, open: Arc<dyn ChatModel>) -> Result<Self, Error> {
        let pick = async |llm: &LlmConfig| match *llm == config.llm {
            true => Ok(Arc::clone(&open)),
            false => connect(llm).await,
        };
        Ok(Self {
            augment: pick(augment_llm(config)).await?,
            summarize: pick(summarize_llm(config)).await?,
        })
    }
}

async fn connect(llm: &LlmConfig) -> Result<Arc<dyn ChatModel>, Error> {
    let model = llm::connect(llm).await.map_err(GenerateError::Llm)?;
    model.check().await.map_err(GenerateError::Llm)?;
    Ok(model)
}

/// The settings of the augmenting LLM.
pub fn augment_llm(config: &Config) -> &LlmConfig {
    config.generate.llm.as_ref().unwrap_or(&config.llm)
}

/// The settings of the summarising LLM.
pub fn summarize_llm(config: &Config) -> &LlmConfig {
    config.summarize.llm.as_ref().unwrap_or_else(|| augment_llm(config))
}
