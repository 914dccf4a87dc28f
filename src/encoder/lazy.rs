//! An encoder that is loaded when it is first needed.

use std::sync::{Mutex, OnceLock, PoisonError};

use super::onnx::preprocessor_of;
use super::{Embedding, Encoder, EncoderError, EncoderOptions, OnnxEncoder, TextEmbedding};
use crate::image::{DecodeOptions, Pixels, Preprocessor};
use crate::model::{Device, ModelError, ModelFolder, ModelManifest, ModelSource};

/// A model folder whose files were checked and whose graphs are loaded by the first photo or text:
/// a resumed run that finds nothing new never loads them.
pub struct LazyEncoder {
    folder: ModelFolder,
    options: EncoderOptions,
    preprocessor: Preprocessor,
    opened: OnceLock<OnnxEncoder>,
    opening: Mutex<()>,
}

impl LazyEncoder {
    /// Opens a model folder and checks its files.
    ///
    /// # Errors
    /// As [`OnnxEncoder::open`], but for what only the graphs show: that comes with the first photo
    /// or text.
    pub fn open(
        source: impl Into<ModelSource>,
        options: &EncoderOptions,
        decode: DecodeOptions,
    ) -> Result<Self, ModelError> {
        let folder = ModelFolder::open(source)?;
        let preprocessor = preprocessor_of(&folder, decode)?;
        let (opened, opening) = (OnceLock::new(), Mutex::default());
        Ok(Self { folder, options: *options, preprocessor, opened, opening })
    }

    fn opened(&self) -> Result<&OnnxEncoder, EncoderError> {
        let _one = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(encoder) = self.opened.get() {
            return Ok(encoder);
        }
        let decode = *self.preprocessor.options();
        let encoder = OnnxEncoder::of(self.folder.clone(), &self.options, decode)?;
        Ok(self.opened.get_or_init(|| encoder))
    }
}

impl Encoder for LazyEncoder {
    fn manifest(&self) -> &ModelManifest {
        &self.folder.manifest
    }

    fn hash(&self) -> &str {
        &self.folder.hash
    }

    /// The one that was asked for, until it is loaded.
    fn device(&self) -> Device {
        self.opened.get().map_or(self.options.device, Encoder::device)
    }

    fn preprocessor(&self) -> &Preprocessor {
        &self.preprocessor
    }

    fn embed_images(&self, batch: &[Pixels]) -> Result<Vec<Embedding>, EncoderError> {
        self.opened()?.embed_images(batch)
    }

    fn embed_texts(&self, texts: &[&str]) -> Result<Vec<TextEmbedding>, EncoderError> {
        self.opened()?.embed_texts(texts)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn it_is_loaded_by_the_first_text_and_embeds_as_the_one_that_is_there_at_once() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/mini");
        let options = EncoderOptions { device: Device::Cpu, ..EncoderOptions::default() };
        let lazy = LazyEncoder::open(&folder, &options, DecodeOptions::default());
        let lazy = lazy.expect("opens; run `make setup` once");
        let eager = OnnxEncoder::open(&folder, &options, DecodeOptions::default()).expect("opens");
        assert_eq!((lazy.hash(), lazy.dim()), (eager.hash(), eager.dim()));
        assert!(lazy.opened.get().is_none());
        let texts = ["a cat", "two dogs on a meadow"];
        let embedded = lazy.embed_texts(&texts).expect("embeds");
        assert_eq!(embedded, eager.embed_texts(&texts).expect("embeds"));
        assert!(lazy.opened.get().is_some());
        assert!(
            LazyEncoder::open(Path::new("/nowhere"), &options, DecodeOptions::default()).is_err()
        );
    }
}
