//! A run's folder and the lock that keeps a second process out of it.

use std::path::{Path, PathBuf};

use crate::base::db::DbError;
use crate::base::lock::FolderLock;
use crate::config::{Config, ConfigError, RESOLVED, RUN_FILE};
use crate::dataset::store::Store;
use crate::work::folder::{self, FolderError};

use super::RunError;

/// A run folder this process holds.
pub struct RunFolder {
    lock: FolderLock,
}

impl RunFolder {
    /// Takes the folder, making it if it is not there.
    ///
    /// # Errors
    /// The folder cannot be made, or another process works in it.
    pub fn take(path: &Path) -> Result<Self, RunError> {
        let lock = folder::take(path)?;
        let dataset = lock.path().join("dataset");
        let io = |source| FolderError::Io { path: dataset.clone(), source };
        fs_err::create_dir_all(&dataset).map_err(io)?;
        Ok(Self { lock })
    }

    /// The folder itself, absolute.
    pub fn path(&self) -> &Path {
        self.lock.path()
    }

    /// Opens the run's store, making it for a new run.
    ///
    /// # Errors
    /// The store's.
    pub fn create_store(&self) -> Result<Store, DbError> {
        Store::create(&store_path(self.path()))
    }

    /// Opens the run's store.
    ///
    /// # Errors
    /// The store's; an absent one where nothing was run yet.
    pub fn store(&self) -> Result<Store, DbError> {
        Store::open(&store_path(self.path()))
    }

    /// Whether anything was run here yet.
    pub fn has_store(&self) -> bool {
        store_path(self.path()).is_file()
    }

    /// `report.html`.
    pub fn report(&self) -> PathBuf {
        self.path().join("report.html")
    }

    /// Writes `run.toml` in one step. Without `resolved`, what an earlier start resolved stays.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_run_file(
        &self,
        config: &Config,
        resolved: Option<toml::Table>,
    ) -> Result<(), RunError> {
        let resolved = resolved.unwrap_or_else(|| self.resolved_before());
        let text = config.to_run_file(resolved).map_err(RunError::from)?;
        Ok(folder::write(&self.path().join(RUN_FILE), text.as_bytes())?)
    }

    fn resolved_before(&self) -> toml::Table {
        let text = fs_err::read_to_string(self.path().join(RUN_FILE)).unwrap_or_default();
        let table: toml::Table = text.parse().unwrap_or_default();
        table.get(RESOLVED).and_then(toml::Value::as_table).cloned().unwrap_or_default()
    }
}

/// Where a run folder keeps its store.
pub fn store_path(folder: &Path) -> PathBuf {
    folder.join("run.sqlite")
}

impl From<ConfigError> for RunError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}
