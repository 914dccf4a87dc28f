//! A run's folder and the lock that keeps a second process out of it.

use std::fs::TryLockError;
use std::path::{Path, PathBuf};

use crate::base::db::DbError;
use crate::config::{Config, ConfigError, RESOLVED, RUN_FILE};
use crate::dataset::store::Store;

use super::PipelineError;

/// A run folder this process holds.
pub struct RunFolder {
    path: PathBuf,
    // Held open: the lock ends with the process, however it ends.
    _lock: fs_err::File,
}

impl RunFolder {
    /// Takes the folder, making it if it is not there.
    ///
    /// # Errors
    /// The folder cannot be made, or another process works in it.
    pub fn take(path: &Path) -> Result<Self, PipelineError> {
        let io = |source| PipelineError::Folder { path: path.to_owned(), source };
        fs_err::create_dir_all(path.join("dataset")).map_err(io)?;
        let (path, lock) = lock(path)?;
        Ok(Self { path, _lock: lock })
    }

    /// The folder itself, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the run's store, making it for a new run.
    ///
    /// # Errors
    /// The store's.
    pub fn create_store(&self) -> Result<Store, DbError> {
        Store::create(&store_path(&self.path))
    }

    /// Opens the run's store.
    ///
    /// # Errors
    /// The store's; an absent one where nothing was run yet.
    pub fn store(&self) -> Result<Store, DbError> {
        Store::open(&store_path(&self.path))
    }

    /// `report.html`.
    pub fn report(&self) -> PathBuf {
        self.path.join("report.html")
    }

    /// Writes `run.toml` in one step. Without `resolved`, what an earlier start resolved stays.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_run_file(
        &self,
        config: &Config,
        resolved: Option<toml::Table>,
    ) -> Result<(), PipelineError> {
        let resolved = resolved.unwrap_or_else(|| self.resolved_before());
        let text = config.to_run_file(resolved).map_err(PipelineError::from)?;
        write_whole(&self.path.join(RUN_FILE), text.as_bytes())
    }

    fn resolved_before(&self) -> toml::Table {
        let text = fs_err::read_to_string(self.path.join(RUN_FILE)).unwrap_or_default();
        let table: toml::Table = text.parse().unwrap_or_default();
        table.get(RESOLVED).and_then(toml::Value::as_table).cloned().unwrap_or_default()
    }
}

/// Makes a folder and takes its lock, which ends with the process. Returns its absolute path, too.
pub(crate) fn lock(path: &Path) -> Result<(PathBuf, fs_err::File), PipelineError> {
    let io = |source| PipelineError::Folder { path: path.to_owned(), source };
    fs_err::create_dir_all(path).map_err(io)?;
    let path = fs_err::canonicalize(path).map_err(io)?;
    let lock = fs_err::File::create(path.join("run.lock")).map_err(io)?;
    match lock.file().try_lock() {
        Ok(()) => Ok((path, lock)),
        Err(TryLockError::WouldBlock) => Err(PipelineError::Busy { path }),
        Err(TryLockError::Error(source)) => Err(PipelineError::Folder { path, source }),
    }
}

/// Writes a file in one step: a reader meets the old one or the new one.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), PipelineError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.tmp"));
    let io = |source| PipelineError::Folder { path: path.to_owned(), source };
    fs_err::write(&temporary, bytes).map_err(io)?;
    fs_err::rename(&temporary, path).map_err(io)
}

/// Where a run folder keeps its store.
pub fn store_path(folder: &Path) -> PathBuf {
    folder.join("run.sqlite")
}

impl From<ConfigError> for PipelineError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}
