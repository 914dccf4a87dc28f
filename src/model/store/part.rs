//! A file that is still coming. Its name tells which content it is a part of, so that it is never
//! continued with another's bytes.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{ModelStoreError, files};
use crate::base::{durable, hash};

/// The ending of a file that is not whole.
const ENDING: &str = ".part";

/// Digits of the content's name that go into the file's name.
const DIGITS: usize = 16;

/// A file that grows, and the hash of what is in it.
pub(super) struct Part {
    path: PathBuf,
    file: fs_err::File,
    hasher: Sha256,
    /// Bytes that are in the file.
    pub received: u64,
    /// Whether some were there before.
    pub resumed: bool,
}

impl Part {
    /// Opens the part of `target` that belongs to the content called `identity`, with what is in
    /// it. Without an identity there is nothing to go on from: it begins empty.
    pub fn open(target: &Path, identity: Option<&str>) -> Result<Self, ModelStoreError> {
        let path = part_path(target, identity);
        let failed = |source| ModelStoreError::writing(&path, source);
        if let Some(folder) = path.parent() {
            fs_err::create_dir_all(folder).map_err(failed)?;
        }
        let mut options = fs_err::OpenOptions::new();
        options.create(true).read(true).write(true).truncate(identity.is_none());
        let mut file = options.open(&path).map_err(failed)?;
        let mut hasher = Sha256::new();
        let received = hash_rest(&mut file, &mut hasher).map_err(failed)?;
        Ok(Self { file, hasher, received, resumed: received > 0, path })
    }

    /// Adds bytes at the end.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), ModelStoreError> {
        self.file
            .write_all(bytes)
            .map_err(|source| ModelStoreError::writing(&self.path, source))?;
        self.hasher.update(bytes);
        self.received += bytes.len() as u64;
        Ok(())
    }

    /// Forgets what came so far.
    pub fn restart(&mut self) -> Result<(), ModelStoreError> {
        let emptied = self.file.set_len(0).and_then(|()| io::Seek::rewind(&mut self.file));
        emptied.map_err(|source| ModelStoreError::writing(&self.path, source))?;
        self.hasher = Sha256::new();
        (self.received, self.resumed) = (0, false);
        Ok(())
    }

    /// SHA-256 of what is in it.
    pub fn sha256(&self) -> String {
        hash::hex(&self.hasher.clone().finalize())
    }

    /// Removes the file.
    pub fn discard(self) -> Result<(), ModelStoreError> {
        let Self { path, file, .. } = self;
        drop(file);
        files::remove(&path).map_err(|source| ModelStoreError::writing(&path, source))
    }

    /// Gives the file its name, once its bytes are on the disk, and removes what is left of other
    /// contents.
    pub fn keep(self, target: &Path) -> Result<(), ModelStoreError> {
        let failed = |source| ModelStoreError::writing(target, source);
        self.file.sync_all().map_err(failed)?;
        durable::put(&self.path, target).map_err(failed)?;
        remove_stale(target);
        Ok(())
    }
}

fn hash_rest(file: &mut fs_err::File, hasher: &mut Sha256) -> io::Result<u64> {
    let mut buffer = vec![0; 1 << 16];
    let mut length = 0;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(length);
        }
        hasher.update(&buffer[..read]);
        length += read as u64;
    }
}

fn part_path(target: &Path, identity: Option<&str>) -> PathBuf {
    let digits = identity.map_or_else(|| "unknown".to_owned(), |identity| hash::key(&[identity]));
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    target.with_file_name(format!(".{name}.{}{ENDING}", &digits[..digits.len().min(DIGITS)]))
}

/// A part of another content is of no use any more; that it stays would only be untidy.
fn remove_stale(target: &Path) {
    let (Some(folder), Some(name)) = (target.parent(), target.file_name()) else { return };
    let start = format!(".{}.", name.to_string_lossy());
    let Ok(entries) = fs_err::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(&start) && name.ends_with(ENDING) {
            let _ = files::remove(&entry.path());
        }
    }
}
