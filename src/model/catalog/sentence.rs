//! The sentence embedders that `fastembed` knows, as models of the catalog: no hash of theirs is
//! known beforehand, so that of the first download holds. A user's entry of the same name, with
//! `kind = "sentence"`, may pin them.

use fastembed::{EmbeddingModel, ModelInfo, QuantizationMode, TextEmbedding};

use super::entry::{CatalogFile, CatalogModel, ModelKind};
use crate::model::Precision;

/// Files that `fastembed` makes a tokenizer of.
pub const TOKENIZER_FILES: [&str; 4] =
    ["tokenizer.json", "config.json", "special_tokens_map.json", "tokenizer_config.json"];

/// All of them.
pub(super) fn models() -> impl Iterator<Item = CatalogModel> {
    TextEmbedding::list_supported_models().into_iter().map(|info| model(&info))
}

fn model(info: &ModelInfo<EmbeddingModel>) -> CatalogModel {
    let quantization = TextEmbedding::get_quantization_mode(&info.model);
    let precision = match quantization {
        QuantizationMode::None => Precision::Fp32,
        QuantizationMode::Static | QuantizationMode::Dynamic => Precision::Int8,
    };
    let graph = std::iter::once(&info.model_file).chain(&info.additional_files);
    let mut model = CatalogModel {
        kind: ModelKind::Sentence,
        repo: Some(info.model_code.clone()),
        note: info.description.clone(),
        width: Some(info.dim),
        common: TOKENIZER_FILES.into_iter().map(CatalogFile::new).collect(),
        ..CatalogModel::new(&format!("{:?}", info.model))
    };
    model.set(precision, graph.map(CatalogFile::new).collect());
    model
}
