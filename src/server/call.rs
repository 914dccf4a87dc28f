//! What a handler knows of its call beside the request.

use std::time::Instant;

use tonic::Request;

use super::layers::{CallBytes, Deadline};
use crate::encoder::queue::{Admission, CallContext, Lane};

/// A call: when it began and when it must end.
#[derive(Debug, Clone)]
pub struct Call {
    /// When the handler was entered.
    pub began: Instant,
    deadline: Option<Instant>,
    bytes: Option<CallBytes>,
}

impl Call {
    /// The call a request belongs to.
    pub fn of<T>(request: &Request<T>) -> Self {
        let deadline = request.extensions().get::<Deadline>().map(|deadline| deadline.0);
        let bytes = request.extensions().get::<CallBytes>().cloned();
        Self { began: Instant::now(), deadline, bytes }
    }

    /// What the call's messages hold of the memory for messages; none without a port.
    pub fn bytes(&self) -> Option<CallBytes> {
        self.bytes.clone()
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
