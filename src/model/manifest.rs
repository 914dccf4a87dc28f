//! `model.toml`: what a model folder holds and how its inputs are prepared.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::ModelError;
use crate::hash;
use crate::image::PreprocessConfig;
use crate::matching::ModelDefaults;

/// The manifest of a dual-encoder folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelManifest {
    pub name: String,
    pub revision: String,
    /// True for the bundled encoder, which stands in for CLIP where no network is.
    #[serde(default)]
    pub stand_in: bool,
    /// One sentence users must see wherever the model is used.
    #[serde(default)]
    pub notice: Option<String>,
    /// SPDX expression.
    pub license: String,
    /// Width of both towers' embeddings.
    pub embedding_dim: usize,
    /// Whether a row's embedding does not depend on what else is in its batch.
    pub batch_independent: bool,
    pub files: Vec<ModelFile>,
    pub vision: VisionSpec,
    pub text: TextSpec,
    /// Matching defaults that suit this model's scale of cosines.
    pub defaults: ModelDefaults,
    /// Measured quality, free keys, shown as they are.
    #[serde(default)]
    pub quality: toml::Table,
}

/// A file of the folder, pinned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelFile {
    pub name: String,
    pub sha256: String,
    pub bytes: u64,
}

/// The vision graph: `input` f32 [N, 3, crop, crop] to `output` f32 [N, D].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VisionSpec {
    pub file: String,
    pub input: String,
    pub output: String,
    pub preprocess: PreprocessConfig,
}

/// The text graph: ids and mask int64 [N, L] to `output` f32 [N, D].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TextSpec {
    pub file: String,
    pub tokenizer: String,
    pub input_ids: String,
    pub attention_mask: String,
    pub output: String,
    /// Longest sequence in tokens; longer texts are cut and reported as truncated.
    pub context_length: usize,
    /// The vector of D floats (f32, little-endian) that the graph subtracts before its last
    /// normalisation, where it does: with it the text embeddings can be brought back to how they
    /// were before ([`TextMean`](crate::encoder::TextMean)). Not part of the model's hash, which
    /// covers what the graphs read.
    #[serde(default)]
    pub mean: Option<ModelFile>,
}

/// A model folder whose files were found to be those of its manifest.
#[derive(Debug, Clone)]
pub struct ModelFolder {
    pub path: PathBuf,
    pub manifest: ModelManifest,
    /// Key over the SHA-256 of every file and the preprocessing: two runs with the same value
    /// embed alike.
    pub hash: String,
}

impl ModelFolder {
    /// Reads the manifest and checks every file's SHA-256.
    ///
    /// # Errors
    /// [`ModelError`] for a missing folder, an unreadable manifest, or a file that differs.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let manifest_path = path.join("model.toml");
        if !manifest_path.is_file() {
            return Err(ModelError::NoFolder { path: path.to_owned() });
        }
        let text = fs_err::read_to_string(&manifest_path)
            .map_err(|source| ModelError::Io { path: manifest_path.clone(), source })?;
        let manifest: ModelManifest = toml::from_str(&text).map_err(|error| {
            ModelError::Manifest { path: manifest_path.clone(), message: error.to_string() }
        })?;
        for file in manifest.files.iter().chain(&manifest.text.mean) {
            verify(&path.join(&file.name), &file.sha256)?;
        }
        let hash = folder_hash(&manifest);
        Ok(Self { path: path.to_owned(), manifest, hash })
    }

    /// The path of one of the folder's files.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

fn verify(path: &Path, expected: &str) -> Result<(), ModelError> {
    let actual = hash::sha256_file(path)
        .map_err(|source| ModelError::Io { path: path.to_owned(), source })?;
    if actual == expected {
        return Ok(());
    }
    Err(ModelError::HashMismatch { path: path.to_owned(), expected: expected.into(), actual })
}

fn folder_hash(manifest: &ModelManifest) -> String {
    // Floats print alike on every platform (shortest form that reads back).
    let preprocess = format!("{:?}", manifest.vision.preprocess);
    let mut parts = vec![preprocess.as_str()];
    for file in &manifest.files {
        parts.extend([file.name.as_str(), file.sha256.as_str()]);
    }
    hash::key(&parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundled() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("models/mini")
    }

    #[test]
    fn bundled_model_is_what_its_manifest_says() {
        let folder = ModelFolder::open(&bundled()).expect("the bundled model opens");
        assert!(folder.manifest.stand_in);
        assert!(folder.manifest.notice.is_some_and(|notice| notice.contains("not CLIP")));
    }

    #[test]
    fn a_changed_file_is_refused_by_name() {
        let copy = tempfile::tempdir().expect("temp dir");
        for entry in fs_err::read_dir(bundled()).expect("bundled model") {
            let path = entry.expect("entry").path();
            if path.is_file() {
                let name = path.file_name().expect("file name").to_owned();
                fs_err::copy(&path, copy.path().join(name)).expect("copy");
            }
        }
        fs_err::write(copy.path().join("tokenizer.json"), "{}").expect("write");
        let error = ModelFolder::open(copy.path()).expect_err("hash differs");
        assert!(matches!(&error, ModelError::HashMismatch { path, .. }
            if path.ends_with("tokenizer.json")));
    }

    #[test]
    fn a_missing_folder_says_so() {
        let error = ModelFolder::open(Path::new("/nowhere/model")).expect_err("no folder");
        assert!(matches!(error, ModelError::NoFolder { .. }));
    }
}
