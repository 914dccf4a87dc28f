use std::path::PathBuf;

use crate::ErrorKind;
use crate::base::db::DbError;
use crate::base::failure::Failure;
use crate::base::lock::LockError;
use crate::evaluate::EvaluationError;
use crate::matching::MatchError;

use super::{JobKind, JobState};

/// Why the job manager refused a call or could not do it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManagerError {
    #[error("no job {id:?}")]
    NoJob { id: String },
    #[error("no run {run_id:?}")]
    NoRun { run_id: String },
    #[error(
        "run id {run_id:?} is not 1 to 63 lower-case letters, digits and hyphens, the first no hyphen"
    )]
    InvalidRunId { run_id: String },
    #[error("request id has {found} bytes, must have 1 to {limit}")]
    InvalidRequestId { found: usize, limit: usize },
    #[error("page token {token:?} is none that was given out")]
    InvalidToken { token: String },
    #[error(
        "run {run_id:?} is in work by job {job}; wait for it, cancel it, or choose another run id"
    )]
    Busy { run_id: String, job: String },
    #[error("run {run_id:?} is of kind {found}; choose another run id")]
    RunKind { run_id: String, found: String },
    #[error("job {id} is of kind {}, only one of kind {} has this", found.name(), wanted.name())]
    JobKind { id: String, found: JobKind, wanted: JobKind },
    #[error("request id {request_id:?} was used for another request, which is job {job}")]
    RequestIdReused { request_id: String, job: String },
    #[error("{limit} jobs wait already, which is the limit; submit again later")]
    QueueFull { limit: usize },
    #[error("{limit} jobs of {owner} wait already, which is its quota; submit again later")]
    OwnerQueueFull { owner: String, limit: usize },
    #[error("job {id} is {}, so it cannot be {action}", state.name())]
    WrongState { id: String, state: JobState, action: &'static str },
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error("the server is stopping")]
    Stopping,
    #[error("{path}: {source}")]
    Io {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// The job's configuration cannot be kept.
    #[error("the configuration cannot be written: {message}")]
    Config { message: String },
    #[error(transparent)]
    Evaluation(#[from] EvaluationError),
    #[error(transparent)]
    Store(#[from] DbError),
    #[error(transparent)]
    Search(#[from] MatchError),
    #[error("a thread ended unexpectedly: {what}")]
    Died { what: String },
}

impl Failure for ManagerError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoJob { .. } | Self::NoRun { .. } => ErrorKind::NotFound,
            Self::InvalidRunId { .. }
            | Self::InvalidRequestId { .. }
            | Self::InvalidToken { .. }
            | Self::Config { .. } => ErrorKind::InvalidInput,
            Self::Busy { .. }
            | Self::RunKind { .. }
            | Self::JobKind { .. }
            | Self::WrongState { .. } => ErrorKind::FailedPrecondition,
            Self::Lock(error) => error.kind(),
            Self::RequestIdReused { .. } => ErrorKind::AlreadyExists,
            Self::QueueFull { .. } | Self::OwnerQueueFull { .. } => ErrorKind::ResourceExhausted,
            Self::Stopping => ErrorKind::Unavailable,
            Self::Io { source, .. } => ErrorKind::of_io(source),
            Self::Died { .. } => ErrorKind::Internal,
            Self::Evaluation(error) => error.kind(),
            Self::Store(error) => error.kind(),
            Self::Search(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NoJob { .. } => "job_not_found",
            Self::NoRun { .. } => "run_not_found",
            Self::InvalidRunId { .. } => "invalid_run_id",
            Self::InvalidRequestId { .. } => "invalid_request_id",
            Self::InvalidToken { .. } => "bad_page_token",
            Self::Busy { .. } => "run_busy",
            Self::RunKind { .. } => "run_of_another_kind",
            Self::JobKind { .. } => "job_of_another_kind",
            Self::RequestIdReused { .. } => "request_id_reused",
            Self::QueueFull { .. } => "job_queue_full",
            Self::OwnerQueueFull { .. } => "quota_exceeded",
            Self::WrongState { .. } => "wrong_job_state",
            Self::Lock(error) => error.code(),
            Self::Stopping => "stopping",
            Self::Io { .. } => "data_folder_io",
            Self::Config { .. } => "config_invalid",
            Self::Evaluation(error) => error.code(),
            Self::Store(_) => "job_store",
            Self::Search(error) => error.code(),
            Self::Died { .. } => "internal",
        }
    }
}
