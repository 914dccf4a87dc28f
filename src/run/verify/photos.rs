//! The photos of a run, looked at on all cores.

use std::ops::ControlFlow;
use std::path::PathBuf;

use super::Finding;
use crate::Error;
use crate::base::hash;
use crate::dataset::store::{StampedPhoto, Store};
use crate::dataset::{ImageRef, Photos};
use crate::encoder::{EncoderOptions, OrderedPool, WorkPanicked, in_order};
use crate::image::{ImageError, Preprocessor};
use crate::sandbox::FileAccess;

/// Photos that wait to be looked at together. Each thread holds one in memory at a time.
const WINDOW: usize = 1024;

/// How photos are looked at. The run's own user verifies it, so that any file may be read.
pub(super) struct Look {
    pub preprocessor: Preprocessor,
    /// Whether a photo of the same size and time of change is taken for the same.
    pub trust_stamps: bool,
}

/// How a photo compares with the one that was embedded.
enum Found {
    /// By its hash.
    Same,
    /// By its size and time of change; it was not read.
    Trusted,
    Wrong(String),
}

impl Look {
    /// Decodes files, or says of each why it cannot.
    pub fn decode(&self, paths: &[PathBuf]) -> Vec<Result<(), String>> {
        let decode = |path: &PathBuf| {
            let bytes = self.read(&ImageRef::file(path)).map_err(|error| error.to_string())?;
            self.preprocessor.prepare(&bytes).map(|_| ()).map_err(|error| error.to_string())
        };
        let panicked = |_| Err("the decoder panicked on this file; please report it".to_owned());
        let outcomes = on_all_cores(paths.to_vec(), decode).into_iter();
        outcomes.map(|(_, outcome)| outcome.unwrap_or_else(panicked)).collect()
    }

    fn compare(&self, photo: &StampedPhoto) -> Found {
        let StampedPhoto { image, sha256, stamp } = photo;
        if self.trust_stamps && !stamp.is_empty() && FileAccess::Anywhere.stamp(image) == *stamp {
            return Found::Trusted;
        }
        match self.read(image) {
            Err(error) => Found::Wrong(format!("{image}: {error}")),
            Ok(bytes) if hash::sha256_hex(&bytes) == *sha256 => Found::Same,
            Ok(_) => Found::Wrong(format!("{image} was changed since it was embedded")),
        }
    }

    fn read(&self, photo: &ImageRef) -> Result<Vec<u8>, ImageError> {
        FileAccess::Anywhere.read(photo, &self.preprocessor.options().limits)
    }
}

/// An item's photo, `None` where the item is gone, and the samples made of it.
struct Used {
    item: String,
    photo: Option<StampedPhoto>,
    samples: Vec<String>,
}

/// Compares the photos of samples, which come photo by photo.
pub(super) struct Hashes<'a> {
    store: &'a Store,
    look: &'a Look,
    waiting: Vec<Used>,
    photos: u64,
    trusted: u64,
    problems: Vec<String>,
}

impl<'a> Hashes<'a> {
    pub fn new(store: &'a Store, look: &'a Look) -> Self {
        let (waiting, problems) = (Vec::with_capacity(WINDOW), Vec::new());
        Self { store, look, waiting, photos: 0, trusted: 0, problems }
    }

    /// Takes the next sample, made of the photo of this item.
    ///
    /// # Errors
    /// The store's.
    pub fn take(&mut self, sample: String, item: String) -> Result<(), Error> {
        if let Some(last) = self.waiting.last_mut().filter(|last| last.item == item) {
            last.samples.push(sample);
            return Ok(());
        }
        if self.waiting.len() == WINDOW {
            self.compare();
        }
        let photo = self.store.photo_of(&item)?;
        self.waiting.push(Used { item, photo, samples: vec![sample] });
        Ok(())
    }

    fn compare(&mut self) {
        let compare = |used: &Used| match &used.photo {
            Some(photo) => self.look.compare(photo),
            None => Found::Wrong("its item is gone".to_owned()),
        };
        for (used, found) in on_all_cores(std::mem::take(&mut self.waiting), compare) {
            self.photos += 1;
            let wrong = match found {
                Ok(Found::Same) => continue,
                Ok(Found::Trusted) => {
                    self.trusted += 1;
                    continue;
                }
                Ok(Found::Wrong(wrong)) => wrong,
                Err(WorkPanicked) => "reading its photo panicked; please report it".to_owned(),
            };
            self.problems.extend(used.samples.iter().map(|sample| format!("{sample}: {wrong}")));
        }
    }

    pub fn finish(mut self, samples: u64) -> Finding {
        self.compare();
        let Self { look, photos, trusted, problems, .. } = self;
        let check = match look.trust_stamps {
            false => format!("the photos of {samples} samples have their recorded hash"),
            true => format!(
                "the photos of {samples} samples are those that were embedded: {trusted} of \
                 {photos} by size and time of change, the others by their hash"
            ),
        };
        Finding::new(check, problems)
    }
}

/// What `work` makes of each, in order.
fn on_all_cores<T: Send, R: Send>(
    items: Vec<T>,
    work: impl Fn(&T) -> R + Sync,
) -> Vec<(T, Result<R, WorkPanicked>)> {
    let threads = EncoderOptions::default().resolved_decode_threads();
    let mut done = Vec::with_capacity(items.len());
    let pool = OrderedPool { threads, ahead: threads * 4 };
    in_order(pool, items.into_iter(), work, |item, result| {
        done.push((item, result));
        ControlFlow::Continue(())
    });
    done
}
