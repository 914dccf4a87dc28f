//! The same work without a queue.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded};
use pairwright::encoder::{Encoder, OnnxEncoder};
use pairwright::image::Pixels;

use crate::Photos;

/// How the cores are split.
#[derive(Debug, Clone, Copy)]
pub struct Split {
    pub sessions: usize,
    pub intra: usize,
    /// Threads that only decode; with 0 each session's thread decodes its own batches.
    pub decode: usize,
    pub batch: usize,
}

impl fmt::Display for Split {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sessions, intra, decode, batch } = self;
        write!(out, "{sessions} sessions of {intra} threads, {decode} to decode, batch {batch}")
    }
}

/// The splits worth trying.
pub fn splits(sessions: usize, intra: usize, cores: usize) -> Vec<Split> {
    let mut splits = Vec::new();
    for decode in [0, 1, cores] {
        for batch in [1, 2, 4, 8, 16] {
            splits.push(Split { sessions, intra, decode, batch });
        }
    }
    splits
}

impl Split {
    /// Photos per second over `count` photos.
    pub fn rate(&self, encoder: &OnnxEncoder, photos: &Photos, count: usize) -> f64 {
        let started = Instant::now();
        let next = AtomicUsize::new(0);
        let prepare = || {
            let at = next.fetch_add(1, Ordering::Relaxed);
            (at < count).then(|| {
                encoder.preprocessor().prepare(&photos[at % photos.len()]).expect("decodes").0
            })
        };
        if self.decode == 0 {
            self.fused(encoder, &prepare)
        } else {
            self.piped(encoder, &prepare)
        }
        count as f64 / started.elapsed().as_secs_f64()
    }

    fn fused(&self, encoder: &OnnxEncoder, prepare: &(impl Fn() -> Option<Pixels> + Sync)) {
        std::thread::scope(|scope| {
            for _ in 0..self.sessions {
                scope.spawn(|| run(encoder, self.batch, prepare));
            }
        });
    }

    fn piped(&self, encoder: &OnnxEncoder, prepare: &(impl Fn() -> Option<Pixels> + Sync)) {
        let (ready, queue) = bounded(self.batch * 4);
        std::thread::scope(|scope| {
            for _ in 0..self.decode {
                let ready: Sender<Pixels> = ready.clone();
                scope.spawn(move || {
                    while let Some(pixels) = prepare() {
                        ready.send(pixels).expect("the sessions listen");
                    }
                });
            }
            drop(ready);
            for _ in 0..self.sessions {
                let queue: Receiver<Pixels> = queue.clone();
                scope.spawn(move || run(encoder, self.batch, &|| queue.recv().ok()));
            }
        });
    }
}

fn run(encoder: &OnnxEncoder, batch: usize, next: &impl Fn() -> Option<Pixels>) {
    loop {
        let pixels: Vec<Pixels> = std::iter::from_fn(next).take(batch).collect();
        if pixels.is_empty() {
            return;
        }
        encoder.embed_images(&pixels).expect("embeds");
    }
}
