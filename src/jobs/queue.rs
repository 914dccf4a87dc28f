//! Takes jobs from the queue, runs them and keeps how they ended.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::{Id, JoinHandle, JoinSet};

use super::progress::{Meter, figures};
use super::store::{Claimed, Ending, JobStore};
use super::work::JobWork;
use super::{
    Inner, JobFailure, JobKind, JobProgress, JobRecord, JobSummary, ManagerError, blocking,
};
use crate::run::{OnDeadBackend, Resources};
use crate::work::Stop;
use crate::{Error, ErrorKind};

/// How often watchers hear of progress.
const TELL_EVERY: Duration = Duration::from_millis(250);

/// How often progress is kept on disk.
const KEEP_EVERY: Duration = Duration::from_secs(5);

/// How often figures are read from the run's store, at most.
const READ_EVERY: Duration = Duration::from_secs(1);

/// Of the time, reading figures may take one part in this many: large runs are read less often.
const READ_SHARE: u32 = 20;

/// How long to wait when `jobs.sqlite` cannot be written (a full disk), before trying again.
const RETRY: Duration = Duration::from_secs(1);

/// Kinds that share places: a job that waits for the language model must not keep one that only
/// matches from its turn.
const GROUPS: [&[JobKind]; 2] = [&[JobKind::Match], &[JobKind::Generate, JobKind::Judge]];

/// Jobs at work.
#[derive(Default)]
struct Running {
    keepers: JoinSet<()>,
    /// The place in [`GROUPS`] of each keeper.
    groups: HashMap<Id, usize>,
}

impl Running {
    fn count(&self, group: usize) -> usize {
        self.groups.values().filter(|one| **one == group).count()
    }

    fn spawn(&mut self, group: usize, job: impl Future<Output = ()> + Send + 'static) {
        let id = self.keepers.spawn(job).id();
        self.groups.insert(id, group);
    }

    /// Waits until one has ended.
    async fn ended(&mut self) {
        match self.keepers.join_next_with_id().await {
            Some(Ok((id, ()))) => _ = self.groups.remove(&id),
            Some(Err(error)) => {
                tracing::error!(%error, "a job's keeper ended unexpectedly");
                self.groups.remove(&error.id());
            }
            None => {}
        }
    }
}

/// Runs jobs until the manager closes and those under way have ended.
pub(super) async fn dispatch(inner: Arc<Inner>) {
    let mut running = Running::default();
    loop {
        let failed = inner.fill(&mut running).await;
        if inner.closing.is_cancelled() && running.keepers.is_empty() {
            break;
        }
        tokio::select! {
            () = inner.wake.notified() => {}
            () = inner.closing.cancelled(), if !inner.closing.is_cancelled() => {}
            () = running.ended(), if !running.keepers.is_empty() => {}
            () = tokio::time::sleep(RETRY), if failed => {}
        }
    }
    // First let go of what is shared: whoever waits for this may open the folder again.
    let closed = inner.closed.clone();
    drop(inner);
    closed.cancel();
}

impl Inner {
    /// Starts jobs until as many run as may. Says whether the queue could not be read.
    async fn fill(self: &Arc<Self>, running: &mut Running) -> bool {
        for (group, kinds) in GROUPS.into_iter().enumerate() {
            while running.count(group) < self.options.max_running && !self.closing.is_cancelled() {
                match self.clone().claim(kinds).await {
                    Ok(Some((claimed, stop))) => {
                        running.spawn(group, run(self.clone(), claimed, stop));
                    }
                    Ok(None) => break,
                    Err(error) => {
                        tracing::error!("no job can be taken from the queue: {error}");
                        return true;
                    }
                }
            }
        }
        false
    }

    async fn claim(
        self: Arc<Self>,
        kinds: &'static [JobKind],
    ) -> Result<Option<(Claimed, Stop)>, ManagerError> {
        self.stored(|inner, store| {
            let claimed = store.claim(kinds)?;
            Ok(claimed.map(|claimed| {
                let stop = inner.publish(&claimed.record);
                (claimed, stop)
            }))
        })
        .await
    }

    fn job(&self, record: &JobRecord, task: String, meter: &Arc<Meter>, stop: &Stop) -> JobWork {
        JobWork {
            folder: self.run_folder(&record.run_id),
            task,
            meter: Arc::clone(meter),
            stop: stop.clone(),
            resources: Resources {
                on_dead_backend: OnDeadBackend::Pause,
                ..self.resources.clone()
            },
        }
    }
}

/// One job from its start to its end.
async fn run(inner: Arc<Inner>, claimed: Claimed, stop: Stop) {
    let Claimed { record, task } = claimed;
    tracing::info!(job = record.id, run = record.run_id, start = record.attempts, "job started");
    let meter = Arc::<Meter>::default();
    let work = inner.job(&record, task, &meter, &stop);
    // A job's store handles stay on one thread, so it gets one of its own.
    let work = tokio::task::spawn_blocking(move || work.run());
    let mut keeper = Keeper::new(inner, record, meter);
    let end = keeper.follow(work, &stop).await;
    keeper.conclude(end).await;
}

type Done = Option<Box<JobSummary>>;

type Work = JoinHandle<Result<Done, Error>>;

/// How the thread of a job ended.
#[derive(Clone)]
enum WorkEnd {
    Done(Done),
    Stopped,
    Failed(JobFailure),
}

impl WorkEnd {
    fn of(end: Result<Result<Done, Error>, tokio::task::JoinError>) -> Self {
        match end {
            Ok(Ok(summary)) => Self::Done(summary),
            Ok(Err(error)) if error.is_stop() => Self::Stopped,
            Ok(Err(error)) => Self::Failed(JobFailure::from(&error)),
            Err(died) => {
                Self::Failed(JobFailure::new("internal", died.to_string(), ErrorKind::Internal))
            }
        }
    }

    /// What it means for the job: one that was to be cancelled was, whatever ended it on the way.
    fn judge(self, cancel_asked: bool) -> Ending {
        match self {
            Self::Done(summary) => Ending::Succeeded(summary),
            _ if cancel_asked => Ending::Cancelled,
            Self::Stopped => Ending::Interrupted,
            Self::Failed(failure) => Ending::Failed(failure),
        }
    }
}

/// Follows a running job, tells and keeps how far it is.
struct Keeper {
    inner: Arc<Inner>,
    record: JobRecord,
    meter: Arc<Meter>,
    figures: JobProgress,
    read_next: Instant,
    keep_next: Instant,
    /// Whether the disk knows that this start was not in vain.
    worked: bool,
}

impl Keeper {
    fn new(inner: Arc<Inner>, record: JobRecord, meter: Arc<Meter>) -> Self {
        let now = Instant::now();
        let figures = JobProgress::default();
        Self { inner, record, meter, figures, read_next: now, keep_next: now, worked: false }
    }

    async fn follow(&mut self, mut work: Work, stop: &Stop) -> WorkEnd {
        let inner = Arc::clone(&self.inner);
        let mut tick = tokio::time::interval(TELL_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let grace = async {
            stop.asked().await;
            tokio::time::sleep(inner.options.cancel_grace).await;
            stop.abort();
            std::future::pending::<()>().await;
        };
        tokio::pin!(grace);
        loop {
            tokio::select! {
                end = &mut work => return WorkEnd::of(end),
                () = inner.closing.cancelled(), if !stop.is_asked() => stop.ask(),
                () = &mut grace => {}
                _ = tick.tick() => self.tell().await,
            }
        }
    }

    async fn tell(&mut self) {
        if Instant::now() >= self.read_next {
            self.read_figures().await;
        }
        let progress = self.meter.snapshot(&self.figures);
        self.inner.tell(&self.record.id, &progress);
        let news = self.meter.has_worked() && !self.worked;
        if news || Instant::now() >= self.keep_next {
            self.keep_next = Instant::now() + KEEP_EVERY;
            self.keep(progress).await;
        }
    }

    async fn read_figures(&mut self) {
        let (kind, folder) = (self.record.kind, self.inner.run_folder(&self.record.run_id));
        let started = Instant::now();
        let read = move || figures(kind, &folder);
        // Before the job has made its store there are none.
        if let Ok(Ok(figures)) = blocking(read).await {
            self.figures = figures;
        }
        self.read_next = Instant::now() + READ_EVERY.max(started.elapsed() * READ_SHARE);
    }

    async fn keep(&mut self, progress: JobProgress) {
        let (id, worked) = (self.record.id.clone(), self.meter.has_worked());
        let put = move |_: &Inner, store: &JobStore| store.put_progress(&id, &progress, worked);
        match self.inner.clone().stored(put).await {
            Ok(()) => self.worked = worked,
            Err(error) => tracing::warn!(job = self.record.id, "progress was not kept: {error}"),
        }
    }

    async fn conclude(&mut self, end: WorkEnd) {
        self.read_figures().await;
        let progress = self.meter.snapshot(&self.figures);
        loop {
            let (id, progress, end) = (self.record.id.clone(), progress.clone(), end.clone());
            let finish = move |inner: &Inner, store: &JobStore| {
                let ending = end.judge(store.get(&id)?.cancel_asked);
                let record = store.finish(&id, &progress, &ending)?;
                inner.publish(&record);
                let code = record.failure.as_ref().map(|failure| failure.code.as_str());
                tracing::info!(job = id, state = record.state.name(), code, "job ended");
                Ok(())
            };
            let Err(error) = self.inner.clone().stored(finish).await else { return };
            tracing::error!(job = self.record.id, "the job's end cannot be kept: {error}");
            if self.inner.closing.is_cancelled() {
                // The next start finds it as running and goes on with it.
                return;
            }
            tokio::time::sleep(RETRY).await;
        }
    }
}
