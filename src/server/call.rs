//! What a handler knows of its call beside the request.

use std::time::Instant;

use tonic::{Code, Request};

use super::fault::Fault;
use super::layers::Deadline;
use crate::encoder::queue::{Admission, CallContext, Lane};

/// What `work` gives, unless the client stops waiting before that; `done` says what was to be.
///
/// # Errors
/// The work's, or `DEADLINE_EXCEEDED`.
pub async fn within<T>(
    deadline: Option<Instant>,
    done: &str,
    work: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    let Some(deadline) = deadline else { return work.await };
    tokio::time::timeout_at(deadline.into(), work).await.unwrap_or_else(|_| {
        let message = format!("the deadline passed before {done}");
        Err(Fault::new(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", message))
    })
}

/// A call: when it began and when it must end.
#[derive(Debug, Clone)]
pub struct Call {
    /// When the handler was entered.
    pub began: Instant,
    deadline: Option<Instant>,
}

impl Call {
    /// The call a request belongs to.
    pub fn of<T>(request: &Request<T>) -> Self {
        let deadline = request.extensions().get::<Deadline>().map(|deadline| deadline.0);
        Self { began: Instant::now(), deadline }
    }

    /// When the client stops waiting.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// A call that is refused when the queue is full.
    pub fn unary(&self, lane: Lane) -> CallContext {
        CallContext { lane, deadline: self.deadline, admission: Admission::Reject }
    }

    /// A stream's item, which waits for its place.
    pub fn stream(&self, lane: Lane) -> CallContext {
        CallContext { lane, deadline: self.deadline, admission: Admission::Wait }
    }
}
