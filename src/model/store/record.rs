//! What was fetched into a model's folder: `pulled.toml`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::ModelStoreError;
use crate::base::durable;
use crate::model::catalog::{CatalogFile, CatalogModel};

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
