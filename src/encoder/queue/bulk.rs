//! The encoder that a job works with: batches of its own, in the bulk lane.

use std::sync::Arc;

use super::line::Line;
use super::tower::{Photos, Texts, Tower};
use super::turn::Turn;
use super::worker::guarded;
use crate::encoder::text::embed_by_length;
use crate::encoder::{Embedding, Encoder, EncoderError, StagedEncoder, TextEmbedding};
use crate::image::{Pixels, Preprocessor};
use crate::model::{Device, ModelManifest};

/// Runs a job's batches when the bulk lane has its turn. Nothing of other callers is mixed in and
/// the cuts depend on the batch alone, so that a vector does not depend on who else calls.
pub(super) struct BulkEncoder {
    pub encoder: Arc<dyn StagedEncoder>,
    pub photos: Arc<Line<Photos>>,
    pub texts: Arc<Line<Texts>>,
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
            let run = || self.encoder.embed_images(part);
            vectors.extend(in_turn(&self.photos, part.len(), run)?);
        }
        Ok(vectors)
    }

    fn embed_texts(&self, texts: &[&str]) -> Result<Vec<TextEmbedding>, EncoderError> {
        let tokens: Result<Vec<_>, _> =
            texts.iter().map(|text| self.encoder.tokenize(text)).collect();
        embed_by_length(&tokens?, |batch| {
            in_turn(&self.texts, batch.len(), || self.encoder.embed_tokens(batch))
        })
    }
}

/// Waits for the bulk lane's turn and runs the batch on this thread.
fn in_turn<T: Tower, R>(
    line: &Line<T>,
    items: usize,
    run: impl FnOnce() -> Result<R, EncoderError>,
) -> Result<R, EncoderError> {
    let (turn, taker) = Turn::new(items);
    line.enqueue_turn(turn)?;
    taker.run(|| guarded(T::KIND.name(), run))?
}
