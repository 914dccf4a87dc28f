//! Replies that arrive piece by piece.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use futures::StreamExt;
use tokio::sync::mpsc;

use super::transport::garbage;
use super::wire::{WireChunk, WireRequest, finish_reason};
use super::{Answer, OpenAiChat};
use crate::llm::chat::{FinishReason, Usage};
use crate::llm::error::{LlmFault, excerpt};

/// Where pieces go, and whether one has gone there.
pub(super) struct Outlet {
    pieces: mpsc::Sender<String>,
    used: AtomicBool,
}

impl Outlet {
    pub(super) fn new(pieces: mpsc::Sender<String>) -> Self {
        Self { pieces, used: AtomicBool::new(false) }
    }

    pub(super) fn is_used(&self) -> bool {
        self.used.load(Relaxed)
    }

    async fn send(&self, piece: &str) -> Result<(), LlmFault> {
        if piece.is_empty() {
            return Ok(());
        }
        self.used.store(true, Relaxed);
        self.pieces.send(piece.to_owned()).await.map_err(|_| LlmFault::Cancelled)
    }
}

/// A reply under construction.
#[derive(Default)]
struct Partial {
    text: String,
    finish: Option<FinishReason>,
    usage: Usage,
    model: Option<String>,
}

impl OpenAiChat {
    /// One attempt at a stream.
    pub(super) async fn stream_attempt(
        &self,
        wire: &WireRequest,
        outlet: &Outlet,
    ) -> Result<Answer, LlmFault> {
        let chat = self.client.chat();
        let opened = chat.create_stream_byot::<_, WireChunk>(wire).await;
        let mut events = opened.map_err(|error| self.peer.fault(error))?;
        let mut partial = Partial::default();
        while let Some(event) = events.next().await {
            let chunk = event.map_err(|error| self.peer.fault(error))?;
            let piece = partial.take(chunk)?;
            outlet.send(&piece).await?;
        }
        partial.finish()
    }
}

impl Partial {
    /// Adds an event; returns the text it brought.
    fn take(&mut self, chunk: WireChunk) -> Result<String, LlmFault> {
        let WireChunk { model, choices, usage, error } = chunk;
        if let Some(error) = error {
            return Err(event_fault(&error));
        }
        self.model = self.model.take().or(model);
        self.usage = usage.map(Usage::from).unwrap_or(self.usage);
        let Some(choice) = choices.into_iter().next() else { return Ok(String::new()) };
        if let Some(reason) = choice.finish_reason {
            self.finish = Some(finish_reason(Some(&reason)));
        }
        let piece = choice.delta.into_text();
        self.text.push_str(&piece);
        Ok(piece)
    }

    /// A stream that just stops is a broken one: its last event says why the model ended.
    fn finish(self) -> Result<Answer, LlmFault> {
        let Self { text, finish, usage, model } = self;
        match finish {
            Some(finish) => Ok(Answer { text, finish, usage, model }),
            None => Err(garbage("the stream ended without a finish reason", &text)),
        }
    }
}

fn event_fault(error: &serde_json::Value) -> LlmFault {
    let code = error.get("code").and_then(serde_json::Value::as_u64).unwrap_or(500);
    let excerpt = excerpt(&error.to_string());
    LlmFault::Server { status: u16::try_from(code).unwrap_or(500), retry_after: None, excerpt }
}
