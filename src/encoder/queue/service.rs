//! The encoder as many callers share it, and as a job works with it.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::admission::Size;
use super::bulk_throttle::BulkThrottle;
use super::call::{CallContext, ImagesEmbedded, TextsEmbedded, first_error, images, texts};
use super::config::QueueConfig;
use super::error::{ProbeError, QueueError, StartError};
use super::lane::{Lane, Pace, PerLane, Precedence, Takes};
use super::observe::{LaneSnapshot, QueueObserver, Shielded};
use super::tower::{Photos, Texts, Tower};
use super::tower_queue::{QueueParts, TowerQueue};
use super::waiting::{BatchLimits, Limits};
use super::worker::{prepare, run};
use crate::base::check::Settings;
use crate::encoder::text::embed_by_length;
use crate::encoder::{Embedding, Encoder, EncoderError, StagedEncoder, TextEmbedding};
use crate::image::{Pixels, Preprocessor};
use crate::model::manifest::Padding;
use crate::model::{Device, ModelManifest};

/// A white dot, for probes.
const DOT: &[u8] = b"BM\x3a\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\x18\0\
    \0\0\0\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xff\xff\xff\0";

/// The batching queue between callers and an encoder. Clones share one queue; the last one to go
/// closes it.
#[derive(Clone)]
pub struct EncoderService {
    inner: Arc<Inner>,
}

struct Inner {
    encoder: Arc<dyn StagedEncoder>,
    config: QueueConfig,
    photos: Arc<TowerQueue<Photos>>,
    texts: Arc<TowerQueue<Texts>>,
    throttle: BulkThrottle,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl EncoderService {
    /// Starts the threads. `encoder` should have been opened with
    /// [`QueueConfig::encoder_options`]: with fewer sessions, batches wait for each other.
    ///
    /// # Errors
    /// A setting is out of range, or the system gives no more threads.
    pub fn start(
        encoder: Arc<dyn StagedEncoder>,
        config: &QueueConfig,
        observer: Arc<dyn QueueObserver>,
    ) -> Result<Self, StartError> {
        config.validate_as("queue")?;
        let config = &config.with(encoder.manifest());
        let throttle = BulkThrottle::default();
        let observer: Arc<dyn QueueObserver> = Arc::new(Shielded(observer));
        let photos = TowerQueue::new(
            Photos(encoder.clone()),
            parts(config, photo_limits(config), &throttle, &observer),
        );
        let texts = TowerQueue::new(
            Texts(encoder.clone()),
            parts(config, text_limits(config, &*encoder), &throttle, &observer),
        );
        let threads = Mutex::default();
        let config = config.clone();
        let inner = Arc::new(Inner { encoder, config, photos, texts, throttle, threads });
        inner.start_threads().map_err(StartError::Thread)?;
        Ok(Self { inner })
    }

    /// The encoder behind the queue, for its manifest, hash and width. Embedding with it goes past
    /// the queue.
    pub fn encoder(&self) -> Arc<dyn Encoder> {
        self.inner.encoder.clone()
    }

    /// Embeds the photos of one call, each as the bytes of its file. An image that cannot be
    /// decoded fails alone. Dropping the future takes the call out of the queue.
    ///
    /// # Errors
    /// [`QueueError`]: the call as a whole was refused, or ran out of time.
    pub async fn embed_images(
        &self,
        photos: Vec<Bytes>,
        call: &CallContext,
    ) -> Result<ImagesEmbedded, QueueError> {
        Ok(images(self.inner.photos.embed(photos, call).await?))
    }

    /// Embeds the texts of one call. Dropping the future takes the call out of the queue.
    ///
    /// # Errors
    /// As [`EncoderService::embed_images`].
    pub async fn embed_texts(
        &self,
        strings: Vec<String>,
        call: &CallContext,
    ) -> Result<TextsEmbedded, QueueError> {
        Ok(texts(self.inner.texts.embed(strings, call).await?))
    }

    /// An encoder for a job: its calls block, wait for the bulk lane's turn and are never refused
    /// for load. Not for async code. Calls fail with [`EncoderError::Closed`] when the service
    /// closes.
    pub fn bulk_encoder(&self) -> Arc<dyn Encoder> {
        let Inner { encoder, photos, texts, config, .. } = &*self.inner;
        let cut = (config.bulk_batch_size > 0).then_some(config.bulk_batch_size);
        let (encoder, photos, texts) = (encoder.clone(), photos.clone(), texts.clone());
        Arc::new(BulkEncoder { encoder, photos, texts, cut })
    }

    /// The gate for what a job does in threads of its own.
    pub fn bulk_throttle(&self) -> BulkThrottle {
        self.inner.throttle.clone()
    }

    /// Embeds a dot and a word before all others and without places: an overloaded service is
    /// healthy. Its time limit is the caller's to set.
    ///
    /// # Errors
    /// The service is closed, or a tower fails.
    pub async fn probe(&self) -> Result<(), ProbeError> {
        let image = self.inner.photos.embed_urgent(Bytes::from_static(DOT)).await?;
        first_error(image)?;
        let text = self.inner.texts.embed_urgent("a".to_owned()).await?;
        first_error(text)
    }

    /// Runs a batch of `batch` photos on every session and a batch of as many texts, short and
    /// long, so that no caller pays for first times. 0 does nothing. Goes past the queue: for the
    /// time before callers are let in.
    ///
    /// # Errors
    /// A graph fails.
    pub async fn warm_up(&self, batch: usize) -> Result<WarmUp, EncoderError> {
        let encoder = self.inner.encoder.clone();
        tokio::task::spawn_blocking(move || warm_up(&*encoder, batch))
            .await
            .unwrap_or(Err(EncoderError::Panicked { tower: "warm-up" }))
    }

    /// Opens an encoder so that the threads of its own, on which a runtime spreads an inference call,
    /// go no earlier than the queue's for photos: on Linux a thread begins as nice as the one that
    /// starts it.
    pub fn open<E: Send>(open: impl FnOnce() -> E + Send) -> E {
        // Its threads are everybody's: they are not to be made by the first text that is split here.
        rayon::current_num_threads();
        let opening = || {
            Precedence::Photos.take();
            open()
        };
        let opened = std::thread::scope(|scope| scope.spawn(opening).join());
        opened.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// What is queued and in work now, for each lane of each tower.
    pub fn snapshot(&self) -> Vec<LaneSnapshot> {
        let Inner { photos, texts, .. } = &*self.inner;
        let both = |lane| [photos.snapshot(lane), texts.snapshot(lane)];
        Lane::ALL.into_iter().flat_map(both).collect()
    }

    /// Refuses new calls and batches of jobs, waits at most `limit` for what is queued, then closes.
    /// Returns whether everything was finished.
    pub async fn drain(&self, limit: Duration) -> bool {
        let Inner { photos, texts, .. } = &*self.inner;
        photos.stop_admitting();
        texts.stop_admitting();
        let all = async { tokio::join!(photos.drained(), texts.drained()) };
        let finished = tokio::time::timeout(limit, all).await.is_ok();
        let service = self.clone();
        // Fails only when closing panicked, and then there is nothing left to close.
        let _ = tokio::task::spawn_blocking(move || service.close()).await;
        finished
    }

    /// Fails what is queued with [`QueueError::Closed`] and joins the threads; batches that run
    /// come to their end first. A second call does nothing.
    pub fn close(&self) {
        self.inner.close();
    }
}

impl Inner {
    fn start_threads(&self) -> io::Result<()> {
        let Self { photos, texts, .. } = self;
        for _ in 0..self.config.resolved_decode_threads() {
            self.spawn("decode", Precedence::Photos, photos, |queue| prepare(queue, Pace::Quick))?;
            let large = |queue: &_| prepare(queue, Pace::Slow);
            self.spawn("decode large", Precedence::Long, photos, large)?;
        }
        for _ in 0..self.config.resolved_sessions() {
            self.spawn("vision", Precedence::Photos, photos, |queue| run(queue, Takes::All))?;
        }
        self.spawn("tokenize", Precedence::Words, texts, |queue| prepare(queue, Pace::Quick))?;
        if self.config.short_text_session && self.encoder.device() == Device::Cpu {
            self.spawn("short text", Precedence::Words, texts, |queue| run(queue, Takes::Short))?;
            return self.spawn("text", Precedence::Long, texts, |queue| run(queue, Takes::Long));
        }
        self.spawn("text", Precedence::Words, texts, |queue| run(queue, Takes::All))
    }

    fn spawn<T: Tower>(
        &self,
        name: &str,
        precedence: Precedence,
        queue: &Arc<TowerQueue<T>>,
        work: fn(&TowerQueue<T>),
    ) -> io::Result<()> {
        let queue = queue.clone();
        let thread = std::thread::Builder::new().name(name.to_owned());
        let handle = thread.spawn(move || {
            precedence.take();
            work(&queue);
        })?;
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(handle);
        Ok(())
    }

    fn close(&self) {
        self.photos.close();
        self.texts.close();
        self.throttle.open();
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // An `Err` is the panic of a thread that is over in any case.
            let _ = thread.join();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

fn parts(
    config: &QueueConfig,
    limits: Limits,
    throttle: &BulkThrottle,
    observer: &Arc<dyn QueueObserver>,
) -> QueueParts {
    QueueParts {
        limits,
        weights: config.weights(),
        places: Size { items: config.max_queue_items, bytes: config.max_queue_bytes },
        throttle: throttle.clone(),
        observer: observer.clone(),
    }
}

fn photo_limits(config: &QueueConfig) -> Limits {
    let interactive = BatchLimits { items: config.batch_size, cost: config.batch_bytes };
    let items = match config.bulk_batch_size {
        0 => config.batch_size,
        bulk => bulk,
    };
    Limits {
        batch: PerLane { interactive, bulk: BatchLimits { items, ..interactive } },
        ahead: config.batch_size * config.batches_ahead,
        sessions: config.resolved_sessions(),
        // To the graph all photos are alike.
        short: usize::MAX,
    }
}

/// Tokens of the longest text that is short: most instructions and captions are.
const SHORT_TEXT: usize = 32;

fn text_limits(config: &QueueConfig, encoder: &dyn Encoder) -> Limits {
    let items = if config.batch_size == 1 { 1 } else { config.text_batch_size };
    let padding = encoder.manifest().text.padding;
    let cost = config.resolved_text_batch_tokens(padding, encoder.device());
    let batch = BatchLimits { items, cost };
    Limits {
        batch: PerLane { interactive: batch, bulk: batch },
        // Tokens are small: whatever waits is tokenised, so that batches are of one length.
        ahead: config.max_queue_items,
        sessions: 1,
        short: if padding == Padding::Context { usize::MAX } else { SHORT_TEXT },
    }
}

/// Runs a job's batches when the bulk lane has its turn. Nothing of other callers is mixed in and
/// the cuts depend on the batch alone, so that a vector does not depend on who else calls.
pub(super) struct BulkEncoder {
    pub encoder: Arc<dyn StagedEncoder>,
    pub photos: Arc<TowerQueue<Photos>>,
    pub texts: Arc<TowerQueue<Texts>>,
    /// Photos per inference call; `None` runs a batch whole.
    pub cut: Option<usize>,
}

impl Encoder for BulkEncoder {
    fn device(&self) -> Device {
        self.encoder.device()
    }

    fn manifest(&self) -> &ModelManifest {
        self.encoder.manifest()
    }

    fn hash(&self) -> &str {
        self.encoder.hash()
    }

    fn preprocessor(&self) -> &Preprocessor {
        self.encoder.preprocessor()
    }

    fn embed_images(&self, batch: &[Pixels]) -> Result<Vec<Embedding>, EncoderError> {
        let mut vectors = Vec::with_capacity(batch.len());
        for part in batch.chunks(self.cut.unwrap_or(batch.len()).max(1)) {
            vectors.extend(self.photos.run_for_job(part.to_vec())?);
        }
        Ok(vectors)
    }

    fn embed_texts(&self, texts: &[&str]) -> Result<Vec<TextEmbedding>, EncoderError> {
        let tokens: Result<Vec<_>, _> =
            texts.iter().map(|text| self.encoder.tokenize(text)).collect();
        embed_by_length(&tokens?, 1, |batch| {
            self.texts.run_for_job(batch.iter().copied().cloned().collect())
        })
    }
}

/// Seconds that a warm-up took, per tower.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct WarmUp {
    pub vision_seconds: f64,
    pub text_seconds: f64,
}

/// Runs real shapes on each session: a full batch and a single photo, short texts and texts that
/// fill the context.
pub(super) fn warm_up(encoder: &dyn StagedEncoder, batch: usize) -> Result<WarmUp, EncoderError> {
    if batch == 0 {
        return Ok(WarmUp::default());
    }
    let started = Instant::now();
    let photos = vec![grey(encoder); batch];
    for rows in [batch, 1] {
        encoder.warm_images(&photos[..rows])?;
    }
    let vision_seconds = started.elapsed().as_secs_f64();
    let started = Instant::now();
    let long = "photo ".repeat(encoder.manifest().text.context_length);
    for text in ["a photo", &long] {
        let tokens = encoder.tokenize(text)?;
        encoder.warm_texts(&vec![&tokens; batch])?;
    }
    Ok(WarmUp { vision_seconds, text_seconds: started.elapsed().as_secs_f64() })
}

fn grey(encoder: &dyn StagedEncoder) -> Pixels {
    let preprocessor = encoder.preprocessor();
    Pixels { side: preprocessor.config().crop, rgb: vec![127; preprocessor.tensor_len()] }
}
