//! Jobs of a service: queued, run, watched, cancelled and resumed, all of it durable.
//!
//! `jobs.sqlite` in the data folder says what was asked for and how it stands; `runs/RUN/` holds
//! each run. A server that was killed goes on by itself: the run folder's resume gives the same
//! pairs.

mod error;
mod failure;
mod inner;
mod part;
mod progress;
mod queue;
mod record;
mod results;
mod retention;
mod runs;
mod spec;
mod store;
mod summary;
mod work;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::sync::Notify;
use tokio_stream::wrappers::WatchStream;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::inner::{Inner, LOCK, blocking, lock, runs_folder, sweep};
use self::store::JobStore;
use crate::base::lock::FolderLock;
use crate::run::Resources;

pub use error::ManagerError;
pub use failure::JobFailure;
pub use part::DataPart;
pub use progress::{AnswersPaused, JobProgress, PhaseProgress, Rejected};
pub use record::{JobPage, JobRecord, JobState};
pub use results::RowPage;
pub use retention::Retention;
pub use runs::{Measures, PairPage};
pub use spec::{JobKind, JobOwner, JobSpec, JobTask};
pub use summary::{Export, FailedCalls, JobSummary};

/// Longest request id, in bytes.
const MAX_REQUEST_ID: usize = 200;

/// Most jobs in one page of a list.
const MAX_PAGE: usize = 1000;

/// How jobs are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ManagerOptions {
    /// Jobs that run at once, at least 1: so many of [`JobKind::Match`], and so many of the kinds
    /// that live on the language model.
    pub max_running: usize,
    /// Jobs that may wait.
    pub max_queued: usize,
    /// Starts in a row that end with the process and bring nothing before a job is failed, at
    /// least 1.
    pub max_attempts: u32,
    /// How long a cancelled job may finish what is in flight before that is given up.
    pub cancel_grace: Duration,
}

impl Default for ManagerOptions {
    fn default() -> Self {
        let cancel_grace = Duration::from_secs(10);
        // Far more than restarts in a row that an operator's bad day brings: only a job that itself
        // ends the process gets there.
        Self { max_running: 1, max_queued: 100, max_attempts: 20, cancel_grace }
    }
}

/// The jobs of one data folder. Clones share it; when the last one goes, running jobs are stopped
/// as by [`JobManager::shutdown`], without waiting.
#[derive(Clone)]
pub struct JobManager {
    inner: Arc<Inner>,
    _open: Arc<DropGuard>,
}

impl JobManager {
    /// Opens the data folder, making it if it is not there, and goes on with every job that had not
    /// ended. Jobs share `resources`; what happens on a dead LLM backend is always a pause. Needs
    /// a Tokio runtime.
    ///
    /// # Errors
    /// The folder cannot be made, is in use by another server, or its store cannot be read.
    pub fn open(
        data: &Path,
        resources: Resources,
        options: ManagerOptions,
    ) -> Result<Self, ManagerError> {
        let io = |source| ManagerError::Io { path: data.to_owned(), source };
        fs_err::create_dir_all(runs_folder(data)).map_err(io)?;
        let data = fs_err::canonicalize(data).map_err(io)?;
        let lock = FolderLock::take(&data, &LOCK)?;
        sweep(&data).map_err(io)?;
        let store = JobStore::open(&data.join("jobs.sqlite"))?;
        let waiting = store.recover(options.max_attempts)?;
        let inner = Arc::new(Inner {
            data,
            store: Mutex::new(store),
            options,
            resources,
            live: Mutex::default(),
            wake: Notify::new(),
            closing: CancellationToken::new(),
            closed: CancellationToken::new(),
            _lock: lock,
        });
        waiting.iter().for_each(|record| _ = inner.publish(record));
        tokio::spawn(queue::dispatch(inner.clone()));
        let open = Arc::new(inner.closing.clone().drop_guard());
        Ok(Self { inner, _open: open })
    }

    /// Queues a job, counted for its owner. It is on disk when this returns.
    ///
    /// # Errors
    /// `InvalidRunId`, `InvalidRequestId`, `RequestIdReused`, `Busy` (an active job has the run),
    /// `RunKind`, `QueueFull`, `OwnerQueueFull`, `Stopping`, or the store's.
    pub async fn submit(
        &self,
        spec: JobSpec,
        owner: Option<JobOwner>,
    ) -> Result<JobRecord, ManagerError> {
        spec.run_id.as_deref().map_or(Ok(()), runs::check_run_id)?;
        let found = spec.request_id.as_ref().map_or(1, String::len);
        if !(1..=MAX_REQUEST_ID).contains(&found) {
            return Err(ManagerError::InvalidRequestId { found, limit: MAX_REQUEST_ID });
        }
        let limit = self.inner.options.max_queued;
        self.queue(move |store| store.submit(&spec, owner.as_ref(), limit)).await
    }

    /// Queues a failed or cancelled job again, counted for its new owner; it goes on where it
    /// stood.
    ///
    /// # Errors
    /// `NoJob`, `WrongState`, `Busy`, `QueueFull`, `OwnerQueueFull`, `Stopping`, or the store's.
    pub async fn resume(
        &self,
        id: &str,
        owner: Option<JobOwner>,
    ) -> Result<JobRecord, ManagerError> {
        let (id, limit) = (id.to_owned(), self.inner.options.max_queued);
        self.queue(move |store| store.resume(&id, owner.as_ref(), limit)).await
    }

    /// Ends a job: at once where it waits; else it finishes what is in flight, within a grace, and
    /// is cancelled when its record says so. Its run is kept. A job that has ended stays as it is.
    ///
    /// # Errors
    /// `NoJob`, or the store's.
    pub async fn cancel(&self, id: &str) -> Result<JobRecord, ManagerError> {
        let id = id.to_owned();
        self.inner
            .clone()
            .stored(move |inner, store| {
                let record = inner.with_progress(store.cancel(&id)?);
                if record.state == JobState::Running {
                    inner.publish(&record).ask();
                } else if record.state.is_final() {
                    inner.publish(&record);
                }
                Ok(record)
            })
            .await
    }

    /// A job as it stands.
    ///
    /// # Errors
    /// `NoJob`, or the store's.
    pub async fn get(&self, id: &str) -> Result<JobRecord, ManagerError> {
        let id = id.to_owned();
        let get = move |inner: &Inner, store: &JobStore| Ok(inner.with_progress(store.get(&id)?));
        self.inner.clone().stored(get).await
    }

    /// Jobs, newest first: at most `page_size` (1 to 1000), only those in `state` if given. `token`
    /// is empty for the first page.
    ///
    /// # Errors
    /// `InvalidToken`, or the store's.
    pub async fn list(
        &self,
        page_size: usize,
        token: &str,
        state: Option<JobState>,
    ) -> Result<JobPage, ManagerError> {
        let before = (!token.is_empty()).then(|| token.to_owned());
        if before.as_ref().is_some_and(|id| runs::check_run_id(id).is_err()) {
            return Err(ManagerError::InvalidToken { token: token.chars().take(100).collect() });
        }
        let size = page_size.clamp(1, MAX_PAGE);
        let list = move |inner: &Inner, store: &JobStore| {
            let mut jobs = store.list(state, before.as_deref(), size + 1)?;
            let more = jobs.len() > size;
            jobs.truncate(size);
            let next_token = jobs.last().filter(|_| more).map(|job| job.id.clone());
            let jobs = jobs.into_iter().map(|job| inner.with_progress(job)).collect();
            Ok(JobPage { jobs, next_token })
        };
        self.inner.clone().stored(list).await
    }

    /// How many jobs there are in each state.
    ///
    /// # Errors
    /// The store's.
    pub async fn counts(&self) -> Result<Vec<(JobState, u64)>, ManagerError> {
        self.inner.clone().stored(|_, store| store.counts()).await
    }

    /// A job now and at each change, progress at most four times a second; ends after the record
    /// that says how it ended, or when the server stops.
    ///
    /// # Errors
    /// `NoJob`, or the store's.
    pub async fn watch(&self, id: &str) -> Result<BoxStream<'static, JobRecord>, ManagerError> {
        let id = id.to_owned();
        let watch = move |inner: &Inner, store: &JobStore| {
            let live = lock(&inner.live).get(&id).map(|live| live.news.subscribe());
            match live {
                Some(news) => Ok(WatchStream::new(news).boxed()),
                None => Ok(futures::stream::iter([store.get(&id)?]).boxed()),
            }
        };
        self.inner.clone().stored(watch).await
    }

    /// Forgets a job that has ended, and its run where no other job has it.
    ///
    /// # Errors
    /// `NoJob`, `WrongState`, the store's, or the run's folder cannot be moved away.
    pub async fn delete(&self, id: &str) -> Result<(), ManagerError> {
        let (inner, id) = (self.inner.clone(), id.to_owned());
        // All of it in the thread, which goes on when the caller leaves.
        let delete = move || {
            inner.remove(&id)?;
            retention::sweep_inputs(&inner);
            Ok(())
        };
        blocking(delete).await?
    }

    /// Stops the jobs that run, which lets what is in flight finish, and waits for them until
    /// `deadline`; then what is in flight is given up. They go on at the next start. Says whether
    /// all had stopped in time.
    pub async fn shutdown(&self, deadline: Duration) -> bool {
        self.inner.closing.cancel();
        let in_time = tokio::time::timeout(deadline, self.inner.closed.cancelled()).await.is_ok();
        let live = std::mem::take(&mut *lock(&self.inner.live));
        live.values().for_each(|live| live.stop.abort());
        in_time
    }

    async fn queue(
        &self,
        change: impl FnOnce(&JobStore) -> Result<JobRecord, ManagerError> + Send + 'static,
    ) -> Result<JobRecord, ManagerError> {
        if self.inner.closing.is_cancelled() {
            return Err(ManagerError::Stopping);
        }
        // All of it in the thread, which goes on when the caller leaves.
        let queue = |inner: &Inner, store: &JobStore| {
            let record = inner.with_progress(change(store)?);
            if !record.state.is_final() {
                inner.publish(&record);
                inner.wake.notify_one();
            }
            Ok(record)
        };
        self.inner.clone().stored(queue).await
    }
}
