//! The crate's error and the one table that says what kind each error is.

use std::io;

use serde::{Deserialize, Serialize};

use crate::answer::filter::FilterConfigError;
use crate::answer::{AnswerError, BackendDown};
use crate::config::ConfigError;
use crate::confine::ConfineError;
use crate::dataset::sink::SinkError;
use crate::dataset::source::SourceError;
use crate::dataset::store::StoreError;
use crate::encoder::EncoderError;
use crate::evaluation::EvaluationError;
use crate::image::ImageError;
use crate::index::IndexError;
use crate::instruction::store::LibraryStoreError;
use crate::instruction::{GenerateError, LibraryError};
use crate::llm::LlmError;
use crate::matching::MatchError;
use crate::model::ModelError;
use crate::model::store::ModelStoreError;
use crate::pipeline::ManagerError;
use crate::pipeline::PipelineError;
use crate::report::ReportError;
use crate::server::ServerError;

/// What kind of failure an error is: decides the exit code today and the gRPC status in the
/// service. Kept small on purpose; details live in each error's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The caller's input or configuration is wrong; the same call will fail again.
    InvalidInput,
    /// A named file, model, item or run does not exist.
    NotFound,
    /// What was to be made is there already.
    AlreadyExists,
    /// A limit or a quota refused the input.
    ResourceExhausted,
    /// The state on disk or of a model does not allow the call (wrong model, damaged file).
    FailedPrecondition,
    /// A backend (LLM server, hub) cannot be reached now; the same call may pass later.
    Unavailable,
    /// Key or token refused by a backend.
    PermissionDenied,
    /// The time allowed ran out.
    DeadlineExceeded,
    /// The user stopped the work.
    Cancelled,
    /// Our fault, or the machine's.
    Internal,
}

impl ErrorKind {
    /// The kind of a file that could not be read or written.
    pub fn of_io(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotFound,
            // A text file that is not UTF-8, a zero byte in a name.
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => Self::InvalidInput,
            io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::NotADirectory => Self::FailedPrecondition,
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge
            | io::ErrorKind::OutOfMemory => Self::ResourceExhausted,
            _ => Self::Internal,
        }
    }
}

/// Any failure of the engine.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Answer(#[from] AnswerError),
    #[error(transparent)]
    Backend(#[from] BackendDown),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Confine(#[from] ConfineError),
    #[error(transparent)]
    Encoder(#[from] EncoderError),
    #[error(transparent)]
    Evaluation(#[from] EvaluationError),
    #[error(transparent)]
    Filter(#[from] FilterConfigError),
    #[error(transparent)]
    Generate(#[from] GenerateError),
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error(transparent)]
    Library(#[from] LibraryError),
    #[error(transparent)]
    LibraryStore(#[from] LibraryStoreError),
    #[error(transparent)]
    Llm(#[from] LlmError),
    #[error(transparent)]
    Manager(#[from] ManagerError),
    #[error(transparent)]
    Match(#[from] MatchError),
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    ModelStore(#[from] ModelStoreError),
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    #[error(transparent)]
    Report(#[from] ReportError),
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error(transparent)]
    Sink(#[from] SinkError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Error {
    /// What kind of failure this is: the one table that exit codes and gRPC statuses come from.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Answer(error) => error.kind(),
            Self::Backend(error) => error.kind(),
            Self::Config(error) => error.kind(),
            Self::Confine(error) => error.kind(),
            Self::Encoder(error) => error.kind(),
            Self::Evaluation(error) => error.kind(),
            Self::Filter(error) => error.kind(),
            Self::Generate(error) => error.kind(),
            Self::Image(error) => error.kind(),
            Self::Index(error) => error.kind(),
            Self::Library(error) => error.kind(),
            Self::LibraryStore(error) => error.kind(),
            Self::Llm(error) => error.kind(),
            Self::Manager(error) => error.kind(),
            Self::Match(error) => error.kind(),
            Self::Model(error) => error.kind(),
            Self::ModelStore(error) => error.kind(),
            Self::Pipeline(error) => error.kind(),
            Self::Report(error) => error.kind(),
            Self::Server(error) => error.kind(),
            Self::Sink(error) => error.kind(),
            Self::Source(error) => error.kind(),
            Self::Store(error) => error.kind(),
        }
    }
}
