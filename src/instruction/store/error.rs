//! What the library refuses, and why.

use std::path::PathBuf;

use crate::ErrorKind;
use crate::base::Stopped;
use crate::base::db::{Cause, DbError};
use crate::base::failure::Failure;
use crate::base::lock::LockError;
use crate::dataset::sink::SinkError;
use crate::encoder::EncoderError;
use crate::index::IndexError;
use crate::instruction::{BadRequires, BadTags, BadText};

/// A failure of the whole call.
#[derive(Debug, thiserror::Error)]
pub enum LibraryStoreError {
    #[error("{path}: {source}")]
    Io {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    Encoder(#[from] EncoderError),
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error("the page token is not one that this library gave for this filter")]
    BadPageToken,
    #[error("instruction {id:?} cannot be taken into the library: {source}")]
    Seed {
        id: String,
        #[source]
        source: CreateError,
    },
    #[error("the library is empty, or no instruction of it is meant: there is nothing to export")]
    Empty,
    #[error(transparent)]
    Export(#[from] SinkError),
    #[error(
        "{given} instructions hold vectors that callers supplied, and {unknown} from before this \
         was kept may, of another model than the one that is configured: nothing is replaced \
         unless you say what to do with them (--on-changed-model, serve.library.on_changed_model): \
         `embed` replaces them by the text's own, `keep` takes those that are known to be supplied \
         as vectors of the new model"
    )]
    GivenVectors { given: u64, unknown: u64 },
    #[error(
        "the vector that a caller supplied for instruction {id:?} has {width} values, the model's \
         have {dim}: it cannot be kept (serve.library.on_changed_model)"
    )]
    GivenWidth { id: String, width: usize, dim: usize },
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl Failure for LibraryStoreError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { source, .. } => ErrorKind::of_io(source),
            Self::Db(error) => error.kind(),
            Self::Lock(error) => error.kind(),
            Self::Empty => ErrorKind::FailedPrecondition,
            Self::Encoder(error) => error.kind(),
            Self::Index(error) => error.kind(),
            Self::BadPageToken => ErrorKind::InvalidInput,
            Self::Seed { source, .. } => source.kind(),
            Self::Export(error) => error.kind(),
            Self::GivenVectors { .. } | Self::GivenWidth { .. } => ErrorKind::FailedPrecondition,
            Self::Stopped(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "library_io",
            Self::Lock(error) => error.code(),
            Self::Db(error) => match error.cause() {
                Cause::Version { .. } => "library_version",
                Cause::Damaged(_) => "library_damaged",
                _ => error.code(),
            },
            Self::Encoder(_) => "library_embedding_failed",
            Self::Index(error) => error.code(),
            Self::BadPageToken => "bad_page_token",
            Self::Seed { source, .. } => source.code(),
            Self::Empty => "library_empty",
            Self::Export(error) => error.code(),
            Self::GivenVectors { .. } => "library_given_vectors",
            Self::GivenWidth { .. } => "library_given_width",
            Self::Stopped(error) => error.code(),
        }
    }
}

/// Why one instruction was not created.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    #[error("the id {id:?} is taken")]
    IdExists { id: String },
    #[error("the text is in the library already, with the id {id:?}")]
    TextExists { id: String },
    #[error(
        "the id {id:?} is not 1 to {} of A-Z a-z 0-9 . _ ~ -, with a letter or digit among them \
         and no . or - at the start",
        super::MAX_ID_BYTES
    )]
    BadId { id: String },
    #[error(transparent)]
    BadText(#[from] BadText),
    #[error(
        "the category is not 1 to {} bytes without control characters",
        super::MAX_CATEGORY_BYTES
    )]
    BadCategory,
    #[error(transparent)]
    BadRequires(#[from] BadRequires),
    #[error(transparent)]
    BadTags(#[from] BadTags),
    #[error(transparent)]
    BadVector(#[from] IndexError),
}

impl Failure for CreateError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::IdExists { .. } | Self::TextExists { .. } => ErrorKind::AlreadyExists,
            Self::BadId { .. }
            | Self::BadText(_)
            | Self::BadCategory
            | Self::BadRequires(_)
            | Self::BadTags(_) => ErrorKind::InvalidInput,
            Self::BadVector(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::IdExists { .. } => "instruction_id_exists",
            Self::TextExists { .. } => "instruction_text_exists",
            Self::BadId { .. } => "bad_instruction_id",
            Self::BadText(error) => error.code(),
            Self::BadCategory => "bad_instruction_category",
            Self::BadRequires(error) => error.code(),
            Self::BadTags(error) => error.code(),
            Self::BadVector(error) => error.code(),
        }
    }
}

/// No instruction has this id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no instruction has the id {id:?}")]
pub struct NoInstruction {
    pub id: String,
}
