//! Dual encoders: photos and texts into one space of unit vectors.

mod lazy;
mod onnx;
mod ordered;
pub mod queue;
mod rows;
mod sentence;
mod sessions;
mod text;
mod tokens;
mod vision;

pub use lazy::LazyEncoder;
pub use onnx::OnnxEncoder;
pub use ordered::{OrderedPool, WorkPanicked, in_order};
pub use rows::whole_or_one_by_one;
pub use sentence::SentenceEncoder;
pub use text::{TextMean, TextTower};
pub use tokens::{TextTokenizer, Tokens};
pub use vision::VisionTower;

use serde::{Deserialize, Serialize};

use crate::ErrorKind;
use crate::base::failure::Failure;
use crate::image::{Pixels, Preprocessor};
use crate::model::runtime::SessionOptions;
use crate::model::{Device, ModelError, ModelManifest};

/// Why an encoder could not embed.
#[derive(Debug, thiserror::Error)]
pub enum EncoderError {
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error("{tower} inference failed: {message}")]
    Inference { tower: &'static str, message: String },
    #[error("{tower} graph answered shape {found}, wanted [{rows}, {dim}]")]
    Shape { tower: &'static str, found: String, rows: usize, dim: usize },
    #[error("the encoder answered {found} vectors for {wanted} rows")]
    Rows { wanted: usize, found: usize },
    #[error("{tower} graph answered a vector with no direction (zero or not finite) for row {row}")]
    Degenerate { tower: &'static str, row: usize },
    #[error("text model {name:?}: {message}")]
    Sentence { name: String, message: String },
    #[error("text cannot be tokenised: {message}")]
    Tokenize { message: String },
    #[error("{tower} inference panicked; please report it")]
    Panicked { tower: &'static str },
    #[error("the encoder is shutting down")]
    Closed,
}

impl Failure for EncoderError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Model(error) => error.kind(),
            Self::Tokenize { .. } => ErrorKind::InvalidInput,
            Self::Sentence { .. } => ErrorKind::FailedPrecondition,
            Self::Closed => ErrorKind::Unavailable,
            Self::Inference { .. }
            | Self::Shape { .. }
            | Self::Rows { .. }
            | Self::Degenerate { .. }
            | Self::Panicked { .. } => ErrorKind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        "encoder_failed"
    }
}

/// A unit vector of f32, width [`Encoder::dim`].
pub type Embedding = Vec<f32>;

/// The cosine of unit vectors of one width, in double precision: a sum of floats may pass 1.
pub fn cosine(one: &[f32], other: &[f32]) -> f64 {
    // Eight sums side by side, always in the same order: in one alone, each addition would wait
    // for the one before.
    let mut sums = [0f64; 8];
    let (left, right) = (one.chunks_exact(8), other.chunks_exact(8));
    let rest = left.remainder().iter().zip(right.remainder());
    let rest: f64 = rest.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
    for (left, right) in left.zip(right) {
        for lane in 0..8 {
            sums[lane] += f64::from(left[lane]) * f64::from(right[lane]);
        }
    }
    sums.iter().sum::<f64>() + rest
}

/// A text's embedding and what the tokenizer did to it.
#[derive(Debug, Clone, PartialEq)]
pub struct TextEmbedding {
    pub vector: Embedding,
    /// Tokens that went in, specials included.
    pub tokens: usize,
    /// True when the text was longer than the model's context and lost its end.
    pub truncated: bool,
}

/// How sessions use the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EncoderOptions {
    /// Sessions of the vision graph, 1 to 64: batches that may run at once. Each holds the weights.
    pub sessions: usize,
    /// Threads inside one inference call; 0 means one per core.
    pub intra_threads: usize,
    /// Rows per inference call, 1 to 256.
    pub batch_size: usize,
    /// Threads that decode and resize photos; 0 means one per core.
    pub decode_threads: usize,
    /// What inference runs on.
    pub device: Device,
    /// Sessions of the text graph on the CPU, at least 1: batches of texts that run at once. Each
    /// holds the weights.
    #[serde(skip)]
    pub text_sessions: usize,
    /// Whether the vision graph has one more session, over all cores, for a batch that comes while
    /// nothing else runs. It holds the weights once more. On the CPU only.
    #[serde(skip)]
    pub wide_session: bool,
}

impl Default for EncoderOptions {
    fn default() -> Self {
        Self {
            sessions: 1,
            intra_threads: 0,
            batch_size: 8,
            decode_threads: 0,
            device: Device::Auto,
            text_sessions: 1,
            wide_session: false,
        }
    }
}

impl EncoderOptions {
    /// Threads inside one inference call, zero resolved.
    pub fn resolved_intra_threads(&self) -> usize {
        or_cores(self.intra_threads)
    }

    /// How each session is opened.
    pub fn session(&self) -> SessionOptions {
        SessionOptions { intra_threads: self.resolved_intra_threads(), device: self.device }
    }

    /// Decoding threads, zero resolved.
    pub fn resolved_decode_threads(&self) -> usize {
        or_cores(self.decode_threads)
    }
}

fn or_cores(threads: usize) -> usize {
    if threads > 0 {
        return threads;
    }
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// A model that embeds photos and texts into one space.
pub trait Encoder: Send + Sync {
    /// The manifest of the model in use.
    fn manifest(&self) -> &ModelManifest;
    /// Key over every file that was loaded and the preprocessing.
    fn hash(&self) -> &str;
    /// Width of the embeddings.
    fn dim(&self) -> usize {
        self.manifest().embedding_dim
    }
    /// What the vision graph runs on.
    fn device(&self) -> Device;
    /// The photo preprocessing this model wants.
    fn preprocessor(&self) -> &Preprocessor;
    /// Embeds prepared photos, one unit vector each, in order.
    ///
    /// # Errors
    /// The session failed or answered something else than `[N, dim]` finite values.
    fn embed_images(&self, batch: &[Pixels]) -> Result<Vec<Embedding>, EncoderError>;
    /// Embeds texts, one unit vector each, in order.
    ///
    /// # Errors
    /// As [`Encoder::embed_images`], or a text that cannot be tokenised.
    fn embed_texts(&self, texts: &[&str]) -> Result<Vec<TextEmbedding>, EncoderError>;
}

/// An encoder that can tokenise a text apart from running it, so that a queue may batch texts of
/// like length.
pub trait StagedEncoder: Encoder {
    /// A text as the graph gets it.
    ///
    /// # Errors
    /// The tokenizer refuses the text.
    fn tokenize(&self, text: &str) -> Result<Tokens, EncoderError>;
    /// Embeds tokenised texts in one inference call, one unit vector each, in order.
    ///
    /// # Errors
    /// As [`Encoder::embed_images`].
    fn embed_tokens(&self, batch: &[&Tokens]) -> Result<Vec<Embedding>, EncoderError>;
    /// Embeds photos on every session in turn, so that no later call pays for its first time.
    ///
    /// # Errors
    /// As [`Encoder::embed_images`].
    fn warm_images(&self, batch: &[Pixels]) -> Result<(), EncoderError> {
        self.embed_images(batch).map(drop)
    }
    /// As [`StagedEncoder::warm_images`] tokenised texts.
    ///
    /// # Errors
    /// As [`Encoder::embed_images`].
    fn warm_texts(&self, batch: &[&Tokens]) -> Result<(), EncoderError> {
        self.embed_tokens(batch).map(drop)
    }
}

fn unit(tower: &'static str, row: usize, values: &[f32]) -> Result<Embedding, EncoderError> {
    let norm = values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    if !norm.is_finite() || norm < 1e-12 {
        return Err(EncoderError::Degenerate { tower, row });
    }
    Ok(values.iter().map(|value| (f64::from(*value) / norm) as f32).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_and_nan_rows_are_errors() {
        for bad in [[0.0, 0.0], [f32::NAN, 1.0]] {
            let error = unit("text", 0, &bad).expect_err("no direction");
            assert!(matches!(error, EncoderError::Degenerate { row: 0, .. }));
        }
    }
}
