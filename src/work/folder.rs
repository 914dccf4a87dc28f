//! The folder of a piece of work, and the lock that keeps a second process out of it.

use std::path::{Path, PathBuf};

use crate::base::durable;
use crate::base::failure::{ErrorKind, Failure};
use crate::base::lock::{FolderLock, LockError, LockFile};

/// Holds the folder of a run or of a generation.
static LOCK: LockFile = LockFile {
    name: "run.lock",
    held: " is in use by another pairwright; wait for it, or choose another --out",
    held_code: "run_busy",
    io_code: "run_folder",
};

/// Why a folder of work cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error("run folder {path}: {source}")]
    Io {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Lock(#[from] LockError),
}

impl Failure for FolderError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { source, .. } => ErrorKind::of_io(source),
            Self::Lock(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "run_folder",
            Self::Lock(error) => error.code(),
        }
    }
}

/// Makes a folder if it is not there, and holds it by its absolute path.
///
/// # Errors
/// The folder cannot be made, or another process works in it.
pub fn take(path: &Path) -> Result<FolderLock, FolderError> {
    let made = fs_err::create_dir_all(path).and_then(|()| fs_err::canonicalize(path));
    let path = made.map_err(|source| FolderError::Io { path: path.to_owned(), source })?;
    Ok(FolderLock::take(&path, &LOCK)?)
}

/// Writes a file of the folder, whole or not at all.
///
/// # Errors
/// The file cannot be written.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), FolderError> {
    let written = durable::write(path, bytes);
    written.map_err(|source| FolderError::Io { path: path.to_owned(), source })
}
