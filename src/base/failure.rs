//! What every error tells about itself, and the one error that any of them turns into.

use std::any::Any;
use std::fmt;
use std::io;

use serde::{Deserialize, Serialize};

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
        if let Some(failure) = carried(error) {
            return failure.kind();
        }
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

/// The failure of the engine that came by way of a reader of files, which knows only errors of the
/// system.
fn carried(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

/// The kind of a file that could not be read: `otherwise`, unless a failure of the engine is behind it.
pub fn kind_of_io(error: &io::Error, otherwise: ErrorKind) -> ErrorKind {
    carried(error).map_or(otherwise, Error::kind)
}

/// The code of a file that could not be read: `otherwise`, unless a failure of the engine is behind it.
pub fn code_of_io(error: &io::Error, otherwise: &'static str) -> &'static str {
    carried(error).map_or(otherwise, Error::code)
}

/// An error with words before it that name the place. One with a failure of the engine behind it is
/// left as it is, which names the place itself.
pub fn io_at(place: impl fmt::Display, error: io::Error) -> io::Error {
    if carried(&error).is_some() {
        return error;
    }
    io::Error::new(error.kind(), format!("{place}: {error}"))
}

/// What every error of the engine tells about itself.
pub trait Failure: std::error::Error + Any + Send + Sync {
    /// What kind of failure this is: exit codes and gRPC statuses come from it.
    fn kind(&self) -> ErrorKind;

    /// A stable, snake_case reason that programs can compare.
    fn code(&self) -> &'static str;
}

/// Any failure of the engine. It knows no room: whoever needs the error that it was made from asks
/// for it by type, see [`Error::is`] and [`Error::downcast`].
pub struct Error(Box<dyn Failure>);

impl Error {
    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind()
    }

    /// A stable, snake_case reason that programs can compare.
    pub fn code(&self) -> &'static str {
        self.0.code()
    }

    /// Whether somebody asked for the work to be stopped; it goes on at the next start.
    pub fn is_stop(&self) -> bool {
        self.kind() == ErrorKind::Cancelled
    }

    /// The error it was made from.
    pub fn failure(&self) -> &dyn Failure {
        &*self.0
    }

    /// The error it was made from, if that is an `F`.
    pub fn get<F: Failure>(&self) -> Option<&F> {
        let failure: &dyn Any = &*self.0;
        failure.downcast_ref()
    }

    /// The error it was made from.
    ///
    /// # Errors
    /// This error again, if it was made from something else.
    pub fn downcast<F: Failure>(self) -> Result<F, Self> {
        if self.get::<F>().is_none() {
            return Err(self);
        }
        let failure: Box<dyn Any> = self.0;
        Ok(*failure.downcast().expect("its type was looked at above"))
    }
}

impl<F: Failure> From<F> for Error {
    fn from(failure: F) -> Self {
        Self(Box::new(failure))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

/// The work was stopped as asked, in whichever room that was met; what is finished is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stopped as asked; finished work is kept")]
pub struct Stopped;

impl Failure for Stopped {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Cancelled
    }

    fn code(&self) -> &'static str {
        "stopped"
    }
}
