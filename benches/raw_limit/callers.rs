//! Callers that each send one photo and wait for its vector, over and over.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use pairwright::encoder::queue::{CallContext, EncoderService};

use crate::Photos;

/// A load of the service.
#[derive(Debug, Clone, Copy)]
pub struct Callers {
    pub callers: usize,
    /// Photos in all.
    pub photos: usize,
}

/// What a load came to.
pub struct Run {
    /// Photos per second.
    pub rate: f64,
    /// How long each call took, in milliseconds, sorted.
    pub waits: Vec<f64>,
}

impl Callers {
    pub async fn run(self, service: &EncoderService, photos: &Photos) -> Run {
        let (started, next) = (Instant::now(), Arc::new(AtomicUsize::new(0)));
        let tasks: Vec<_> = (0..self.callers)
            .map(|_| tokio::spawn(call(service.clone(), photos.clone(), next.clone(), self.photos)))
            .collect();
        let mut waits = Vec::new();
        for task in tasks {
            waits.extend(task.await.expect("no caller panics"));
        }
        waits.sort_by(f64::total_cmp);
        Run { rate: self.photos as f64 / started.elapsed().as_secs_f64(), waits }
    }
}

async fn call(
    service: EncoderService,
    photos: Photos,
    next: Arc<AtomicUsize>,
    count: usize,
) -> Vec<f64> {
    let mut waits = Vec::new();
    loop {
        let at = next.fetch_add(1, Ordering::Relaxed);
        if at >= count {
            return waits;
        }
        let photo = photos[at % photos.len()].clone();
        let started = Instant::now();
        let embedded = service.embed_images(vec![photo], &CallContext::default()).await;
        assert!(embedded.expect("admitted").items[0].is_ok());
        waits.push(started.elapsed().as_secs_f64() * 1e3);
    }
}

/// The value that a share of the sorted values does not exceed.
pub fn percentile(sorted: &[f64], share: f64) -> f64 {
    let place = (sorted.len() as f64 * share).ceil() as usize;
    sorted[place.clamp(1, sorted.len()) - 1]
}
