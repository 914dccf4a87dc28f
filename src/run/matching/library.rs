//! What the match stage starts from: the encoder's facts and the library's index.

use std::path::Path;

use crate::base::hash;
use crate::encoder::Encoder;
use crate::index::{IndexConfig, VectorSearch};
use crate::instruction::Library;
use crate::model::ModelManifest;
use crate::{Error, index};

use super::super::settings::EncoderFacts;

/// Texts embedded in one call: bounds the memory that a large library takes.
const TEXTS: usize = 4096;

/// What the run keeps about its encoder.
pub(super) fn facts(manifest: &ModelManifest, hash: &str) -> EncoderFacts {
    EncoderFacts {
        name: manifest.name.clone(),
        hash: hash.to_owned(),
        embedding_dim: manifest.embedding_dim,
        stand_in: manifest.stand_in,
        notice: manifest.notice.clone(),
        files: manifest.files.clone(),
        quality: flatten("", &manifest.quality),
    }
}

/// `a.b = value` rows of a table.
fn flatten(prefix: &str, table: &toml::Table) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    for (name, value) in table {
        match value {
            toml::Value::Table(inner) => rows.extend(flatten(&format!("{prefix}{name}."), inner)),
            toml::Value::String(text) => rows.push((format!("{prefix}{name}"), text.clone())),
            other => rows.push((format!("{prefix}{name}"), other.to_string())),
        }
    }
    rows
}

/// The library's index: read from the run folder where it fits, else built and kept there.
pub(super) fn library_index(
    config: &IndexConfig,
    encoder: &dyn Encoder,
    library: &Library,
    folder: &Path,
) -> Result<Box<dyn VectorSearch>, Error> {
    let path = folder.join("instructions.index");
    let model = hash::key(&[encoder.hash(), &library.wording]);
    // Derived data: whatever is wrong with the file, building it anew is the remedy.
    if let Ok(index) = index::load(&path, &model, config) {
        return Ok(index);
    }
    let texts: Vec<&str> = library.instructions.iter().map(|one| one.text.as_str()).collect();
    let mut index = index::build(config, encoder.dim(), texts.len())?;
    for (part, chunk) in texts.chunks(TEXTS).enumerate() {
        let ids = library.instructions.iter().skip(part * TEXTS);
        for (one, text) in ids.zip(encoder.embed_texts(chunk)?) {
            if text.truncated {
                tracing::warn!(instruction = one.id, "longer than the encoder's context: cut");
            }
            index.add(&one.id, &text.vector)?;
        }
    }
    index.save(&path, &model)?;
    Ok(index)
}
