//! What is known of a server and the schema of its replies.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::llm::{ChatRequest, LlmError, LlmFault};

/// What a session has learnt of a server and the schema of its questions.
#[derive(Debug, Default)]
pub struct SchemaUse {
    /// A call with the schema was answered: a refusal is not for its sake.
    taken: AtomicBool,
    /// The server has refused the schema.
    refused: AtomicBool,
}

impl SchemaUse {
    /// Whether calls go without the schema.
    pub fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    /// A call was answered.
    pub fn answered(&self, request: &ChatRequest) {
        self.taken.fetch_or(request.json_schema.is_some(), Ordering::Relaxed);
    }

    /// Whether a call that was refused is worth making again without its schema, as all calls after
    /// it then are.
    pub fn goes_without(&self, request: &ChatRequest, error: &LlmError) -> bool {
        let refused = matches!(error.fault, LlmFault::BadRequest { .. });
        let without =
            refused && request.json_schema.is_some() && !self.taken.load(Ordering::Relaxed);
        if without {
            tracing::warn!("the server takes no JSON schema; going on without one: {error}");
            self.refused.store(true, Ordering::Relaxed);
        }
        without
    }
}
