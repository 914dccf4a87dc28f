//! Opening the engine's parts, and closing them.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::app::App;
use super::convert::size;
use super::fetch::Fetcher;
use super::images::ImageLoader;
use super::layers::Shutdown;
use super::observe::Metrics;
use super::telemetry::QueueMetrics;
use super::writer::AnswerWriter;
use super::{Limits, ServerError};
use crate::Error;
use crate::config::{Config, LibrarySeed};
use crate::encoder::queue::{BulkThrottle, EncoderService};
use crate::encoder::{Encoder, EncoderError, OnnxEncoder};
use crate::instruction::Library;
use crate::instruction::store::{InstructionStore, LibraryStoreError, Opening};
use crate::jobs::{JobManager, ManagerOptions, Retention};
use crate::llm::LlmTarget;
use crate::matching::PhotoSearch;
use crate::matching::check::Checker;
use crate::run::{OnDeadBackend, Resources};
use crate::sandbox::{FileAccess, ImageRoots};
use crate::work::{Backend, ProbePolicy, Throttle};

/// How often the library's index is looked after.
const MAINTAIN_EVERY: Duration = Duration::from_secs(5);

/// What the jobs and the queue get to stop even when the time to drain is over.
const LEAST: Duration = Duration::from_secs(1);

/// Opens everything and warms the encoder up.
///
/// # Errors
/// A part cannot be opened; the error names it.
pub async fn start(
    config: Config,
    metrics: &Metrics,
    shutdown: &Shutdown,
) -> Result<Arc<App>, Error> {
    let metrics = metrics.clone();
    let runtime = tokio::runtime::Handle::current();
    let asked = shutdown.clone();
    let opening = tokio::task::spawn_blocking(move || {
        // Parts that start tasks of their own need the runtime around them.
        let _runtime = runtime.enter();
        open(config, metrics, &|| asked.is_leaving())
    });
    let opened = tokio::select! {
        opened = opening => opened,
        // Nobody has been served yet, so there is nothing to let finish.
        () = shutdown.leaving() => return Err(ServerError::StoppedEarly.into()),
    };
    let app = opened.map_err(|error| ServerError::Died(error.to_string()))??;
    tokio::select! {
        warm = warm_up(&app) => warm?,
        () = shutdown.leaving() => {
            stop(&app, shutdown).await;
            return Err(ServerError::StoppedEarly.into());
        }
    }
    if matches!(app.config.llm.target, LlmTarget::OpenAi { .. }) {
        // Health tells from the start whether it answers. A local one is started when it is needed.
        let backend = app.answers.backend.clone();
        tokio::spawn(async move { backend.verify().await });
    }
    Ok(app)
}

fn open(config: Config, metrics: Metrics, stop: &dyn Fn() -> bool) -> Result<Arc<App>, Error> {
    let config = Arc::new(config);
    let queue = timed("model", || open_queue(&config, metrics))?;
    let encoder = queue.encoder();
    let library = timed("library", || open_library(&config, &*encoder, stop))?;
    let roots = open_roots(&config)?;
    let backend = Backend::new(config.llm.clone(), ProbePolicy::default());
    let answers = AnswerWriter::new(&config, backend)?;
    let library = Arc::new(library);
    let shared = (&answers, &library);
    let jobs = timed("jobs", || open_jobs(&config, &queue, shared, roots.clone()))?;
    Ok(Arc::new(App {
        limits: Limits::from(&config.serve.limits),
        images: image_loader(&config, roots)?,
        photos: Arc::new(PhotoSearch::new(&config.index, encoder.hash(), encoder.dim())),
        checker: Checker::new(&[], Some(Arc::clone(&encoder))),
        started: SystemTime::now(),
        library,
        config,
        encoder,
        queue,
        jobs,
        answers,
    }))
}

fn timed<T>(what: &str, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    let began = Instant::now();
    let done = work()?;
    tracing::info!(seconds = began.elapsed().as_secs_f64(), "opened: {what}");
    Ok(done)
}

fn open_queue(config: &Config, metrics: Metrics) -> Result<EncoderService, Error> {
    let queue = &config.serve.queue;
    let options = queue.encoder_options(config.encoder.device);
    let decode = config.image.decode_options();
    let source = config.model.source()?;
    let encoder = EncoderService::open(|| OnnxEncoder::open(source, &options, decode))?;
    let observer = Arc::new(QueueMetrics(metrics));
    Ok(EncoderService::start(Arc::new(encoder), queue, observer).map_err(ServerError::from)?)
}

fn open_library(
    config: &Config,
    encoder: &dyn Encoder,
    stop: &dyn Fn() -> bool,
) -> Result<InstructionStore, Error> {
    let embed = |texts: &[&str]| -> Result<Vec<Vec<f32>>, EncoderError> {
        if stop() {
            return Err(EncoderError::Closed);
        }
        Ok(encoder.embed_texts(texts)?.into_iter().map(|text| text.vector).collect())
    };
    let folder = config.serve.data_folder();
    let opening = Opening { given: config.serve.library.on_changed_model, embed: &embed, stop };
    let (hash, dim) = (encoder.hash(), encoder.dim());
    let store = InstructionStore::open_with(&folder, hash, dim, &config.index, &opening)?;
    let seeds = match &config.serve.library.seed {
        LibrarySeed::None => return Ok(store),
        LibrarySeed::BuiltIn => Library::read(None)?,
        LibrarySeed::File(path) => Library::read(Some(path))?,
    };
    store.seed_if_empty(&seeds, &embed)?;
    Ok(store)
}

fn open_roots(config: &Config) -> Result<Option<Arc<ImageRoots>>, Error> {
    match config.serve.image_roots.as_slice() {
        [] => Ok(None),
        roots => Ok(Some(Arc::new(ImageRoots::open(roots)?))),
    }
}

fn image_loader(config: &Config, roots: Option<Arc<ImageRoots>>) -> Result<ImageLoader, Error> {
    let max_file = config.image.limits.max_file_bytes;
    let urls = &config.serve.urls;
    let budget = config.serve.queue.max_queue_bytes as u64;
    let fetcher = urls.enabled.then(|| Fetcher::new(urls, max_file, budget)).transpose();
    let fetcher = fetcher.map_err(ServerError::Fetcher)?;
    Ok(ImageLoader::new(roots, fetcher, max_file, budget))
}

fn open_jobs(
    config: &Config,
    queue: &EncoderService,
    (answers, library): (&AnswerWriter, &Arc<InstructionStore>),
    roots: Option<Arc<ImageRoots>>,
) -> Result<JobManager, Error> {
    let access = match roots {
        Some(roots) => FileAccess::Below(roots),
        None => FileAccess::Below(Arc::new(ImageRoots::open(&[])?)),
    };
    let resources = Resources {
        encoder: Some(queue.bulk_encoder()),
        backend: Some(answers.backend.clone()),
        on_dead_backend: OnDeadBackend::Pause,
        access,
        library: Some(Arc::clone(library)),
        throttle: Some(Arc::new(CallersFirst(queue.bulk_throttle()))),
    };
    let options = ManagerOptions {
        max_running: size(config.serve.jobs.max_running),
        max_queued: size(config.serve.jobs.max_queued),
        ..ManagerOptions::default()
    };
    Ok(JobManager::open(&config.serve.data_folder(), resources, options)?)
}

/// A job's own threads let callers go first.
struct CallersFirst(BulkThrottle);

impl Throttle for CallersFirst {
    fn with(&self, work: &mut dyn FnMut()) {
        let _pass = self.0.enter();
        work();
    }
}

async fn warm_up(app: &App) -> Result<(), Error> {
    let batch = size(app.config.serve.warmup.batch);
    let warm = app.queue.warm_up(batch).await?;
    tracing::info!(batch, vision = warm.vision_seconds, text = warm.text_seconds, "warmed up");
    Ok(())
}

/// How often the data folder is measured and swept.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// Tells the metrics what the data folder takes on the disk, and removes the runs that the rules of
/// retention let go.
pub async fn sweep_data(app: Arc<App>, metrics: Metrics, shutdown: Shutdown) {
    let jobs = &app.config.serve.jobs;
    let given = |value: u64| Some(value).filter(|value| *value > 0);
    let keep = given(jobs.keep_days).map(|days| Duration::from_secs(days * 24 * 3600));
    let rules = Retention { keep, max_bytes: given(jobs.keep_bytes) };
    loop {
        if let Err(error) = app.jobs.retain(rules).await {
            tracing::warn!(%error, "runs that are done were not removed");
        }
        if let Ok(parts) = app.jobs.disk_use().await {
            parts.into_iter().for_each(|(part, bytes)| metrics.disk(part, bytes));
        }
        tokio::select! {
            () = shutdown.draining() => return,
            () = tokio::time::sleep(SWEEP_EVERY) => {}
        }
    }
}

/// Brings the library's index to the kind that suits its size, and writes it out when enough has
/// changed, so that a start after a crash reads it instead of building it.
pub async fn maintain_library(app: Arc<App>, shutdown: Shutdown) {
    loop {
        tokio::select! {
            () = shutdown.draining() => return,
            () = tokio::time::sleep(MAINTAIN_EVERY) => {}
        }
        let stop = shutdown.clone();
        blocking(&app, move |library| library.maintain(&|| stop.is_draining())).await;
    }
}

async fn blocking(
    app: &Arc<App>,
    work: impl FnOnce(&InstructionStore) -> Result<(), LibraryStoreError> + Send + 'static,
) {
    let library = Arc::clone(&app.library);
    match tokio::task::spawn_blocking(move || work(&library)).await {
        Ok(Ok(())) => {}
        // Nothing is lost: the index is built again from the database.
        Ok(Err(error)) => tracing::warn!(%error, "the library's index was not brought up to date"),
        Err(error) => tracing::warn!(%error, "work on the library's index ended unexpectedly"),
    }
}

/// Stops the jobs, which go on at the next start, and closes the queue.
pub async fn stop(app: &Arc<App>, shutdown: &Shutdown) {
    let until = shutdown.deadline().unwrap_or_else(tokio::time::Instant::now);
    let left = until.saturating_duration_since(tokio::time::Instant::now()).max(LEAST);
    if !app.jobs.shutdown(left).await {
        tracing::warn!("a job did not stop in time; it goes on at the next start all the same");
    }
    blocking(app, |library| library.save_snapshot().map(drop)).await;
    app.queue.drain(LEAST).await;
}
