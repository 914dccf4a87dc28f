//! Text embedders by name, through `fastembed`: for clustering and near-duplicates, where no
//! image is involved.

use std::str::FromStr;

use fastembed::{EmbeddingModel, TextEmbedding as FastEmbedding, TextInitOptions};

use super::{Embedding, EncoderError, unit};
use crate::model::runtime;
use crate::model::store::offline;

/// A named sentence embedder, downloaded at first use into fastembed's cache.
pub struct SentenceEncoder {
    model: FastEmbedding,
}

impl SentenceEncoder {
    /// Opens the model fastembed knows as `name`, for instance `BGESmallENV15`.
    ///
    /// # Errors
    /// The name is unknown, the model cannot be fetched, or the runtime is missing.
    pub fn open(name: &str, intra_threads: usize) -> Result<Self, EncoderError> {
        let failed = |message: String| EncoderError::Sentence { name: name.to_owned(), message };
        let known = EmbeddingModel::from_str(name).map_err(failed)?;
        if offline::is_on() {
            // It fetches what its cache lacks, and has no switch against that.
            return Err(failed(
                "--offline is on, and the library of these models may fetch".into(),
            ));
        }
        // The environment is ours, so that a missing library is our one clear error.
        let mut options =
            TextInitOptions::new(known).with_environment(runtime::environment()?.clone());
        if intra_threads > 0 {
            options = options.with_intra_threads(intra_threads);
        }
        let model = FastEmbedding::try_new(options).map_err(|error| failed(error.to_string()))?;
        Ok(Self { model })
    }

    /// Embeds texts, one unit vector each, in order.
    ///
    /// # Errors
    /// Inference failed.
    pub fn embed(&mut self, texts: &[&str]) -> Result<Vec<Embedding>, EncoderError> {
        let vectors = self.model.embed(texts, None).map_err(|error| EncoderError::Inference {
            tower: "sentence",
            message: error.to_string(),
        })?;
        vectors.iter().enumerate().map(|(row, vector)| unit("sentence", row, vector)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_is_refused_before_anything_is_fetched() {
        let error = SentenceEncoder::open("no-such-model", 1).err().expect("refused");
        assert!(error.to_string().contains("no-such-model"), "{error}");
    }
}
