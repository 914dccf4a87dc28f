//! What the queue needs of each tower: prepare one item, run a batch.

use std::sync::Arc;

use bytes::Bytes;

use super::admission::Size;
use super::error::ItemError;
use super::lane::TowerKind;
use crate::encoder::{Embedding, EncoderError, StagedEncoder, Tokens};
use crate::image::{ImageInfo, Pixels, pixels};
use crate::model::manifest::Padding;

/// One tower: the queue is the same for both.
pub(super) trait Tower: Send + Sync + 'static {
    /// An item as the caller gives it.
    type Raw: Clone + Send + Sync + 'static;
    /// An item as the graph gets it.
    type Ready: Send + 'static;
    /// What preparing found out about the item.
    type Facts: Send + 'static;

    const KIND: TowerKind;
    /// Preparing an item that costs more is slow.
    const SLOW: usize;

    /// Bytes that an item holds until it is prepared.
    fn raw_bytes(&self, raw: &Self::Raw) -> usize;
    /// Bytes at most that a prepared item holds until it is answered.
    fn ready_bytes(&self) -> usize;
    /// Places that an item takes: they are reserved before the first of them is needed.
    fn size(&self, raw: &Self::Raw) -> Size {
        Size { items: 1, bytes: self.raw_bytes(raw) + self.ready_bytes() }
    }
    /// What preparing an item costs, in a unit of its own: so that callers have alike of it.
    fn raw_cost(&self, raw: &Self::Raw) -> usize;
    /// Decodes or tokenises.
    fn prepare(&self, raw: &Self::Raw) -> Result<(Self::Ready, Self::Facts), ItemError>;
    /// Cost of an item in a batch. A batch costs its dearest item times its items.
    fn cost(&self, ready: &Self::Ready) -> usize;
    /// One inference call.
    fn run(&self, batch: &[Self::Ready]) -> Result<Vec<Embedding>, EncoderError>;
}

/// Pixels of the largest photo that is quick to decode: it takes up to a tenth of a second.
pub const QUICK_PIXELS: usize = 8_000_000;

/// Photos. Costs are bytes of f32 pixels.
pub(super) struct Photos(pub Arc<dyn StagedEncoder>);

impl Tower for Photos {
    type Raw = Bytes;
    type Ready = Pixels;
    type Facts = ImageInfo;

    const KIND: TowerKind = TowerKind::Vision;
    const SLOW: usize = QUICK_PIXELS;

    fn raw_bytes(&self, raw: &Bytes) -> usize {
        raw.len()
    }

    fn ready_bytes(&self) -> usize {
        self.0.preprocessor().tensor_len()
    }

    /// Pixels, as the header tells them; the length of what has none.
    fn raw_cost(&self, raw: &Bytes) -> usize {
        pixels(raw).map_or(raw.len(), |pixels| usize::try_from(pixels).unwrap_or(usize::MAX)).max(1)
    }

    fn prepare(&self, raw: &Bytes) -> Result<(Pixels, ImageInfo), ItemError> {
        Ok(self.0.preprocessor().prepare(raw)?)
    }

    fn cost(&self, ready: &Pixels) -> usize {
        ready.rgb.len() * size_of::<f32>()
    }

    fn run(&self, batch: &[Pixels]) -> Result<Vec<Embedding>, EncoderError> {
        self.0.embed_images(batch)
    }
}

/// Texts. Costs are tokens.
pub(super) struct Texts(pub Arc<dyn StagedEncoder>);

/// What tokenising found out about a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TextFacts {
    pub tokens: usize,
    pub truncated: bool,
}

impl Tower for Texts {
    type Raw = String;
    type Ready = Tokens;
    type Facts = TextFacts;

    const KIND: TowerKind = TowerKind::Text;
    /// None is: a text is cut to what the model reads before it is split into tokens.
    const SLOW: usize = usize::MAX;

    fn raw_bytes(&self, raw: &String) -> usize {
        raw.len()
    }

    fn ready_bytes(&self) -> usize {
        // An id and a mask of four bytes for each token.
        self.0.manifest().text.context_length * 8
    }

    /// Bytes.
    fn raw_cost(&self, raw: &String) -> usize {
        raw.len().max(1)
    }

    fn prepare(&self, raw: &String) -> Result<(Tokens, TextFacts), ItemError> {
        let tokens = self.0.tokenize(raw)?;
        let facts = TextFacts { tokens: tokens.count(), truncated: tokens.truncated() };
        Ok((tokens, facts))
    }

    fn cost(&self, ready: &Tokens) -> usize {
        match self.0.manifest().text.padding {
            Padding::Longest | Padding::Never => ready.count(),
            Padding::Context => self.0.manifest().text.context_length,
        }
    }

    fn run(&self, batch: &[Tokens]) -> Result<Vec<Embedding>, EncoderError> {
        let batch: Vec<&Tokens> = batch.iter().collect();
        self.0.embed_tokens(&batch)
    }
}
