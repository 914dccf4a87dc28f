//! A caller's wait for its answers, and what happens when it ends early.

use std::sync::Arc;
use std::time::Instant;

use super::call::Ticket;
use super::error::QueueError;
use super::gate::Caller;
use super::lane::Lane;
use super::line::Line;
use super::tower::Tower;

/// Bounds the work of a call by its deadline.
pub(super) async fn within<R>(
    deadline: Option<Instant>,
    work: impl Future<Output = Result<R, QueueError>>,
) -> Result<R, QueueError> {
    match deadline {
        None => work.await,
        Some(deadline) => tokio::time::timeout_at(deadline.into(), work)
            .await
            .unwrap_or(Err(QueueError::DeadlineExceeded)),
    }
}

/// A call that is waited for. Dropped before it is complete, what is left of it leaves the queue.
pub(super) struct Attended<T: Tower> {
    line: Arc<Line<T>>,
    ticket: Arc<Ticket>,
    pub complete: bool,
    _caller: Option<Caller>,
}

impl<T: Tower> Attended<T> {
    pub(super) fn new(line: &Arc<Line<T>>, ticket: &Arc<Ticket>) -> Self {
        let caller = (ticket.lane == Lane::Interactive).then(|| line.caller());
        Self { line: line.clone(), ticket: ticket.clone(), complete: false, _caller: caller }
    }
}

impl<T: Tower> Drop for Attended<T> {
    fn drop(&mut self) {
        if !self.complete {
            // First, so that an item which a thread holds now is not put back.
            self.ticket.end();
            self.line.purge(&self.ticket);
        }
    }
}
