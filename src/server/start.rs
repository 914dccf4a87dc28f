//! Opening the engine's parts, and closing them.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::app::App;
use super::fetch::Fetcher;
use super::images::ImageLoader;
use super::layers::Shutdown;
use super::observe::Metrics;
use super::search::ImageSets;
use super::telemetry::QueueMetrics;
use super::{Limits, ServerError};
use crate::Error;
use crate::answer::AnswerBackend;
use crate::confine::ImageRoots;
use crate::config::{Config, LibrarySeed};
use crate::encoder::queue::EncoderService;
use crate::encoder::{Encoder, EncoderError, EncoderOptions, OnnxEncoder};
use crate::instruction::Library;
use crate::instruction::store::InstructionStore;
use crate::pipeline::manager::JobManager;

/// How often the library's index is written out when it has changed.
const SAVE_EVERY: Duration = Duration::from_secs(60);

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
    let opening = tokio::task::spawn_blocking(move || {
        // Parts that start tasks of their own need the runtime around them.
        let _runtime = runtime.enter();
        open(config, metrics)
    });
    let opened = tokio::select! {
        opened = opening => opened,
        () = shutdown.over() => return Err(ServerError::StoppedEarly.into()),
    };
    let app = opened.map_err(|error| ServerError::Died(error.to_string()))??;
    warm_up(&app).await?;
    Ok(app)
}

fn open(config: Config, metrics: Metrics) -> Result<Arc<App>, Error> {
    let config = Arc::new(config);
    let queue = timed("model", || open_queue(&config, metrics))?;
    let library = timed("library", || open_library(&config, &**queue.encoder()))?;
    let roots = open_roots(&config)?;
    let answers = AnswerBackend::new(&config)?;
    let jobs = timed("jobs", || {
        JobManager::open(&config, queue.clone(), answers.clone(), roots.clone())
    })?;
    Ok(Arc::new(App {
        limits: Limits::from(&config.serve.limits),
        images: image_loader(&config, roots)?,
        image_sets: ImageSets::default(),
        started: SystemTime::now(),
        library: Arc::new(library),
        config,
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
    let path = crate::model::locate(config.model.path.as_deref());
    let encoder = OnnxEncoder::open(&path, &queue.encoder_options(), config.image.decode_options())?;
    let observer = Arc::new(QueueMetrics(metrics));
    Ok(EncoderService::start(Arc::new(encoder), queue, observer)?)
}

fn open_library(config: &Config, encoder: &dyn Encoder) -> Result<InstructionStore, Error> {
    let embed = |texts: &[&str]| -> Result<Vec<Vec<f32>>, EncoderError> {
        Ok(encoder.embed_texts(texts)?.into_iter().map(|text| text.vector).collect())
    };
    let folder = config.serve.data_folder();
    let store =
        InstructionStore::open(&folder, encoder.hash(), encoder.dim(), &config.index, &embed)?;
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
    let fetcher = urls.enabled.then(|| Fetcher::new(urls, max_file)).transpose();
    let fetcher = fetcher.map_err(ServerError::Fetcher)?;
    Ok(ImageLoader::new(roots, fetcher, max_file, config.serve.queue.max_queue_bytes as u64))
}

async fn warm_up(app: &App) -> Result<(), Error> {
    let batch = app.config.serve.warmup.batch;
    let warm = app.queue.warm_up(batch).await?;
    tracing::info!(batch, vision = ?warm.vision, text = ?warm.text, "warmed up");
    Ok(())
}

/// Writes the library's index out now and then, so that a start after a crash reads it instead of
/// building it.
pub async fn save_library(app: Arc<App>, shutdown: Shutdown) {
    loop {
        tokio::select! {
            () = shutdown.draining() => return,
            () = tokio::time::sleep(SAVE_EVERY) => save_index(&app).await,
        }
    }
}

async fn save_index(app: &Arc<App>) {
    let library = Arc::clone(&app.library);
    let saved = tokio::task::spawn_blocking(move || library.save_snapshot()).await;
    match saved {
        Ok(Ok(_)) => {}
        // Nothing is lost: the index is built again from the database.
        Ok(Err(error)) => tracing::warn!(%error, "the library's index was not written"),
        Err(error) => tracing::warn!(%error, "writing the library's index ended unexpectedly"),
    }
}

/// Stops the jobs, which go on at the next start, and closes the queue.
pub async fn stop(app: &Arc<App>, shutdown: &Shutdown) {
    let until = shutdown.deadline().unwrap_or_else(tokio::time::Instant::now);
    app.jobs.shutdown(until.into_std()).await;
    save_index(app).await;
    app.queue.close();
    app.answers.close().await;
}
