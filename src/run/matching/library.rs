//! What the match stage starts from: the encoder's facts and the library's index.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::hash;
use crate::encoder::{Encoder, TextEmbedding};
use crate::index::{
    HeldBack, IndexConfig, IndexError, LocalIndex, Measurement, Modality, SearchFacts, VectorSearch,
};
use crate::instruction::{Instruction, Library};
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

/// The library's index, in memory and in the run folder.
pub(super) struct LibraryIndex {
    index: Arc<dyn LocalIndex>,
    path: PathBuf,
    /// What the file says it is of.
    model: String,
}

impl LibraryIndex {
    /// Read from the run folder where it fits, else built and kept there.
    pub fn open(
        config: &IndexConfig,
        encoder: &dyn Encoder,
        library: &Library,
        folder: &Path,
    ) -> Result<Self, Error> {
        let path = folder.join("instructions.index");
        let model = hash::key(&[encoder.hash(), &library.wording]);
        // Derived data: whatever is wrong with the file, building it anew is the remedy.
        if let Ok(index) = index::load(&path, &model, config) {
            return Ok(Self { index: Arc::from(index), path, model });
        }
        let index = Arc::from(built(config, encoder, library)?);
        let index = Self { index, path, model };
        index.save()?;
        Ok(index)
    }

    pub fn search(&self) -> Arc<dyn VectorSearch> {
        Arc::clone(&self.index) as Arc<dyn VectorSearch>
    }

    pub fn facts(&self) -> SearchFacts {
        self.index.facts()
    }

    /// Whether it is yet to be measured with photos.
    pub fn waits_for_photos(&self) -> bool {
        self.index.graph().is_some_and(|graph| graph.recall(Modality::Image).is_none())
    }

    /// Measures with photos' queries of length 1, if they are enough, and keeps the result, so
    /// that a resumed run searches as this one does. Whether they were.
    pub fn measure(&self, queries: Vec<Vec<f32>>) -> Result<bool, Error> {
        Measurement::new(Modality::Image, queries).run(&*self.index)?;
        let measured = !self.waits_for_photos();
        if measured {
            self.save()?;
        }
        Ok(measured)
    }

    fn save(&self) -> Result<(), IndexError> {
        self.index.save(&self.path, &self.model)
    }
}

fn built(
    config: &IndexConfig,
    encoder: &dyn Encoder,
    library: &Library,
) -> Result<Box<dyn LocalIndex>, Error> {
    let texts: Vec<&str> = library.instructions.iter().map(|one| one.text.as_str()).collect();
    let mut index = index::build(config, encoder.dim(), texts.len())?;
    let mut held_back = HeldBack::new(&*index, texts.len());
    for (part, chunk) in texts.chunks(TEXTS).enumerate() {
        let instructions = library.instructions.iter().skip(part * TEXTS);
        let item = |(one, text): (&Instruction, TextEmbedding)| {
            if text.truncated {
                tracing::warn!(instruction = one.id, "longer than the encoder's context: cut");
            }
            (one.id.clone(), text.vector)
        };
        let items = instructions.zip(encoder.embed_texts(chunk)?).map(item).collect();
        for (id, vector) in held_back.sift(items) {
            index.add(&id, &vector)?;
        }
    }
    held_back.finish(&mut *index, Modality::Text)?;
    Ok(index)
}
