//! Why a job failed, as its record keeps it.

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind};

/// Why a job failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobFailure {
    /// A stable, snake_case reason.
    pub code: String,
    /// One sentence for a person.
    pub message: String,
    pub kind: ErrorKind,
}

impl JobFailure {
    pub(super) fn new(code: &str, message: impl Into<String>, kind: ErrorKind) -> Self {
        Self { code: code.to_owned(), message: message.into(), kind }
    }

    /// A process that died at each of several starts in a row.
    pub(super) fn crashed(starts: u32) -> Self {
        let message = format!(
            "the server died at {starts} starts of this job in a row, none of which brought \
             anything; it is not started again by itself"
        );
        Self::new("crashed_too_often", message, ErrorKind::Internal)
    }
}

impl From<&Error> for JobFailure {
    fn from(error: &Error) -> Self {
        Self::new(error.code(), error.to_string(), error.kind())
    }
}
