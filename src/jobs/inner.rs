//! What the manager's handles and its tasks share.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::store::JobStore;
use super::{DataPart, JobProgress, JobRecord, ManagerError, ManagerOptions};
use crate::base::durable;
use crate::base::lock::{FolderLock, LockFile};
use crate::run::Resources;
use crate::work::Stop;

pub(super) struct Inner {
    pub data: PathBuf,
    /// Whoever holds it also publishes what it changed, so that watchers hear in the same order.
    pub store: Mutex<JobStore>,
    pub options: ManagerOptions,
    pub resources: Resources,
    /// The jobs that have not ended.
    pub live: Mutex<HashMap<String, Live>>,
    pub wake: Notify,
    pub closing: CancellationToken,
    /// Cancelled when the last job has stopped after `closing`.
    pub closed: CancellationToken,
    pub _lock: FolderLock,
}

pub(super) struct Live {
    pub news: watch::Sender<JobRecord>,
    pub stop: Stop,
}

impl Inner {
    /// Works with the store in a thread that may wait for the disk.
    pub async fn stored<T: Send + 'static>(
        self: Arc<Self>,
        work: impl FnOnce(&Self, &JobStore) -> Result<T, ManagerError> + Send + 'static,
    ) -> Result<T, ManagerError> {
        blocking(move || work(&self, &lock(&self.store))).await?
    }

    pub fn run_folder(&self, run_id: &str) -> PathBuf {
        runs_folder(&self.data).join(run_id)
    }

    /// Tells watchers of a job's new state, the last time if it has ended. Returns its stop.
    pub fn publish(&self, record: &JobRecord) -> Stop {
        let mut live = lock(&self.live);
        let stop = match live.get(&record.id) {
            Some(known) => {
                known.news.send_replace(record.clone());
                known.stop.clone()
            }
            None => Stop::default(),
        };
        if record.state.is_final() {
            live.remove(&record.id);
        } else if !live.contains_key(&record.id) {
            let news = watch::Sender::new(record.clone());
            live.insert(record.id.clone(), Live { news, stop: stop.clone() });
        }
        stop
    }

    /// Tells watchers how far a job is.
    pub fn tell(&self, id: &str, progress: &JobProgress) {
        if let Some(live) = lock(&self.live).get(id) {
            live.news.send_modify(|record| record.progress.clone_from(progress));
        }
    }

    /// The disk is a few seconds behind a running job's progress.
    pub fn with_progress(&self, mut record: JobRecord) -> JobRecord {
        if let Some(live) = lock(&self.live).get(&record.id) {
            record.progress.clone_from(&live.news.borrow().progress);
        }
        record
    }

    /// Forgets a job that has ended, and its run where no other job has it.
    pub fn remove(&self, id: &str) -> Result<(), ManagerError> {
        let mut away = None;
        lock(&self.store).delete(id, |run_id| {
            away = self.move_away(run_id, id)?;
            Ok(())
        })?;
        // A job that never came to run has no folder. What is left of one goes at the next start.
        if let Err(error) = away.map_or(Ok(()), fs_err::remove_dir_all) {
            tracing::warn!("a deleted run is not gone yet: {error}");
        }
        Ok(())
    }

    /// Takes a run's folder out of the way in one step.
    fn move_away(&self, run_id: &str, job: &str) -> Result<Option<PathBuf>, ManagerError> {
        let folder = self.run_folder(run_id);
        if !folder.exists() {
            return Ok(None);
        }
        let away = runs_folder(&self.data).join(format!("{DELETED}{job}"));
        let moved = durable::put(&folder, &away);
        moved.map_err(|source| ManagerError::Io { path: folder, source })?;
        Ok(Some(away))
    }
}

/// Where the runs of a data folder are.
pub(super) fn runs_folder(data: &Path) -> PathBuf {
    DataPart::Runs.folder(data)
}

/// Begins the names of folders that are being deleted; no run id begins so.
const DELETED: &str = ".deleted-";

/// Removes what an interrupted deletion left.
pub(super) fn sweep(data: &Path) -> std::io::Result<()> {
    for entry in fs_err::read_dir(runs_folder(data))? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(DELETED) {
            fs_err::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// Holds the data folder.
pub(super) static LOCK: LockFile = LockFile {
    name: "jobs.lock",
    held: " is in use by another server",
    held_code: "data_folder_in_use",
    io_code: "data_folder_io",
};

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ManagerError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| ManagerError::Died { what: error.to_string() })
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
