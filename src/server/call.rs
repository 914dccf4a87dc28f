//! What a handler knows of its call beside the request.

use std::sync::Arc;
use std::time::Instant;

use tonic::{Code, Request};

use super::auth::{Scope, out_of_scope};
use super::callers::Account;
use super::convert::size;
use super::fault::Fault;
use super::layers::{CallBytes, Deadline};
use crate::config::QuotaConfig;
use crate::encoder::queue::{Admission, CallContext, Lane, Origin};
use crate::jobs::{JobOwner, ManagerError};

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
#[derive(Clone)]
pub struct Call {
    /// When the handler was entered.
    pub began: Instant,
    deadline: Option<Instant>,
    bytes: Option<CallBytes>,
    origin: Origin,
    account: Option<Arc<Account>>,
    may_spend: bool,
}

impl Call {
    /// The call a request belongs to.
    pub fn of<T>(request: &Request<T>) -> Self {
        let deadline = request.extensions().get::<Deadline>().map(|deadline| deadline.0);
        let bytes = request.extensions().get::<CallBytes>().cloned();
        let origin = request.extensions().get::<Origin>().copied().unwrap_or_default();
        let account = request.extensions().get::<Arc<Account>>().cloned();
        let may_spend = request.extensions().get::<Scope>() != Some(&Scope::Read);
        Self { began: Instant::now(), deadline, bytes, origin, account, may_spend }
    }

    /// What the call's messages hold of the memory for messages; none without a port.
    pub fn bytes(&self) -> Option<CallBytes> {
        self.bytes.clone()
    }

    /// Whether the caller may have a language model asked by a method that otherwise only reads.
    ///
    /// # Errors
    /// `API_KEY_SCOPE`.
    pub fn may_spend(&self, what: &str) -> Result<(), Fault> {
        if self.may_spend { Ok(()) } else { Err(out_of_scope(what)) }
    }

    /// When the client stops waiting.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// A call that is refused when the queue is full.
    pub fn unary(&self, lane: Lane) -> CallContext {
        self.context(lane, Admission::Reject)
    }

    /// A stream's item, which waits for its place.
    pub fn stream(&self, lane: Lane) -> CallContext {
        self.context(lane, Admission::Wait)
    }

    fn context(&self, lane: Lane, admission: Admission) -> CallContext {
        CallContext { lane, deadline: self.deadline, admission, origin: self.origin }
    }

    /// Counts items that a call asks for.
    ///
    /// # Errors
    /// `QUOTA_EXCEEDED`.
    pub fn items(&self, count: usize) -> Result<(), Fault> {
        self.account.as_ref().map_or(Ok(()), |account| account.items(count))
    }

    /// Counts an item of a stream, which waits until it may be asked for.
    pub async fn stream_item(&self) {
        if let Some(account) = &self.account {
            account.item_when_allowed().await;
        }
    }

    /// Whose jobs the call's are, and how many of them may wait.
    pub fn owner(&self) -> Option<JobOwner> {
        let account = self.account.as_ref()?;
        let max_queued = size(account.quotas.queued_jobs);
        Some(JobOwner { name: account.caller.owner()?, max_queued })
    }

    /// Why a job was not queued.
    pub fn job_refused(&self, error: ManagerError) -> Fault {
        match (&self.account, &error) {
            (Some(account), ManagerError::OwnerQueueFull { .. }) => account.job_refused(),
            _ => Fault::from(error),
        }
    }

    /// What the caller may take.
    pub fn quotas(&self) -> QuotaConfig {
        self.account.as_ref().map(|account| account.quotas).unwrap_or_default()
    }
}
