//! The ONNX Runtime encoder.

use std::path::Path;

use super::{
    Embedding, Encoder, EncoderError, EncoderOptions, StagedEncoder, TextEmbedding, TextTower,
    Tokens, VisionTower,
};
use crate::image::{DecodeOptions, Pixels, Preprocessor};
use crate::model::{ModelError, ModelFolder, ModelManifest};

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
        path: &Path,
        options: &EncoderOptions,
        decode: DecodeOptions,
    ) -> Result<Self, ModelError> {
        let folder = ModelFolder::open(path)?;
        let preprocess = folder.manifest.vision.preprocess.clone();
        let preprocessor = Preprocessor::new(preprocess, decode).map_err(|error| {
            ModelError::Manifest { path: path.join("model.toml"), message: error.to_string() }
        })?;
        let vision = VisionTower::open(&folder, options)?;
        let text = TextTower::open(&folder, options)?;
        if let Some(notice) = &folder.manifest.notice {
            tracing::warn!(model = folder.manifest.name, "{notice}");
        }
        Ok(Self { folder, preprocessor, vision, text })
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
