//! A model folder whose files are what its manifest says.

use std::path::{Path, PathBuf};

use super::ModelError;
use super::manifest::{ModelManifest, Padding, Pooling, TextSpec, TokenizerSpec};
use crate::hash;

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
    let mut parts = vec![manifest.vision.preprocess.fingerprint()];
    for file in &manifest.files {
        parts.extend([file.name.clone(), file.sha256.clone()]);
    }
    parts.extend(behaviour(manifest));
    hash::key(&parts.iter().map(String::as_str).collect::<Vec<_>>())
}

/// What changes the embeddings beside the files and the preprocessing. Empty for a folder as they
/// all were before these settings came, so that older hashes hold.
fn behaviour(manifest: &ModelManifest) -> Vec<String> {
    let ModelManifest { vision, text, .. } = manifest;
    let TextSpec { padding, context_length, pad_id, .. } = text;
    let output = |given: &str, usual: &str| (given != usual).then(|| format!("output {given}"));
    let pooled = |pooling: Pooling| {
        (pooling != Pooling::None).then(|| format!("pooling {pooling:?}").to_lowercase())
    };
    let padded = *padding == Padding::Context;
    let built_in = !matches!(text.tokenizer, TokenizerSpec::File(_));
    let settings = [
        output(&vision.output, "image_embeds"),
        pooled(vision.pooling),
        output(&text.output, "text_embeds").map(|name| format!("text {name}")),
        pooled(text.pooling).map(|pooling| format!("text {pooling}")),
        padded.then(|| format!("padded to {context_length} with {pad_id}")),
        built_in.then(|| format!("tokenizer {:?}", text.tokenizer)),
        text.prompt.as_ref().map(|prompt| format!("prompt {prompt}")),
    ];
    settings.into_iter().flatten().collect()
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
        // Runs and indexes made with it are bound to this value.
        assert_eq!(folder.hash, "dfb935ab436c3cd274fc064bc030dc2b");
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
