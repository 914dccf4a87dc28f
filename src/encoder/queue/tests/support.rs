//! The encoder of the tests: the bundled one, with faults on demand.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::encoder::queue::{
    BatchReport, CallContext, DropReason, EncoderService, Lane, LaneSnapshot, QueueConfig,
    QueueObserver, Timings, TowerKind, Unobserved,
};
use crate::encoder::{
    Embedding, Encoder, EncoderError, EncoderOptions, OnnxEncoder, StagedEncoder, TextEmbedding,
    Tokens,
};
use crate::image::{DecodeOptions, Pixels, Preprocessor};
use crate::model::{Device, ModelManifest};

/// The bundled encoder, opened once for all tests.
pub fn real() -> Arc<OnnxEncoder> {
    static ENCODER: OnceLock<Arc<OnnxEncoder>> = OnceLock::new();
    let open = || {
        let options = EncoderOptions { sessions: 2, intra_threads: 1, ..Default::default() };
        let encoder = OnnxEncoder::open(&root("models/mini"), &options, DecodeOptions::default());
        Arc::new(encoder.expect("the bundled encoder opens; run `make setup` once"))
    };
    ENCODER.get_or_init(open).clone()
}

fn root(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The sample photos, in the order of their names.
pub fn photos() -> Vec<Bytes> {
    let mut files: Vec<PathBuf> = fs_err::read_dir(root("samples/photos"))
        .expect("samples")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "jpg"))
        .collect();
    files.sort();
    files.iter().map(|path| fs_err::read(path).expect("reads").into()).collect()
}

/// A small image of one colour: quick to decode.
pub fn dot(shade: u8) -> Bytes {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let image = image::RgbImage::from_pixel(2, 2, image::Rgb([shade; 3]));
    image.write_to(&mut bytes, image::ImageFormat::Png).expect("encodes");
    bytes.into_inner().into()
}

/// What a faulty encoder does with a batch of photos. The shade of a photo is its first byte.
type Fault = Box<dyn Fn(&[Pixels]) -> Result<(), EncoderError> + Send + Sync>;

/// The bundled encoder behind a fault and a log of its batches; with a fault, vectors are cheap
/// stand-ins that carry the shade, so that a test may run thousands.
pub struct Faulty {
    real: Arc<OnnxEncoder>,
    fault: Fault,
    /// What batches with a text of more than 32 tokens stand before.
    long_texts: Option<Arc<Door>>,
    pub batches: Mutex<Vec<Vec<u8>>>,
    /// The thread of each batch of texts, and the tokens of its longest.
    pub text_batches: Mutex<Vec<(String, usize)>>,
}

impl Faulty {
    pub fn new(
        fault: impl Fn(&[Pixels]) -> Result<(), EncoderError> + Send + Sync + 'static,
    ) -> Arc<Self> {
        let (fault, batches, text_batches) = (Box::new(fault), Mutex::default(), Mutex::default());
        Arc::new(Self { real: real(), fault, long_texts: None, batches, text_batches })
    }

    pub fn batches(&self) -> Vec<Vec<u8>> {
        self.batches.lock().expect("no test panics inside").clone()
    }
}

/// The shade of a photo made by [`dot`].
pub fn shade(pixels: &Pixels) -> u8 {
    pixels.rgb[0]
}

impl Encoder for Faulty {
    fn device(&self) -> Device {
        self.real.device()
    }

    fn manifest(&self) -> &ModelManifest {
        self.real.manifest()
    }

    fn hash(&self) -> &str {
        self.real.hash()
    }

    fn preprocessor(&self) -> &Preprocessor {
        self.real.preprocessor()
    }

    fn embed_images(&self, batch: &[Pixels]) -> Result<Vec<Embedding>, EncoderError> {
        let shades = batch.iter().map(shade).collect();
        self.batches.lock().expect("no test panics inside").push(shades);
        (self.fault)(batch)?;
        Ok(batch.iter().map(|pixels| vec![f32::from(shade(pixels))]).collect())
    }

    fn embed_texts(&self, texts: &[&str]) -> Result<Vec<TextEmbedding>, EncoderError> {
        self.real.embed_texts(texts)
    }
}

impl StagedEncoder for Faulty {
    fn tokenize(&self, text: &str) -> Result<Tokens, EncoderError> {
        assert!(text != "panic", "a tokenizer that panics");
        self.real.tokenize(text)
    }

    fn embed_tokens(&self, batch: &[&Tokens]) -> Result<Vec<Embedding>, EncoderError> {
        let longest = batch.iter().map(|tokens| tokens.count()).max().unwrap_or(0);
        let thread = std::thread::current().name().unwrap_or_default().to_owned();
        self.text_batches.lock().expect("no test panics inside").push((thread, longest));
        if let Some(door) = self.long_texts.as_ref()
            && longest > 32
        {
            door.pass();
        }
        self.real.embed_tokens(batch)
    }
}

pub fn start(encoder: Arc<dyn StagedEncoder>, config: &QueueConfig) -> EncoderService {
    EncoderService::start(encoder, config, Arc::new(Unobserved)).expect("starts")
}

/// One session, one decode thread.
pub fn narrow() -> QueueConfig {
    QueueConfig { sessions: 1, decode_threads: 1, ..QueueConfig::default() }
}

pub fn lane(lane: Lane) -> CallContext {
    CallContext { lane, ..CallContext::default() }
}

/// A door that batches stand before until it is opened, and a count of those that came.
#[derive(Default)]
pub struct Door {
    open: Mutex<bool>,
    changed: Condvar,
    came: AtomicUsize,
}

impl Door {
    pub fn pass(&self) {
        self.came.fetch_add(1, Ordering::SeqCst);
        let open = self.open.lock().expect("no test panics inside");
        // Bounded, so that a test that fails also ends.
        let limit = Duration::from_secs(60);
        let opened = self.changed.wait_timeout_while(open, limit, |open| !*open);
        drop(opened.expect("no test panics inside"));
    }

    pub fn open(&self) {
        *self.open.lock().expect("no test panics inside") = true;
        self.changed.notify_all();
    }

    pub fn came(&self) -> usize {
        self.came.load(Ordering::SeqCst)
    }
}

/// An encoder whose photo batches stand before a door.
pub fn behind_door() -> (Arc<Faulty>, Arc<Door>) {
    let door = Arc::new(Door::default());
    let inside = door.clone();
    let encoder = Faulty::new(move |_| {
        inside.pass();
        Ok(())
    });
    (encoder, door)
}

/// An encoder whose batches of long texts stand before a door.
pub fn behind_door_for_long_texts() -> (Arc<Faulty>, Arc<Door>) {
    let door = Arc::new(Door::default());
    let faultless = Arc::into_inner(Faulty::new(|_| Ok(()))).expect("nobody else has it");
    (Arc::new(Faulty { long_texts: Some(door.clone()), ..faultless }), door)
}

/// Waits until something holds that the queue's threads bring about.
pub async fn until(what: &str, holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(30), "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

pub fn snapshot(service: &EncoderService, tower: TowerKind, lane: Lane) -> LaneSnapshot {
    let found = service.snapshot().into_iter().find(|one| (one.tower, one.lane) == (tower, lane));
    found.expect("each lane of each tower is in the snapshot")
}

/// Photos of a lane that wait anywhere before inference.
pub fn waiting(service: &EncoderService, lane: Lane) -> usize {
    let LaneSnapshot { waiting, preparing, ready, .. } = snapshot(service, TowerKind::Vision, lane);
    waiting + preparing + ready
}

/// Photos of a lane that wait for a session.
pub fn ready(service: &EncoderService, lane: Lane) -> usize {
    snapshot(service, TowerKind::Vision, lane).ready
}

/// Whether nothing is queued, in work or held.
pub fn is_idle(service: &EncoderService) -> bool {
    service.snapshot().into_iter().all(|lane| {
        let LaneSnapshot { waiting, preparing, ready, running, held_items, held_bytes, .. } = lane;
        waiting + preparing + ready + running + held_items + held_bytes == 0
    })
}

/// Everything that was observed.
#[derive(Default)]
pub struct Log {
    pub batches: Mutex<Vec<BatchReport>>,
    pub items: AtomicUsize,
    pub dropped: Mutex<Vec<(DropReason, usize)>>,
    pub overloaded: AtomicUsize,
}

impl QueueObserver for Log {
    fn batch(&self, report: &BatchReport) {
        self.batches.lock().expect("no test panics inside").push(*report);
    }

    fn item(&self, _: TowerKind, _: Lane, _: &Timings) {
        self.items.fetch_add(1, Ordering::SeqCst);
    }

    fn dropped(&self, _: TowerKind, _: Lane, reason: DropReason, items: usize) {
        self.dropped.lock().expect("no test panics inside").push((reason, items));
    }

    fn overloaded(&self, _: TowerKind, _: Lane, items: usize) {
        self.overloaded.fetch_add(items, Ordering::SeqCst);
    }
}

/// Panics at whatever it is told.
pub struct Panicking;

impl QueueObserver for Panicking {
    fn batch(&self, _: &BatchReport) {
        panic!("an observer that panics");
    }

    fn item(&self, _: TowerKind, _: Lane, _: &Timings) {
        panic!("an observer that panics");
    }

    fn dropped(&self, _: TowerKind, _: Lane, _: DropReason, _: usize) {
        panic!("an observer that panics");
    }

    fn overloaded(&self, _: TowerKind, _: Lane, _: usize) {
        panic!("an observer that panics");
    }
}
