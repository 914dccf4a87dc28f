//! Sentence embeddings for clustering and for near-duplicates.

use crate::base::hash;
use crate::encoder::{
    Embedding, EncoderError, EncoderOptions, SentenceEncoder, TextMean, TextTower,
};
use crate::model::{ModelFolder, ModelSource};

/// A sentence embedder: fastembed's by name, or the text tower of a dual encoder. Where the model
/// folder tells what its text graph subtracts, that is undone, which for the bundled encoder gives
/// the plain embeddings of all-MiniLM-L6-v2.
pub struct TextEmbedder {
    backend: Backend,
    /// The model in words, for the report.
    pub name: String,
    /// Key of the model and of what is done to its output.
    pub hash: String,
}

enum Backend {
    Tower { tower: Box<TextTower>, mean: Option<TextMean> },
    Sentence(Box<SentenceEncoder>),
}

impl TextEmbedder {
    /// Opens fastembed's `text_model`, or the text tower of the model folder `model`.
    ///
    /// # Errors
    /// The model cannot be fetched, opened or is not what its manifest says.
    pub fn open(
        model: impl Into<ModelSource>,
        text_model: Option<&str>,
        options: &EncoderOptions,
    ) -> Result<Self, EncoderError> {
        if let Some(name) = text_model {
            let encoder = SentenceEncoder::open(name, options.resolved_intra_threads())?;
            let backend = Backend::Sentence(Box::new(encoder));
            return Ok(Self { backend, name: name.into(), hash: hash::key(&["sentence", name]) });
        }
        let folder = ModelFolder::open(model)?;
        let tower = Box::new(TextTower::open(&folder, options)?);
        let mean = TextMean::open(&folder)?;
        let name = &folder.manifest.name;
        let (name, kind) = match mean {
            Some(_) => (format!("{name}, text tower, centring undone"), "uncentred"),
            None => (format!("{name}, text tower"), "text"),
        };
        let hash = hash::key(&[kind, &folder.hash]);
        Ok(Self { backend: Backend::Tower { tower, mean }, name, hash })
    }

    /// Unit vectors of the texts, in order. Each text goes in alone: in a batch its vector would
    /// depend, in its last bits, on the texts beside it, and a resumed run on where it stopped.
    ///
    /// # Errors
    /// A text cannot be tokenised, or inference failed.
    pub fn embed(&mut self, texts: &[&str]) -> Result<Vec<Embedding>, EncoderError> {
        texts.iter().map(|text| self.one(text)).collect()
    }

    fn one(&mut self, text: &str) -> Result<Embedding, EncoderError> {
        let vector = match &mut self.backend {
            Backend::Sentence(encoder) => encoder.embed(&[text])?.pop(),
            Backend::Tower { tower, mean } => {
                let vector = tower.embed(&[text])?.pop().map(|text| text.vector);
                vector.map(|vector| {
                    mean.as_ref().map_or_else(|| vector.clone(), |mean| mean.undo(&vector))
                })
            }
        };
        vector.ok_or_else(|| EncoderError::Shape {
            tower: "sentence",
            found: "no row".into(),
            rows: 1,
            dim: 0,
        })
    }
}
