//! What the data folder takes on the disk, and removing runs that are done with.

use std::path::Path;
use std::time::{Duration, SystemTime};

use super::{
    DataPart, Inner, JobKind, JobManager, JobRecord, JobState, ManagerError, blocking, lock,
};

/// Which runs are removed by themselves; none by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// How long after its end a run is kept.
    pub keep: Option<Duration>,
    /// Bytes of all run folders beyond which the oldest go.
    pub max_bytes: Option<u64>,
}

/// A library, or seeds, that are younger may belong to a job that is just being submitted.
const YOUNG: Duration = Duration::from_secs(3600);

impl JobManager {
    /// Bytes on the disk, by part.
    ///
    /// # Errors
    /// A thread ended unexpectedly.
    pub async fn disk_use(&self) -> Result<Vec<(DataPart, u64)>, ManagerError> {
        let inner = self.inner.clone();
        blocking(move || {
            let parts = [DataPart::Runs, DataPart::Libraries, DataPart::Seeds];
            let mut found =
                parts.map(|part| (part, bytes_below(&part.folder(&inner.data)))).to_vec();
            let files = entries(&inner.data).into_iter().filter(|entry| entry.path().is_file());
            let bytes = files.filter_map(|file| Some(file.metadata().ok()?.len())).sum();
            found.push((DataPart::Databases, bytes));
            found
        })
        .await
    }

    /// Removes runs by `rules`, the oldest first, with their jobs, whose ids it returns. Only runs
    /// that are done: every job of the run has succeeded, nothing of it is left for another job,
    /// and what it came to stands in files. Whatever could still be resumed or exported stays.
    ///
    /// # Errors
    /// The store's, or a run cannot be removed; what was removed before stays so.
    pub async fn retain(&self, rules: Retention) -> Result<Vec<String>, ManagerError> {
        if rules == Retention::default() {
            return Ok(Vec::new());
        }
        let runs =
            self.inner.clone().stored(move |inner, store| Ok(done(inner, store.all()?))).await?;
        let inner = self.inner.clone();
        let now = SystemTime::now();
        let chosen = blocking(move || {
            // How much is to go for the bound on bytes.
            let mut over = rules.max_bytes.map_or(0, |most| {
                bytes_below(&DataPart::Runs.folder(&inner.data)).saturating_sub(most)
            });
            let mut chosen = Vec::new();
            for run in runs {
                let age = now.duration_since(run.ended).unwrap_or_default();
                let old = rules.keep.is_some_and(|keep| age > keep);
                let too_much = over > 0;
                if too_much {
                    over = over.saturating_sub(bytes_below(&inner.run_folder(&run.run_id)));
                }
                if old || too_much {
                    chosen.push(run);
                }
            }
            chosen
        })
        .await?;
        let mut removed = Vec::new();
        let outcome = self.remove_runs(chosen, &mut removed).await;
        if !removed.is_empty() {
            let inner = self.inner.clone();
            blocking(move || sweep_inputs(&inner)).await?;
        }
        outcome.map(|()| removed)
    }

    async fn remove_runs(
        &self,
        runs: Vec<DoneRun>,
        removed: &mut Vec<String>,
    ) -> Result<(), ManagerError> {
        for DoneRun { run_id, jobs, .. } in runs {
            tracing::info!(run = run_id, "a run that is done is removed by the rules of retention");
            for job in jobs {
                let (inner, id) = (self.inner.clone(), job.clone());
                match blocking(move || inner.remove(&id)).await? {
                    Ok(()) => removed.push(job),
                    // Somebody was quicker, or goes on with it.
                    Err(ManagerError::NoJob { .. } | ManagerError::WrongState { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }
}

/// A run that nobody has to come back to.
struct DoneRun {
    run_id: String,
    /// Of its last job.
    ended: SystemTime,
    jobs: Vec<String>,
}

/// The runs that are done, the one that ended first before the others.
fn done(inner: &Inner, jobs: Vec<JobRecord>) -> Vec<DoneRun> {
    let mut runs = std::collections::BTreeMap::<String, Vec<JobRecord>>::new();
    for job in jobs {
        runs.entry(job.run_id.clone()).or_default().push(job);
    }
    let live = lock(&inner.live);
    let mut done: Vec<DoneRun> = runs
        .into_iter()
        .filter(|(_, jobs)| jobs.iter().all(|job| !live.contains_key(&job.id)) && is_done(jobs))
        .map(|(run_id, jobs)| DoneRun {
            run_id,
            ended: jobs.iter().filter_map(|job| job.ended).max().unwrap_or_else(SystemTime::now),
            jobs: jobs.into_iter().map(|job| job.id).collect(),
        })
        .collect();
    done.sort_by_key(|run| run.ended);
    done
}

/// Whether nothing is left to do of a run with these jobs.
fn is_done(jobs: &[JobRecord]) -> bool {
    let last = jobs.iter().max_by_key(|job| job.ended);
    let exported = last.is_some_and(|job| match job.kind {
        JobKind::Match => job
            .summary
            .as_ref()
            .is_some_and(|summary| !summary.is_partial() && !summary.exports.is_empty()),
        // They write their files before they succeed.
        JobKind::Generate | JobKind::Judge => true,
    });
    exported && jobs.iter().all(|job| job.state == JobState::Succeeded)
}

/// Removes the libraries and the seeds that no job was begun with. What cannot be removed stays
/// until the next time.
pub(super) fn sweep_inputs(inner: &Inner) {
    if let Err(error) = remove_inputs(inner) {
        tracing::warn!("a library or seeds that no job needs are not gone yet: {error}");
    }
}

fn remove_inputs(inner: &Inner) -> Result<(), ManagerError> {
    let folders = [DataPart::Libraries, DataPart::Seeds];
    for entry in folders.iter().flat_map(|part| entries(&part.folder(&inner.data))) {
        let modified = entry.metadata().and_then(|file| file.modified());
        let age = modified.ok().and_then(|time| time.elapsed().ok()).unwrap_or_default();
        let name = entry.file_name().to_string_lossy().into_owned();
        if age > YOUNG && !lock(&inner.store).names(&name)? {
            fs_err::remove_file(entry.path())
                .map_err(|source| ManagerError::Io { path: entry.path(), source })?;
        }
    }
    Ok(())
}

fn entries(folder: &Path) -> Vec<std::fs::DirEntry> {
    // What is not there takes no room.
    std::fs::read_dir(folder).into_iter().flatten().flatten().collect()
}

/// Bytes of the files below a folder; links are not followed.
fn bytes_below(folder: &Path) -> u64 {
    let size = |entry: std::fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => bytes_below(&entry.path()),
        Ok(kind) if kind.is_file() => entry.metadata().map_or(0, |file| file.len()),
        // A link, or gone meanwhile.
        _ => 0,
    };
    entries(folder).into_iter().map(size).sum()
}
