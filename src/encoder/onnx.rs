//! The ONNX Runtime encoder.

use super::check;
use super::{
    Embedding, Encoder, EncoderError, EncoderOptions, StagedEncoder, TextEmbedding, TextTower,
    Tokens, VisionTower,
};
use crate::image::{DecodeOptions, Pixels, Preprocessor};
use crate::model::{Device, ModelError, ModelFolder, ModelManifest, ModelSource};

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
        let folder = ModelFolder::open(source)?;
        let preprocess = folder.manifest.vision.preprocess.clone();
        let preprocessor = Preprocessor::new(preprocess, decode).map_err(|error| {
            ModelError::Manifest { path: folder.path.clone(), message: error.to_string() }
        })?;
        let vision = VisionTower::open(&folder, options)?;
        // Both on one device, also when it was left to choose.
        let text =
            TextTower::open(&folder, &EncoderOptions { device: vision.device(), ..*options })?;
        let encoder = Self { folder, preprocessor, vision, text };
        encoder.report();
        check::check(&encoder)?;
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
                "a graph quantises its activations over the whole batch: every row is run alone, \
                 so that its embedding does not depend on the others"
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
}
