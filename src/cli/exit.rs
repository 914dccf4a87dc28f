//! Exit codes, documented in `pairwright --help`.

use std::process::ExitCode;

use crate::{Error, ErrorKind};

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Everything was done; refused records are normal and listed in the summary.
    Done,
    /// Our fault, or the machine's.
    Internal,
    /// Input or configuration is wrong.
    Usage,
    /// Finished, but some calls failed: the same command tries them again.
    Partial,
    /// A backend (LLM server) cannot be used now; the rest was done.
    Unavailable,
    /// `verify` found something wrong.
    Unsound,
    /// The disk is full.
    DiskFull,
    /// Stopped by the user.
    Interrupted,
}

impl Outcome {
    /// The process's exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Internal => 1,
            Self::Usage => 2,
            Self::Partial => 3,
            Self::Unavailable => 4,
            Self::Unsound => 5,
            Self::DiskFull => 6,
            Self::Interrupted => 130,
        }
    }

    /// The outcome an error means.
    pub fn of(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::InvalidInput
            | ErrorKind::NotFound
            | ErrorKind::AlreadyExists
            | ErrorKind::FailedPrecondition => Self::Usage,
            ErrorKind::ResourceExhausted => Self::DiskFull,
            ErrorKind::Unavailable | ErrorKind::PermissionDenied | ErrorKind::DeadlineExceeded => {
                Self::Unavailable
            }
            ErrorKind::Cancelled => Self::Interrupted,
            ErrorKind::Internal => Self::Internal,
        }
    }
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(outcome.code())
    }
}
