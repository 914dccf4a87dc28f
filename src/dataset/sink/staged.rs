use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use fs_err::File;
use sha2::{Digest, Sha256};

use super::{SinkError, SinkSummary};
use crate::base::{durable, hash};

/// A file under a temporary name (`.NAME.partial`) in the folder of the file it shall become.
///
/// The temporary name is fixed, so that what a killed run left is overwritten, not added to.
pub(crate) struct StagedFile {
    path: PathBuf,
    partial: PathBuf,
    /// `None` once committed.
    out: Option<BufWriter<File>>,
    hasher: Sha256,
    bytes: u64,
}

impl StagedFile {
    pub fn create(path: &Path) -> Result<Self, SinkError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let partial = path.with_file_name(format!(".{name}.partial"));
        let file = File::create(&partial).map_err(|error| SinkError::writing(path, error))?;
        let out = Some(BufWriter::with_capacity(1 << 16, file));
        Ok(Self { path: path.to_owned(), partial, out, hasher: Sha256::new(), bytes: 0 })
    }

    /// Where the file will be.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes `bytes`, with errors that name the export.
    pub fn put(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        self.write_all(bytes).map_err(|error| SinkError::writing(&self.path, error))
    }

    /// Makes the file durable and gives it its name.
    pub fn commit(mut self, rows: u64) -> Result<SinkSummary, SinkError> {
        self.publish().map_err(|error| SinkError::writing(&self.path, error))?;
        let sha256 = hash::hex(&self.hasher.finalize_reset());
        Ok(SinkSummary { path: self.path.clone(), rows, bytes: self.bytes, sha256 })
    }

    fn publish(&mut self) -> io::Result<()> {
        if let Some(out) = &mut self.out {
            out.flush()?;
            out.get_ref().sync_all()?;
        }
        durable::put(&self.partial, &self.path)?;
        self.out = None;
        Ok(())
    }
}

impl Write for StagedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(out) = &mut self.out else {
            return Err(io::Error::other("the file is committed"));
        };
        let written = out.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.as_mut().map_or(Ok(()), BufWriter::flush)
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        if let Some(out) = self.out.take() {
            // Without this the buffer would be written to a file that is about to go.
            let (file, _) = out.into_parts();
            drop(file);
            if let Err(error) = fs_err::remove_file(&self.partial) {
                tracing::warn!(%error, "cannot remove an unfinished export");
            }
        }
    }
}
