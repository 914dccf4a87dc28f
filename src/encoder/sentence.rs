//! Text embedders by name, through `fastembed`: for clustering and near-duplicates, where no
//! image is involved.

use std::path::Path;
use std::str::FromStr;

use fastembed::{
    EmbeddingModel, InitOptionsUserDefined, TextEmbedding as FastEmbedding, TokenizerFiles,
    UserDefinedEmbeddingModel,
};

use super::{Embedding, EncoderError, unit};
use crate::model::catalog::{Catalog, CatalogError};
use crate::model::runtime;
use crate::model::store::{ModelStoreError, Store, default_precision};

/// A named sentence embedder, read from the cache of models.
pub struct SentenceEncoder {
    model: FastEmbedding,
}

impl SentenceEncoder {
    /// Opens the model fastembed knows as `name`, for instance `BGESmallENV15`.
    ///
    /// # Errors
    /// The name is unknown; the model was not fetched, which `pairwright models pull NAME` does; a
    /// file is not what the catalog or its first download says; or the runtime is missing.
    pub fn open(name: &str, intra_threads: usize) -> Result<Self, EncoderError> {
        let failed = |message: String| EncoderError::Sentence { name: name.to_owned(), message };
        let known = EmbeddingModel::from_str(name).map_err(failed)?;
        let store_failed = |error: ModelStoreError| failed(error.to_string());
        let files = read(&known, &Store::from_environment().map_err(store_failed)?)
            .map_err(store_failed)?;
        // The environment is ours, so that a missing library is our one clear error.
        let mut options =
            InitOptionsUserDefined::new().with_environment(runtime::environment()?.clone());
        if intra_threads > 0 {
            options = options.with_intra_threads(intra_threads);
        }
        let model = FastEmbedding::try_new_from_user_defined(files, options);
        Ok(Self { model: model.map_err(|error| failed(error.to_string()))? })
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

/// A model's files from the cache, checked against their hashes.
fn read(
    known: &EmbeddingModel,
    store: &Store,
) -> Result<UserDefinedEmbeddingModel, ModelStoreError> {
    let (catalog, name) = (Catalog::load()?, format!("{known:?}"));
    let folder = store.resolve(&catalog, &name, None)?;
    let model = catalog.find(&name)?;
    store.check(model, default_precision(model)?)?;
    let file = |path: &str| {
        let path = folder.join(path);
        fs_err::read(&path).map_err(|source| ModelStoreError::Io { path, source })
    };
    let tokenizer_files = TokenizerFiles {
        tokenizer_file: file("tokenizer.json")?,
        config_file: file("config.json")?,
        special_tokens_map_file: file("special_tokens_map.json")?,
        tokenizer_config_file: file("tokenizer_config.json")?,
    };
    let info = FastEmbedding::get_model_info(known)
        .map_err(|_| CatalogError::Unknown { name: name.clone(), nearest: Vec::new() })?;
    let mut files = UserDefinedEmbeddingModel::new(file(&info.model_file)?, tokenizer_files)
        .with_quantization(FastEmbedding::get_quantization_mode(known));
    files.pooling = FastEmbedding::get_default_pooling_method(known);
    files.output_key.clone_from(&info.output_key);
    for path in &info.additional_files {
        let name = Path::new(path).file_name().unwrap_or_default().to_string_lossy();
        files = files.with_external_initializer(name.into_owned(), file(path)?);
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_is_refused_before_the_cache_is_looked_at() {
        let error = SentenceEncoder::open("no-such-model", 1).err().expect("refused");
        assert!(error.to_string().contains("no-such-model"), "{error}");
    }
}
