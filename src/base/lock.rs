//! The lock that keeps a second process out of a folder.

use std::fmt;
use std::fs::TryLockError;
use std::io;
use std::path::{Path, PathBuf};

use super::failure::{ErrorKind, Failure};

/// How one kind of folder is held, and how its errors speak of it.
#[derive(Debug)]
pub struct LockFile {
    /// The file in the folder.
    pub name: &'static str,
    /// Said after the path of a folder that another holds: who that is, and what to do.
    pub held: &'static str,
    /// The code of that error.
    pub held_code: &'static str,
    /// The code where folder or file cannot be made.
    pub io_code: &'static str,
}

/// A folder that this process holds until the lock is dropped; it ends with the process, however
/// that ends.
#[derive(Debug)]
pub struct FolderLock {
    path: PathBuf,
    _file: fs_err::File,
}

/// Why a folder cannot be held.
#[derive(Debug)]
pub struct LockError {
    path: PathBuf,
    file: &'static LockFile,
    /// `None` where another process, or another part of this one, holds it.
    source: Option<io::Error>,
}

impl FolderLock {
    /// Makes the folder if it is not there, and holds it.
    ///
    /// # Errors
    /// At once where another holds it; the folder or its lock file cannot be made.
    pub fn take(folder: &Path, file: &'static LockFile) -> Result<Self, LockError> {
        let failed = |source| LockError { path: folder.to_owned(), file, source };
        let made = fs_err::create_dir_all(folder).and_then(|()| open(&folder.join(file.name)));
        let held = made.map_err(|source| failed(Some(source)))?;
        match held.file().try_lock() {
            Ok(()) => Ok(Self { path: folder.to_owned(), _file: held }),
            Err(TryLockError::WouldBlock) => Err(failed(None)),
            Err(TryLockError::Error(source)) => Err(failed(Some(source))),
        }
    }

    /// The folder, as it was named.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[expect(clippy::disallowed_methods, reason = "a lock file has no content that could be lost")]
fn open(path: &Path) -> io::Result<fs_err::File> {
    fs_err::File::create(path)
}

impl LockError {
    /// What the system says about the folder or the file.
    ///
    /// # Errors
    /// This error again, where another holds the folder.
    pub fn into_io(mut self) -> Result<io::Error, Self> {
        self.source.take().ok_or(self)
    }
}

impl fmt::Display for LockError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.source {
            Some(source) => write!(out, "{path}: {source}"),
            None => write!(out, "{path}{}", self.file.held),
        }
    }
}

impl std::error::Error for LockError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}

impl Failure for LockError {
    fn kind(&self) -> ErrorKind {
        self.source.as_ref().map_or(ErrorKind::FailedPrecondition, ErrorKind::of_io)
    }

    fn code(&self) -> &'static str {
        if self.source.is_some() { self.file.io_code } else { self.file.held_code }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holds_a_folder_at_a_time() {
        static FILE: LockFile =
            LockFile { name: "a.lock", held: " is held; wait", held_code: "busy", io_code: "io" };
        let folder = tempfile::tempdir().expect("temp dir");
        let path = folder.path().join("new");
        let held = FolderLock::take(&path, &FILE).expect("free");
        assert_eq!(held.path(), path);
        let busy = FolderLock::take(&path, &FILE).expect_err("held");
        assert_eq!((busy.kind(), busy.code()), (ErrorKind::FailedPrecondition, "busy"));
        assert_eq!(busy.to_string(), format!("{} is held; wait", path.display()));
        drop(held);
        FolderLock::take(&path, &FILE).expect("free again");
        fs_err::write(folder.path().join("file"), "").expect("written");
        let refused = FolderLock::take(&folder.path().join("file"), &FILE).expect_err("a file");
        assert_eq!(refused.code(), "io");
    }
}
