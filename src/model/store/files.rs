//! The files in a model's folder: one that is still coming, whose name tells which content it is a
//! part of, so that it is never continued with another's bytes; and `pulled.toml`, the record of
//! what was fetched.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::ModelStoreError;
use crate::base::{durable, hash};
use crate::model::catalog::{CatalogFile, CatalogModel};

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
        durable::remove(&path).map_err(|source| ModelStoreError::writing(&path, source))
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
            let _ = durable::remove(&entry.path());
        }
    }
}

/// The record's name in a model's folder.
const RECORD_FILE: &str = "pulled.toml";

/// The files of a folder as they were when they came.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Record {
    #[serde(default, rename = "file")]
    files: Vec<RecordedFile>,
}

/// One file that came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedFile {
    /// Its path in the model's folder.
    pub path: String,
    pub repo: String,
    /// The revision that was asked for.
    pub revision: String,
    /// The commit it stood for, where the hub said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    pub sha256: String,
    pub bytes: u64,
}

impl Record {
    /// Reads a folder's record; one without has no files.
    pub fn read(folder: &Path) -> Result<Self, ModelStoreError> {
        let path = record_path(folder);
        let text = match fs_err::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(source) => return Err(ModelStoreError::Io { path, source }),
        };
        toml::from_str(&text)
            .map_err(|error| ModelStoreError::Record { path, message: error.to_string() })
    }

    /// Writes it in one step.
    pub fn write(&self, folder: &Path) -> Result<(), ModelStoreError> {
        let path = record_path(folder);
        let text = toml::to_string(self).map_err(|error| ModelStoreError::Record {
            path: path.clone(),
            message: error.to_string(),
        })?;
        durable::write(&path, text.as_bytes())
            .map_err(|source| ModelStoreError::writing(&path, source))
    }

    /// All files, in the order in which they came.
    pub fn files(&self) -> &[RecordedFile] {
        &self.files
    }

    /// What is recorded of a file, if it came from where the catalog says.
    pub fn of(&self, model: &CatalogModel, file: &CatalogFile) -> Option<&RecordedFile> {
        let (repo, revision) = model.origin(file);
        let same = |known: &&RecordedFile| {
            known.path == file.local() && known.repo == repo && known.revision == revision
        };
        self.files.iter().find(same)
    }

    /// The commit that a revision stood for when something came from there.
    pub fn commit(&self, repo: &str, revision: &str) -> Option<&str> {
        let mut of = self.files.iter().filter(|one| one.repo == repo && one.revision == revision);
        of.find_map(|one| one.commit.as_deref())
    }

    /// Takes a file in, in the place of an earlier one of its path.
    pub fn put(&mut self, file: RecordedFile) {
        self.files.retain(|known| known.path != file.path);
        self.files.push(file);
    }
}

fn record_path(folder: &Path) -> PathBuf {
    folder.join(RECORD_FILE)
}

/// Bytes this user may still write below `folder`; none where the system does not say.
pub fn free_space(folder: &Path) -> Option<u64> {
    let space = rustix::fs::statvfs(folder).ok()?;
    Some(space.f_bavail.saturating_mul(space.f_frsize))
}
