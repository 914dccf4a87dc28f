use std::io::{self, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{SinkError, SinkSummary};
use crate::base::durable::Staged;
use crate::base::hash;

/// An export on its way: whole under its name, or not there. Counts and hashes what is written.
pub(crate) struct StagedFile {
    path: PathBuf,
    file: Staged,
    hasher: Sha256,
    bytes: u64,
}

impl StagedFile {
    pub fn create(path: &Path) -> Result<Self, SinkError> {
        let file = Staged::create(path).map_err(|error| SinkError::writing(path, error))?;
        Ok(Self { path: path.to_owned(), file, hasher: Sha256::new(), bytes: 0 })
    }

    /// Where the file will be.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes `bytes`, with errors that name the export.
    pub fn put(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        self.write_all(bytes).map_err(|error| SinkError::writing(&self.path, error))
    }

    /// What was written so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes the file durable and gives it its name.
    pub fn commit(self, rows: u64) -> Result<SinkSummary, SinkError> {
        let Self { path, file, hasher, bytes } = self;
        file.commit().map_err(|error| SinkError::writing(&path, error))?;
        Ok(SinkSummary { path, rows, bytes, sha256: hash::hex(&hasher.finalize()) })
    }
}

impl Write for StagedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
