//! A model whose calls are counted, and held to the caps where there are some.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::account::{Account, Place};
use super::tally::tally;
use super::{expected, spent};
use crate::llm::chat::{ChatModel, ChatReply, ChatRequest};
use crate::llm::error::LlmError;
use crate::llm::parameter::Adaptation;
use crate::llm::spent::{Prices, Spending, Spent};
use crate::llm::stats::StatsSnapshot;

/// Who pays for calls.
pub(in crate::llm) enum Payer {
    /// A folder of work, which has caps.
    Account(Arc<Account>),
    /// A role of this process, for calls that belong to no folder.
    Role(&'static str, Option<Prices>),
}

/// Passes each call on, once there is room for it under the caps.
pub(in crate::llm) struct Metered {
    pub payer: Payer,
    pub model: Arc<dyn ChatModel>,
}

/// The model with its calls counted as those of `role`, for calls that belong to no folder of work.
pub fn tallied(
    model: Arc<dyn ChatModel>,
    role: &'static str,
    prices: Option<Prices>,
) -> Arc<dyn ChatModel> {
    Arc::new(Metered { payer: Payer::Role(role, prices), model })
}

impl Metered {
    async fn place(
        &self,
        request: &ChatRequest,
        cancel: &CancellationToken,
    ) -> Result<Option<Place>, LlmError> {
        Ok(match &self.payer {
            Payer::Account(account) => {
                Some(account.reserve(expected(request, false), cancel).await?)
            }
            Payer::Role(..) => None,
        })
    }

    fn count(&self, spent: Spent) {
        match &self.payer {
            Payer::Account(account) => account.spend(spent),
            Payer::Role(role, prices) => tally(role, spent, prices.as_ref()),
        }
    }
}

#[async_trait]
impl ChatModel for Metered {
    fn name(&self) -> &str {
        self.model.name()
    }

    async fn chat(
        &self,
        request: &ChatRequest,
        cancel: &CancellationToken,
    ) -> Result<ChatReply, LlmError> {
        let _place = self.place(request, cancel).await?;
        let reply = self.model.chat(request, cancel).await?;
        self.count(spent(request, &reply));
        Ok(reply)
    }

    async fn chat_stream(
        &self,
        request: &ChatRequest,
        cancel: &CancellationToken,
        pieces: mpsc::Sender<String>,
    ) -> Result<ChatReply, LlmError> {
        let _place = self.place(request, cancel).await?;
        let reply = self.model.chat_stream(request, cancel, pieces).await?;
        self.count(spent(request, &reply));
        Ok(reply)
    }

    async fn check(&self) -> Result<(), LlmError> {
        self.model.check().await
    }

    fn stats(&self) -> StatsSnapshot {
        self.model.stats()
    }

    fn adaptations(&self) -> Vec<Adaptation> {
        self.model.adaptations()
    }

    fn spending(&self) -> Option<Spending> {
        match &self.payer {
            Payer::Account(account) => Some(account.spending()),
            Payer::Role(..) => None,
        }
    }
}
