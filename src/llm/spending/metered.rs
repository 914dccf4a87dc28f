//! A model whose calls are counted and held to the caps.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::account::{Account, Place};
use super::{expected, spent};
use crate::llm::chat::{ChatModel, ChatReply, ChatRequest};
use crate::llm::error::LlmError;
use crate::llm::parameter::Adaptation;
use crate::llm::spent::Spending;
use crate::llm::stats::StatsSnapshot;

/// Passes each call on, once there is room for it under the caps.
pub(in crate::llm) struct Metered {
    pub account: Arc<Account>,
    pub model: Arc<dyn ChatModel>,
}

impl Metered {
    async fn place(
        &self,
        request: &ChatRequest,
        cancel: &CancellationToken,
    ) -> Result<Place, LlmError> {
        Ok(self.account.reserve(expected(request, false), cancel).await?)
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
        self.account.spend(spent(request, &reply));
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
        self.account.spend(spent(request, &reply));
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
        Some(self.account.spending())
    }
}
