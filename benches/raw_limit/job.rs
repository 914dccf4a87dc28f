//! A job flat out: it decodes in threads of its own and embeds in the bulk lane.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use pairwright::encoder::queue::EncoderService;
use pairwright::encoder::{EncoderOptions, OrderedPool, in_order};

use crate::Photos;

/// A job that runs until it is stopped.
pub struct BesideJob {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<f64>,
}

impl BesideJob {
    pub fn start(service: &EncoderService, photos: &Photos) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (service, photos, asked) = (service.clone(), photos.clone(), stop.clone());
        let thread = std::thread::spawn(move || work(&service, &photos, &asked));
        Self { stop, thread }
    }

    /// Its photos per second.
    pub fn stop(self) -> f64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the job ends well")
    }
}

/// As the embed stage of a run does it.
fn work(service: &EncoderService, photos: &Photos, stop: &AtomicBool) -> f64 {
    let (encoder, gate) = (service.bulk_encoder(), service.bulk_throttle());
    let options = EncoderOptions::default();
    let batch_size = options.batch_size;
    let pool = OrderedPool { threads: options.resolved_decode_threads(), ahead: batch_size * 4 };
    let (started, mut done) = (Instant::now(), 0);
    let mut batch = Vec::new();
    let prepare = |at: &usize| {
        let _pass = gate.enter();
        encoder.preprocessor().prepare(&photos[at % photos.len()]).expect("decodes").0
    };
    in_order(pool, 0.., prepare, |_, pixels| {
        batch.push(pixels.expect("no panic"));
        if batch.len() == batch_size {
            done += encoder.embed_images(&std::mem::take(&mut batch)).expect("embeds").len();
        }
        if stop.load(Ordering::Relaxed) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    done as f64 / started.elapsed().as_secs_f64()
}
