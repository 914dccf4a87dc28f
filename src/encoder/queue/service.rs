//! The encoder as many callers share it.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;

use super::batch::BatchLimits;
use super::bulk::BulkEncoder;
use super::call::CallContext;
use super::config::QueueConfig;
use super::error::{ProbeError, QueueError, StartError};
use super::gate::BulkGate;
use super::lane::{Lane, PerLane};
use super::line::{Line, LineParts};
use super::observe::{LaneSnapshot, QueueObserver, Shielded};
use super::places::Size;
use super::results::{ImagesEmbedded, TextsEmbedded, first_error, images, texts};
use super::state::Limits;
use super::tower::{Photos, Texts, Tower};
use super::warm::{WarmUp, warm_up};
use super::worker::{prepare_items, run_batches};
use crate::base::check::Settings;
use crate::encoder::{Encoder, EncoderError, StagedEncoder};

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
    photos: Arc<Line<Photos>>,
    texts: Arc<Line<Texts>>,
    gate: BulkGate,
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
        let gate = BulkGate::default();
        let observer: Arc<dyn QueueObserver> = Arc::new(Shielded(observer));
        let photos = Line::new(
            Photos(encoder.clone()),
            parts(config, photo_limits(config), &gate, &observer),
        );
        let texts =
            Line::new(Texts(encoder.clone()), parts(config, text_limits(config), &gate, &observer));
        let threads = Mutex::default();
        let config = config.clone();
        let inner = Arc::new(Inner { encoder, config, photos, texts, gate, threads });
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
    pub fn bulk_gate(&self) -> BulkGate {
        self.inner.gate.clone()
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
        let (encoder, sessions) =
            (self.inner.encoder.clone(), self.inner.config.resolved_sessions());
        tokio::task::spawn_blocking(move || warm_up(&*encoder, batch, sessions))
            .await
            .unwrap_or(Err(EncoderError::Panicked { tower: "warm-up" }))
    }

    /// What is queued and in work now, for each lane of each tower.
    pub fn snapshot(&self) -> Vec<LaneSnapshot> {
        let Inner { photos, texts, .. } = &*self.inner;
        let both = |lane| [photos.snapshot(lane), texts.snapshot(lane)];
        Lane::ALL.into_iter().flat_map(both).collect()
    }

    /// Refuses new calls and turns of jobs, waits at most `limit` for what is queued, then closes.
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
        for _ in 0..self.config.resolved_decode_threads() {
            self.spawn("decode", &self.photos, prepare_items)?;
        }
        for _ in 0..self.config.resolved_sessions() {
            self.spawn("vision", &self.photos, run_batches)?;
        }
        self.spawn("tokenize", &self.texts, prepare_items)?;
        self.spawn("text", &self.texts, run_batches)
    }

    fn spawn<T: Tower>(
        &self,
        name: &str,
        line: &Arc<Line<T>>,
        work: fn(&Line<T>),
    ) -> io::Result<()> {
        let line = line.clone();
        let thread = std::thread::Builder::new().name(name.to_owned());
        let handle = thread.spawn(move || work(&line))?;
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(handle);
        Ok(())
    }

    fn close(&self) {
        self.photos.close();
        self.texts.close();
        self.gate.open();
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
    gate: &BulkGate,
    observer: &Arc<dyn QueueObserver>,
) -> LineParts {
    LineParts {
        limits,
        weights: config.weights(),
        places: Size { items: config.max_queue_items, bytes: config.max_queue_bytes },
        gate: gate.clone(),
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
    }
}

fn text_limits(config: &QueueConfig) -> Limits {
    let items = if config.batch_size == 1 { 1 } else { config.text_batch_size };
    let batch = BatchLimits { items, cost: config.text_batch_tokens };
    Limits {
        batch: PerLane { interactive: batch, bulk: batch },
        ahead: items * config.batches_ahead,
        sessions: 1,
    }
}
