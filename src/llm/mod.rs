//! Language models behind one trait: any OpenAI-compatible server, or a llama.cpp
//! server that Pairwright runs itself.
//!
//! [`connect`] turns settings into a [`ChatModel`]. Faults are typed ([`LlmFault`]); what may pass
//! later is retried with exponential back-off, full jitter, a cap and the server's Retry-After
//! ([`retry`]), and calls, tokens, retries and faults are counted ([`StatsSnapshot`]).

mod batch;
pub(crate) mod captions;
mod chat;
mod config;
mod error;
mod local;
pub mod old_keys;
mod openai;
mod parameter;
mod probe;
mod prompt_source;
pub mod reasoning;
pub(crate) mod refused;
pub mod retry;
mod see;
mod settings;
mod spending;
mod spent;
mod stats;
pub(crate) mod template;

use std::sync::Arc;

pub use chat::{
    BatchServer, BatchStatus, ChatModel, ChatReply, ChatRequest, FinishReason, ImageAttachment,
    Message, Role, TokenLogprob, unfinished,
};
pub use config::{LlmConfig, LlmTarget, LocalConfig};
pub use error::{CODES, LlmError, LlmFault};
pub use local::{LocalChat, SERVER_VARIABLE};
pub use openai::{OpenAiChat, read_reply};
pub use parameter::{Adaptation, Parameter};
pub use probe::{QUESTION as SIGHT_QUESTION, probe_sight};
pub use prompt_source::{BuiltInSet, PromptSource};
pub use see::See;
pub use settings::SamplingSettings;
pub use spending::{
    Account, CALL_OVERHEAD, CHARACTERS_PER_TOKEN, Ledger, ROLES, RoleTally, SpentBefore,
    TOKENS_PER_IMAGE, tallied, tallies,
};
pub use spent::{Prices, RoleSpent, Spending, Spent, Usage};
pub use stats::StatsSnapshot;

/// Makes the backend that `config` asks for. A local server is started, and healthy, when this
/// returns; it ends with the last reference to the model, and with this process however that ends.
/// Roles that use the same model file should share one backend.
///
/// # Errors
/// `Config` for a wrong setting; `Missing` or `LocalServer` when the local server cannot be
/// started; a fault of the network when a server must be asked for its model.
pub async fn connect(config: &LlmConfig) -> Result<Arc<dyn ChatModel>, LlmError> {
    config.validate()?;
    Ok(match &config.target {
        LlmTarget::OpenAi { base_url } => Arc::new(OpenAiChat::connect(base_url, config).await?),
        LlmTarget::Local { gguf } => Arc::new(LocalChat::start(gguf.as_deref(), config).await?),
    })
}

/// The model with its calls counted on `account` and held to its caps, and made by the batch where
/// its settings say so.
///
/// # Errors
/// `Config` when the calls are to be made by the batch and the server takes none; `Ledger` when its
/// batches cannot be read.
pub fn on_account(
    account: Account,
    model: Arc<dyn ChatModel>,
) -> Result<Arc<dyn ChatModel>, LlmFault> {
    let account = account.of_model(model.name());
    if account.config.batch {
        return Ok(Arc::new(batch::Batched::new(account, model)?));
    }
    Ok(Arc::new(spending::Metered { payer: spending::Payer::Account(account), model }))
}
