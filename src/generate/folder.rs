//! A generation's folder.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::Error;
use crate::base::db::DbError;
use crate::base::json;
use crate::base::lock::FolderLock;
use crate::config::Config;
use crate::dataset::sink::SinkError;
use crate::instruction::GenerateError;
use crate::instruction::lineage::GenerationStore;
use crate::work::folder::{self, FolderError};

/// The store's file.
const STORE: &str = "instructions.sqlite";
/// The folder of a run's own generation, below the run's.
pub const INSIDE_RUN: &str = "instructions";
/// The library, readable by `--instructions`.
pub const LIBRARY: &str = "library.jsonl";
/// One line for each cluster with everything it came from.
pub const LINEAGE: &str = "lineage.jsonl";
/// The resolved configuration.
pub const CONFIG: &str = "generate.toml";

/// A generation's folder that this process holds.
pub struct GenerationFolder {
    lock: FolderLock,
}

impl GenerationFolder {
    /// Takes the folder, making it if it is not there.
    ///
    /// # Errors
    /// The folder cannot be made, or another process works in it.
    pub fn take(path: &Path) -> Result<Self, FolderError> {
        Ok(Self { lock: folder::take(path)? })
    }

    /// The folder itself, absolute.
    pub fn path(&self) -> &Path {
        self.lock.path()
    }

    /// Opens the store, making it for a new generation.
    ///
    /// # Errors
    /// The store's.
    pub fn create_store(&self) -> Result<GenerationStore, Error> {
        Ok(GenerationStore::create(&self.path().join(STORE))?)
    }

    /// `report.html`.
    pub fn report(&self) -> PathBuf {
        self.path().join("report.html")
    }

    /// `library.jsonl`.
    pub fn library(&self) -> PathBuf {
        self.path().join(LIBRARY)
    }

    /// Writes `generate.toml`, from which the same command resumes.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_config(&self, config: &Config, resolved: toml::Table) -> Result<(), Error> {
        let text = config.to_run_file(resolved)?;
        Ok(folder::write(&self.path().join(CONFIG), text.as_bytes())?)
    }

    /// Writes the library and the lineage anew, each in one step.
    ///
    /// # Errors
    /// The store cannot be read or a file not be written.
    pub fn write_library(&self, store: &GenerationStore) -> Result<usize, Error> {
        let library = store.library()?;
        folder::write(&self.library(), &json_lines(&library)?)?;
        folder::write(&self.path().join(LINEAGE), &json_lines(&store.lineage()?)?)?;
        Ok(library.len())
    }
}

/// The folder of the generation that `path` means: its own, or a run's.
///
/// # Errors
/// There is neither.
pub fn find(path: &Path) -> Result<PathBuf, GenerateError> {
    let inside = path.join(INSIDE_RUN);
    let mut places = [path.to_owned(), inside].into_iter();
    let found = places.find(|place| place.join(STORE).is_file());
    found.ok_or_else(|| GenerateError::NoFolder { path: path.to_owned() })
}

/// Opens the store of the generation that `path` means, for reading.
///
/// # Errors
/// There is none, or it cannot be opened.
pub fn open(path: &Path) -> Result<GenerationStore, Error> {
    Ok(GenerationStore::open_to_read(&find(path)?.join(STORE))?)
}

/// As [`open`], where nothing to open is no error, nor a store whose making has only begun.
///
/// # Errors
/// The store cannot be opened.
pub fn open_if_there(path: &Path) -> Result<Option<GenerationStore>, DbError> {
    let Ok(place) = find(path) else { return Ok(None) };
    match GenerationStore::open_to_read(&place.join(STORE)) {
        Ok(store) => Ok(Some(store)),
        Err(absent) if absent.is_absent() => Ok(None),
        Err(error) => Err(error),
    }
}

/// One JSON object per line.
pub fn json_lines<T: serde::Serialize>(rows: &[T]) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    for row in rows {
        let io = |source: std::io::Error| SinkError::Io { path: LIBRARY.into(), source };
        json::append(&mut bytes, row).map_err(|error| io(error.into()))?;
        writeln!(bytes).map_err(io)?;
    }
    Ok(bytes)
}
