//! What an index refuses, and why.

use std::path::PathBuf;

use crate::ErrorKind;
use crate::base::check::Problems;
use crate::base::failure::Failure;

/// A failure of an index. Those of a file name its path.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    #[error("{subject} has {actual} values, the index holds vectors of {expected}")]
    WrongWidth { subject: String, expected: usize, actual: usize },
    #[error("{subject} has {value} at position {position}: not a finite number")]
    NotFinite { subject: String, position: usize, value: f32 },
    #[error("{subject} has length zero: it has no direction to compare")]
    ZeroVector { subject: String },
    #[error("the id {id:?} is already in the index")]
    DuplicateId { id: String },
    #[error("the id {id:?} {problem}")]
    BadId { id: String, problem: &'static str },
    #[error("k is 0: ask for at least one result")]
    ZeroK,
    #[error("index settings refused: {0}")]
    Config(#[from] Problems),
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{}: not a Pairwright index", path.display())]
    Foreign { path: PathBuf },
    #[error("{}: index format {found}; this program reads format {supported}", path.display())]
    FormatVersion { path: PathBuf, found: u32, supported: u32 },
    #[error("{}: {actual} bytes long, should be {expected}: cut short or damaged", path.display())]
    WrongSize { path: PathBuf, expected: u64, actual: u64 },
    #[error("{}: checksum is {actual}, the file says {expected}: damaged", path.display())]
    Checksum { path: PathBuf, expected: String, actual: String },
    #[error("{}: contradicts itself: {reason}", path.display())]
    Inconsistent { path: PathBuf, reason: String },
    #[error(
        "{}: built with model {found}, asked for with model {expected}; build it anew",
        path.display()
    )]
    OtherModel { path: PathBuf, expected: String, found: String },
    #[error("{}: {setting} is {found}, asked for {expected}; build it anew", path.display())]
    OtherSettings { path: PathBuf, setting: &'static str, expected: String, found: String },
    #[error("usearch could not {action}: {reason}")]
    Backend { action: &'static str, reason: String },
}

impl IndexError {
    pub(super) fn backend(action: &'static str, reason: impl ToString) -> Self {
        Self::Backend { action, reason: reason.to_string() }
    }
}

impl Failure for IndexError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::WrongWidth { .. }
            | Self::NotFinite { .. }
            | Self::ZeroVector { .. }
            | Self::DuplicateId { .. }
            | Self::BadId { .. }
            | Self::ZeroK
            | Self::Config(_) => ErrorKind::InvalidInput,
            Self::Io(error) => ErrorKind::of_io(error),
            Self::Foreign { .. }
            | Self::FormatVersion { .. }
            | Self::WrongSize { .. }
            | Self::Checksum { .. }
            | Self::Inconsistent { .. }
            | Self::OtherModel { .. }
            | Self::OtherSettings { .. } => ErrorKind::FailedPrecondition,
            Self::Backend { .. } => ErrorKind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::WrongWidth { .. } => "vector_wrong_width",
            Self::NotFinite { .. } => "vector_not_finite",
            Self::ZeroVector { .. } => "vector_zero",
            Self::DuplicateId { .. } => "duplicate_vector_id",
            Self::BadId { .. } => "bad_vector_id",
            Self::ZeroK => "zero_k",
            Self::Config(_) => "bad_index_settings",
            Self::Io(_) => "index_io",
            Self::Foreign { .. } => "index_foreign_file",
            Self::FormatVersion { .. } => "index_format_version",
            Self::WrongSize { .. } => "index_wrong_size",
            Self::Checksum { .. } => "index_checksum",
            Self::Inconsistent { .. } => "index_inconsistent",
            Self::OtherModel { .. } => "index_other_model",
            Self::OtherSettings { .. } => "index_other_settings",
            Self::Backend { .. } => "index_backend",
        }
    }
}
