//! The embed stage: decode, prepare and embed photos, in source order.

use crate::base::failure::Failure;
use std::cell::RefCell;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::base::hash;
use crate::base::key::Key;
use crate::dataset::Photos;
use crate::dataset::names::Names;
use crate::dataset::record::{Rejection, Stage};
use crate::dataset::source::TwinPhotos;
use crate::dataset::store::{DecodedItem, ImageOutcome, NewItem, Store, Twin};
use crate::encoder::{
    Embedding, Encoder, EncoderError, EncoderOptions, OrderedPool, in_order, whole_or_one_by_one,
};
use crate::image::{DecodeOptions, ImageError, ImageInfo, ImageLimits, Pixels};
use crate::{Error, ErrorKind};

use super::twins::Twins;
use crate::work::{Feeder, Phase, Progress, Stop, Throttle};

/// Items read from the store at once: large, since decoding runs dry at the end of each page.
const PAGE: usize = 4096;

/// Batches that may be decoded ahead of the one in inference.
const BATCHES_AHEAD: usize = 4;

/// What the embed stage works with.
pub struct EmbedStage<'a> {
    pub encoder: &'a dyn Encoder,
    pub options: EncoderOptions,
    /// Whether descriptions are embedded too, because the score uses them.
    pub captions: bool,
    pub pass: i64,
    /// What becomes of photos that are nearly the same as others.
    pub twins: TwinPhotos,
    pub photos: &'a dyn Photos,
    /// What a photo's name may have meant that is not there.
    pub names: Names<'a>,
    pub throttle: Option<Arc<dyn Throttle>>,
}

/// Where finished batches go, and who is told of them.
struct Downstream<'a> {
    store: &'a Store,
    embedded: &'a Feeder,
    progress: &'a dyn Progress,
    twins: RefCell<Twins>,
}

/// An item and its photo as it comes from the decoding threads.
type Decoded = (NewItem, Result<ReadyPhoto, Rejection>);

/// What of a decoded photo outlives its pixels, or why there is none.
type Facts = Result<(ImageInfo, String, u64), Rejection>;

/// Why a photo is not ready.
enum Unready {
    Refused(Rejection),
    /// Where it lies cannot be reached now. It is no fault of the photo, which a later run finds.
    Failed(ImageError),
}

/// Whether all photos of the same storage will fail so until somebody or something mends it.
fn ends_run(error: &ImageError) -> bool {
    error.kind() == ErrorKind::Unavailable
        || ["remote_expired", "remote_credentials"].contains(&error.code())
}

struct ReadyPhoto {
    pixels: Pixels,
    info: ImageInfo,
    sha256: String,
}

impl EmbedStage<'_> {
    /// Embeds every item that waits, and commits batch by batch. Batches are cut from the list of
    /// waiting items at fixed places, so that a resumed run forms the same ones: a vector's last
    /// bits may depend on its batch. `embedded` hears of each. Returns how many items were worked.
    ///
    /// # Errors
    /// The store or the encoder failed as a whole. A stop ends early without an error.
    pub fn run(
        &self,
        store: &Store,
        embedded: &Feeder,
        stop: &Stop,
        progress: &dyn Progress,
    ) -> Result<u64, Error> {
        store.reset_unembedded(self.encoder.hash(), self.captions)?;
        if self.twins == TwinPhotos::Skip {
            store.reset_twins(self.pass)?;
        }
        store.reset_refused(self.pass, &self.conf())?;
        let new = store.count_new(self.pass)?;
        progress.expect(Phase::Embed, new);
        if new == 0 {
            progress.finish(Phase::Embed);
            return Ok(0);
        }
        let mut batch = Vec::with_capacity(self.options.batch_size);
        let (mut worked, mut after) = (0, 0);
        let twins = RefCell::new(Twins::read(store, self.pass)?);
        let next = Downstream { store, embedded, progress, twins };
        loop {
            let page = store.new_items(self.pass, after, PAGE)?;
            let Some(last) = page.last() else { break };
            after = last.seq;
            worked += self.page(&next, page, &mut batch, stop)?;
            // A stopped run leaves its open batch for the next start, which forms it again.
            if stop.is_asked() {
                return Ok(worked);
            }
        }
        worked += self.commit(&next, batch)?;
        progress.finish(Phase::Embed);
        Ok(worked)
    }

    /// Returns how many items were committed.
    fn page(
        &self,
        next: &Downstream<'_>,
        page: Vec<NewItem>,
        batch: &mut Vec<Decoded>,
        stop: &Stop,
    ) -> Result<u64, Error> {
        let size = self.options.batch_size;
        let pool = OrderedPool {
            threads: self.options.resolved_decode_threads(),
            ahead: size * BATCHES_AHEAD,
        };
        let mut outcome = Ok(0);
        in_order(
            pool,
            page.into_iter(),
            |item| self.prepare(item),
            |item, photo| {
                let photo = match photo {
                    Ok(Ok(photo)) => Ok(photo),
                    Ok(Err(Unready::Refused(rejection))) => Err(rejection),
                    Ok(Err(Unready::Failed(error))) => {
                        outcome = Err(error.into());
                        return ControlFlow::Break(());
                    }
                    Err(_) => Err(panicked(&item)),
                };
                batch.push((item, photo));
                if batch.len() == size {
                    let committed = self.commit(next, std::mem::take(batch));
                    outcome = committed.map(|more| outcome.as_ref().map_or(0, |n| n + more));
                }
                if outcome.is_ok() && !stop.is_asked() {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            },
        );
        outcome
    }

    /// Key over the settings that decide which photos are refused.
    fn conf(&self) -> String {
        let DecodeOptions { limits, exif_orientation } = self.encoder.preprocessor().options();
        let ImageLimits { max_file_bytes, max_side, max_pixels, max_decoded_bytes } = limits;
        // A key of an earlier release needs no way here: its photos are looked at once more.
        Key::new("image", 2)
            .field("max_file_bytes", *max_file_bytes)
            .field("max_side", *max_side)
            .field("max_pixels", *max_pixels)
            .field("max_decoded_bytes", *max_decoded_bytes)
            .field("exif_orientation", *exif_orientation)
            .unless("photos", self.photos.key(), String::new())
            .unless("twins", self.twins.name(), TwinPhotos::Keep.name())
            .done()
    }

    fn prepare(&self, item: &NewItem) -> Result<ReadyPhoto, Unready> {
        let mut prepared = None;
        if let Some(throttle) = &self.throttle {
            throttle.with(&mut || prepared = Some(self.decode(item)));
        }
        let prepared = prepared.unwrap_or_else(|| self.decode(item));
        prepared.map_err(|error| {
            if ends_run(&error) {
                return Unready::Failed(error);
            }
            Unready::Refused(self.refuse(item, &error))
        })
    }

    fn refuse(&self, item: &NewItem, error: &ImageError) -> Rejection {
        if error.kind() != ErrorKind::NotFound {
            return rejection(item, error.code(), &error.to_string());
        }
        let hint = self.names.hint(&item.image).map_or(String::new(), |hint| format!("; {hint}"));
        rejection(item, "missing_image", &format!("{error}{hint}"))
    }

    fn decode(&self, item: &NewItem) -> Result<ReadyPhoto, ImageError> {
        let preprocessor = self.encoder.preprocessor();
        let bytes = self.photos.read(&item.image, &preprocessor.options().limits)?;
        let (pixels, info) = preprocessor.prepare(&bytes)?;
        Ok(ReadyPhoto { pixels, info, sha256: hash::sha256_hex(&bytes) })
    }

    fn commit(&self, next: &Downstream<'_>, batch: Vec<Decoded>) -> Result<u64, Error> {
        if batch.is_empty() {
            return Ok(0);
        }
        let worked = batch.len() as u64;
        let mut outcomes = self.embed(batch)?;
        self.mark_twins(next, &mut outcomes)?;
        next.store.put_images(self.pass, self.encoder.hash(), &self.conf(), &outcomes)?;
        next.embedded.more();
        next.progress.advance(Phase::Embed, worked);
        Ok(worked)
    }

    /// Says of each photo whether the run has one that is nearly the same.
    fn mark_twins(
        &self,
        next: &Downstream<'_>,
        outcomes: &mut [(NewItem, ImageOutcome)],
    ) -> Result<(), Error> {
        let mut twins = next.twins.borrow_mut();
        for at in 0..outcomes.len() {
            let (before, rest) = outcomes.split_at_mut(at);
            let Some((item, ImageOutcome::Ready(decoded))) = rest.first_mut() else { continue };
            let found = twins.find(next.store, self.encoder.hash(), (&item.id, decoded), before)?;
            let skip = self.twins == TwinPhotos::Skip;
            decoded.twin = found.map(|(of, similarity)| Twin { of, similarity, skip });
            if decoded.twin.is_none() || !skip {
                twins.add(item.seq, decoded.look);
            }
        }
        Ok(())
    }

    fn embed(&self, batch: Vec<Decoded>) -> Result<Vec<(NewItem, ImageOutcome)>, Error> {
        let mut pixels = Vec::new();
        let mut rows = Vec::with_capacity(batch.len());
        for (item, photo) in batch {
            let row = photo.map(|photo| {
                let look = photo.pixels.look();
                pixels.push(photo.pixels);
                (photo.info, photo.sha256, look)
            });
            rows.push((item, row));
        }
        let mut vectors = self.embed_or_one_by_one(&pixels)?.into_iter();
        let mut captions = self.embed_captions(&rows)?.into_iter();
        Ok(rows
            .into_iter()
            .map(|(item, row)| {
                let outcome = match row {
                    Err(rejection) => ImageOutcome::Rejected(rejection),
                    // One vector and one caption stand ready for each decoded row.
                    Ok(facts) => ready(&item, facts, vectors.next(), captions.next().flatten()),
                };
                (item, outcome)
            })
            .collect())
    }

    /// A photo that makes the session fail must not take its batch along.
    fn embed_or_one_by_one(
        &self,
        pixels: &[Pixels],
    ) -> Result<Vec<Result<Embedding, EncoderError>>, Error> {
        let vectors = whole_or_one_by_one(pixels, |pixels| self.encoder.embed_images(pixels));
        if vectors.iter().any(Result::is_ok) {
            return Ok(vectors);
        }
        // None: not a photo's fault then, the session itself is broken.
        Ok(vectors.into_iter().map(|vector| vector.map(Ok)).collect::<Result<_, _>>()?)
    }

    fn embed_captions(&self, rows: &[(NewItem, Facts)]) -> Result<Vec<Option<Embedding>>, Error> {
        let texts: Vec<&str> = rows
            .iter()
            .filter(|(_, row)| row.is_ok())
            .map(|(item, _)| item.description.as_str())
            .collect();
        if !self.captions {
            return Ok(vec![None; texts.len()]);
        }
        let embedded = self.encoder.embed_texts(&texts)?;
        Ok(embedded.into_iter().map(|text| Some(text.vector)).collect())
    }
}

fn ready(
    item: &NewItem,
    (info, sha256, look): (ImageInfo, String, u64),
    vector: Option<Result<Embedding, EncoderError>>,
    caption: Option<Embedding>,
) -> ImageOutcome {
    let vector = match vector {
        Some(Ok(vector)) => vector,
        Some(Err(error)) => return rejected(item, "encoder_failed", &error.to_string()),
        None => return rejected(item, "encoder_failed", "no vector for this photo"),
    };
    ImageOutcome::Ready(DecodedItem {
        item_key: hash::key(&["item", &sha256, &item.description]),
        image_sha256: sha256,
        width: info.width,
        height: info.height,
        format: info.format.to_string(),
        vector,
        caption,
        look,
        twin: None,
    })
}

fn rejected(item: &NewItem, code: &str, reason: &str) -> ImageOutcome {
    ImageOutcome::Rejected(rejection(item, code, reason))
}

fn panicked(item: &NewItem) -> Rejection {
    rejection(item, "decoder_panicked", "the decoder panicked on this file; please report it")
}

fn rejection(item: &NewItem, code: &str, reason: &str) -> Rejection {
    Rejection {
        stage: Stage::Image,
        code: code.to_owned(),
        reason: format!("{}: {reason}", item.image),
        subject: item.id.clone(),
    }
}
