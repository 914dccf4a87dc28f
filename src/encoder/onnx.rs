//! The ONNX Runtime encoder, and what it must show before it is used: that it answers, and what its
//! manifest expects.

use super::{
    Embedding, Encoder, EncoderError, EncoderOptions, StagedEncoder, TextEmbedding, TextTower,
    Tokens, VisionTower,
};
use crate::image::{DecodeOptions, Pixels, Preprocessor};
use crate::model::onnx::Graph;
use crate::model::{Device, ModelError, ModelFolder, ModelManifest, ModelSource, Precision};

/// Both towers of a model folder.
pub struct OnnxEncoder {
    folder: ModelFolder,
    preprocessor: Preprocessor,
    vision: VisionTower,
    text: TextTower,
}

impl OnnxEncoder {
    /// Opens a model folder, checks its files and loads both graphs. A stand-in says so in the log.
    ///
    /// # Errors
    /// [`ModelError`]: what is missing, changed or refused, and what to do.
    pub fn open(
        source: impl Into<ModelSource>,
        options: &EncoderOptions,
        decode: DecodeOptions,
    ) -> Result<Self, ModelError> {
        Self::of(ModelFolder::open(source)?, options, decode)
    }

    /// Loads both graphs of a folder whose files were checked.
    ///
    /// # Errors
    /// As [`OnnxEncoder::open`].
    pub fn of(
        folder: ModelFolder,
        options: &EncoderOptions,
        decode: DecodeOptions,
    ) -> Result<Self, ModelError> {
        let preprocessor = preprocessor_of(&folder, decode)?;
        let vision = VisionTower::open(&folder, options)?;
        // Both on one device, also when it was left to choose.
        let text =
            TextTower::open(&folder, &EncoderOptions { device: vision.device(), ..*options })?;
        let encoder = Self { folder, preprocessor, vision, text };
        encoder.report();
        check(&encoder)?;
        Ok(encoder)
    }

    /// Says what is in use, and what users have to know of it.
    fn report(&self) {
        let manifest = &self.folder.manifest;
        let device = self.vision.device();
        tracing::info!(model = manifest.name, hash = self.folder.hash, %device, "opened the encoder");
        if let Some(notice) = &manifest.notice {
            tracing::warn!(model = manifest.name, "{notice}");
        }
        if !manifest.batch_independent {
            tracing::warn!(
                model = manifest.name,
                "a graph quantises its activations over the whole batch, or takes one row only: \
                 every row is run alone, so that its embedding does not depend on the others"
            );
        }
    }

    /// The folder the graphs came from.
    pub fn folder(&self) -> &ModelFolder {
        &self.folder
    }

    /// The text tower, for callers that need token counts.
    pub fn text(&self) -> &TextTower {
        &self.text
    }
}

/// The photo preprocessing that a folder's manifest wants.
///
/// # Errors
/// [`ModelError::Manifest`].
pub(super) fn preprocessor_of(
    folder: &ModelFolder,
    decode: DecodeOptions,
) -> Result<Preprocessor, ModelError> {
    let preprocess = folder.manifest.vision.preprocess.clone();
    Preprocessor::new(preprocess, decode).map_err(|error| ModelError::Manifest {
        path: folder.path.clone(),
        message: error.to_string(),
    })
}

impl Encoder for OnnxEncoder {
    fn manifest(&self) -> &ModelManifest {
        &self.folder.manifest
    }

    fn hash(&self) -> &str {
        &self.folder.hash
    }

    fn device(&self) -> Device {
        self.vision.device()
    }

    fn preprocessor(&self) -> &Preprocessor {
        &self.preprocessor
    }

    fn embed_images(&self, batch: &[Pixels]) -> Result<Vec<Embedding>, EncoderError> {
        self.vision.embed(&self.preprocessor, batch)
    }

    fn embed_texts(&self, texts: &[&str]) -> Result<Vec<TextEmbedding>, EncoderError> {
        self.text.embed(texts)
    }
}

impl StagedEncoder for OnnxEncoder {
    fn tokenize(&self, text: &str) -> Result<Tokens, EncoderError> {
        self.text.tokenize(text)
    }

    fn embed_tokens(&self, batch: &[&Tokens]) -> Result<Vec<Embedding>, EncoderError> {
        self.text.embed_tokens(batch)
    }

    fn warm_images(&self, batch: &[Pixels]) -> Result<(), EncoderError> {
        self.vision.warm(&self.preprocessor, batch)
    }

    fn warm_texts(&self, batch: &[&Tokens]) -> Result<(), EncoderError> {
        self.text.warm(batch)
    }
}

/// A text of a few common words.
const TEXT: &str = "a photo of a cat";

/// Fewer values than this say nothing of a direction.
const LEAST_VALUES: usize = 8;

/// Runs both towers once where the manifest was made from the files or holds golden vectors.
///
/// # Errors
/// A tower does not answer as wanted, or its answer is not the golden vector.
pub(super) fn check(encoder: &OnnxEncoder) -> Result<(), ModelError> {
    let folder = encoder.folder();
    let golden = folder.manifest.golden.as_ref();
    if golden.is_none() && !folder.detected {
        return Ok(());
    }
    let text = embed_text(encoder, golden.map_or(TEXT, |golden| &golden.text))?;
    let image = embed_image(encoder)?;
    let Some(golden) = golden else { return Ok(()) };
    if golden.text_vector.len() < LEAST_VALUES {
        let message = format!("golden.text_vector has fewer than {LEAST_VALUES} values");
        return Err(ModelError::Manifest { path: folder.path.clone(), message });
    }
    compare(encoder, "text", &text, &golden.text_vector)?;
    compare(encoder, "vision", &image, &golden.image_vector)
}

fn embed_text(encoder: &OnnxEncoder, text: &str) -> Result<Embedding, ModelError> {
    let embedded = encoder.embed_texts(&[text]).map_err(|error| failed(encoder, &error))?;
    Ok(embedded.into_iter().map(|one| one.vector).next().unwrap_or_default())
}

fn embed_image(encoder: &OnnxEncoder) -> Result<Embedding, ModelError> {
    let card = Pixels::test_card(encoder.preprocessor().config().crop);
    let embedded = encoder.embed_images(&[card]).map_err(|error| failed(encoder, &error))?;
    Ok(embedded.into_iter().next().unwrap_or_default())
}

fn failed(encoder: &OnnxEncoder, error: &super::EncoderError) -> ModelError {
    ModelError::Probe { path: encoder.folder().path.clone(), message: error.to_string() }
}

fn compare(
    encoder: &OnnxEncoder,
    tower: &'static str,
    found: &[f32],
    golden: &[f32],
) -> Result<(), ModelError> {
    let folder = encoder.folder();
    let file = match tower {
        "text" => &folder.manifest.text.file,
        _ => &folder.manifest.vision.file,
    };
    let path = folder.file(file);
    let least = match Graph::read(&path)?.precision() {
        Precision::Fp32 | Precision::Fp16 => 0.999,
        Precision::Int8 | Precision::Q4 => 0.98,
    };
    let cosine = cosine(found, golden);
    if golden.is_empty() || cosine >= least {
        return Ok(());
    }
    Err(ModelError::Golden { path, tower, cosine, least })
}

/// Over the values that both have.
fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    let shared = a.len().min(b.len());
    let (a, b) = (&a[..shared], &b[..shared]);
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}
