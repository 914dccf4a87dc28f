use std::io;
use std::path::{Path, PathBuf};

use super::remote::RemoteError;
use crate::base::failure::{Failure, code_of_io};
use crate::{Error, ErrorKind};

/// Why a file may not be read, or could not be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfineError {
    /// Files on this machine cannot be named at all.
    #[error("no image root is configured, so files cannot be named by their path")]
    NoRoots,
    /// A configured root cannot be used.
    #[error("the image root {} cannot be opened: {source}", path.display())]
    Root {
        /// As configured.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The path leads out of every root, by itself (`..`, another folder) or by a link on its way.
    /// The same text whether there is something out there or not.
    #[error("{} does not lie below an image root", path.display())]
    PathOutsideRoot {
        /// As asked for.
        path: PathBuf,
    },
    /// No root has such a file.
    #[error("{} does not exist", path.display())]
    NotFound {
        /// As asked for.
        path: PathBuf,
    },
    /// A folder, pipe or device stands where a file is expected.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// As asked for.
        path: PathBuf,
    },
    /// The file is longer than the caller takes.
    #[error("{} has more than {limit} bytes", path.display())]
    TooLarge {
        /// As asked for.
        path: PathBuf,
        /// In bytes.
        limit: u64,
    },
    /// Remote addresses are for whoever runs the program, not for callers of a service.
    #[error(
        "a remote address is not read for callers of a service: only files below its image roots are"
    )]
    RemoteRefused,
    /// Reading failed; the message names the path. May carry a failure of remote storage.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<RemoteError> for ConfineError {
    fn from(error: RemoteError) -> Self {
        Self::Io(error.into_io())
    }
}

impl From<ConfineError> for io::Error {
    /// The same as what a reader of files gives, with kind and code kept.
    fn from(error: ConfineError) -> Self {
        let kind = match &error {
            ConfineError::Io(source) | ConfineError::Root { source, .. } => source.kind(),
            ConfineError::NotFound { .. } => io::ErrorKind::NotFound,
            ConfineError::NotAFile { .. } => io::ErrorKind::InvalidInput,
            ConfineError::TooLarge { .. } => io::ErrorKind::FileTooLarge,
            ConfineError::NoRoots
            | ConfineError::PathOutsideRoot { .. }
            | ConfineError::RemoteRefused => io::ErrorKind::PermissionDenied,
        };
        match error {
            ConfineError::Io(error) => error,
            refused => Self::new(kind, Error::from(refused)),
        }
    }
}

impl ConfineError {
    /// Whether the path was refused because of where it leads.
    pub fn is_outside(&self) -> bool {
        matches!(self, Self::NoRoots | Self::PathOutsideRoot { .. } | Self::RemoteRefused)
    }

    /// The system's answer to a look below a root.
    pub(super) fn below(path: &Path, error: io::Error) -> Self {
        let path = path.to_owned();
        match error.kind() {
            // No file can bear the last two's names: with a zero byte, or too long.
            io::ErrorKind::NotFound
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::InvalidFilename => Self::NotFound { path },
            _ if error.raw_os_error() == Some(libc::ELOOP) => Self::NotFound { path },
            // What the sandbox refuses bears no number of the system's; a real EACCES does.
            io::ErrorKind::PermissionDenied if error.raw_os_error().is_none() => {
                Self::PathOutsideRoot { path }
            }
            kind => Self::Io(io::Error::new(kind, format!("{}: {error}", path.display()))),
        }
    }
}

impl Failure for ConfineError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoRoots | Self::Root { .. } => ErrorKind::FailedPrecondition,
            Self::PathOutsideRoot { .. } | Self::RemoteRefused => ErrorKind::PermissionDenied,
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::NotAFile { .. } => ErrorKind::InvalidInput,
            Self::TooLarge { .. } => ErrorKind::ResourceExhausted,
            Self::Io(error) => ErrorKind::of_io(error),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NoRoots => "no_image_roots",
            Self::Root { .. } => "image_root_unusable",
            Self::PathOutsideRoot { .. } => "path_outside_root",
            Self::NotFound { .. } => "file_not_found",
            Self::NotAFile { .. } => "not_a_file",
            Self::TooLarge { .. } => "file_too_large",
            Self::RemoteRefused => "remote_refused",
            Self::Io(error) => code_of_io(error, "file_io"),
        }
    }
}
