//! Which model is meant, and its folder, whose files are what its manifest says.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::manifest::{BuiltinTokenizer, ModelManifest, Padding, Pooling, TextSpec, TokenizerSpec};
use super::{ModelError, detect};
use crate::base::hash;

/// How a graph's weights are stored.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floats.
    Fp32,
    /// 16-bit floats.
    Fp16,
    /// 8-bit integers.
    Int8,
    /// 4 bits.
    Q4,
}

impl Precision {
    /// All of them, the most exact first: the order in which one is chosen.
    pub const ALL: [Self; 4] = [Self::Fp32, Self::Fp16, Self::Int8, Self::Q4];
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fp32 => "fp32",
            Self::Fp16 => "fp16",
            Self::Int8 => "int8",
            Self::Q4 => "q4",
        })
    }
}

/// A model on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModelSource {
    /// A folder with `model.toml`, or an export's.
    pub path: PathBuf,
    /// The folder of the text graph and the tokenizer, where that is another one.
    pub text_path: Option<PathBuf>,
    /// Which graphs of an export to take; the most exact when absent.
    pub precision: Option<Precision>,
    /// What is put around each text, in the place of what the model's manifest says.
    pub prompt: Option<String>,
}

impl ModelSource {
    /// Checks what can be wrong before any file is looked at.
    pub(super) fn validate(&self) -> Result<(), ModelError> {
        self.prompt.as_deref().map_or(Ok(()), check_prompt)
    }
}

/// Whether a prompt says once where the text goes.
fn check_prompt(prompt: &str) -> Result<(), ModelError> {
    match prompt.matches("{}").count() {
        1 => Ok(()),
        _ => Err(ModelError::Prompt { prompt: prompt.to_owned() }),
    }
}

impl From<&Path> for ModelSource {
    fn from(path: &Path) -> Self {
        Self { path: path.to_owned(), ..Self::default() }
    }
}

impl From<&PathBuf> for ModelSource {
    fn from(path: &PathBuf) -> Self {
        path.as_path().into()
    }
}

/// The part of a file's name that stands for the text graph's own folder, where there is one.
pub(super) const TEXT_FOLDER: &str = "text:";

/// A model folder whose files were found to be those of its manifest.
#[derive(Debug, Clone)]
pub struct ModelFolder {
    pub path: PathBuf,
    /// The folder of the text graph, where that is another one.
    pub text_path: Option<PathBuf>,
    pub manifest: ModelManifest,
    /// Key over the SHA-256 of every file and the preprocessing: two runs with the same value
    /// embed alike.
    pub hash: String,
    /// Whether the manifest was made from the files, there being no `model.toml`.
    pub detected: bool,
}

impl ModelFolder {
    /// Reads `model.toml` and checks every file's SHA-256; where there is none, makes the manifest
    /// from the graphs and the configuration files of the export.
    ///
    /// # Errors
    /// [`ModelError`] for a missing folder, an unreadable manifest, a file that differs, or an
    /// export that is not a CLIP-like pair of towers.
    pub fn open(source: impl Into<ModelSource>) -> Result<Self, ModelError> {
        let source = source.into();
        source.validate()?;
        if !source.path.is_dir() {
            return Err(ModelError::NoFolder { path: source.path });
        }
        let manifest_path = source.path.join("model.toml");
        let detected = !manifest_path.is_file();
        let mut manifest = match detected {
            true => detect::manifest(&source)?,
            false => pinned(&source, &manifest_path)?,
        };
        manifest.text.prompt = source.prompt.or(manifest.text.prompt);
        let hash = folder_hash(&manifest);
        let ModelSource { path, text_path, .. } = source;
        Ok(Self { path, text_path, manifest, hash, detected })
    }

    /// The path of one of the folder's files.
    pub fn file(&self, name: &str) -> PathBuf {
        file_in(&self.path, self.text_path.as_deref(), name)
    }
}

/// Where the file is that a manifest calls `name`.
pub(super) fn file_in(path: &Path, text_path: Option<&Path>, name: &str) -> PathBuf {
    match (name.strip_prefix(TEXT_FOLDER), text_path) {
        (Some(name), Some(folder)) => folder.join(name),
        _ => path.join(name),
    }
}

/// The manifest in `path`, its files found to be what it says.
fn pinned(source: &ModelSource, path: &Path) -> Result<ModelManifest, ModelError> {
    let refused = |message: String| ModelError::Manifest { path: path.to_owned(), message };
    let text = fs_err::read_to_string(path)
        .map_err(|source| ModelError::Io { path: path.to_owned(), source })?;
    let manifest: ModelManifest = toml::from_str(&text).map_err(|e| refused(e.to_string()))?;
    if source.text_path.is_some() {
        return Err(refused("it names both graphs, so --model-text has no place here".into()));
    }
    manifest.text.prompt.as_deref().map_or(Ok(()), check_prompt)?;
    for file in manifest.files.iter().chain(&manifest.text.mean) {
        verify(&source.path.join(&file.name), &file.sha256)?;
    }
    if let Some(wanted) = source.precision {
        check_precision(&source.path.join(&manifest.vision.file), wanted)?;
        check_precision(&source.path.join(&manifest.text.file), wanted)?;
    }
    Ok(manifest)
}

/// A manifest names its graphs: another precision cannot be chosen.
fn check_precision(graph: &Path, wanted: Precision) -> Result<(), ModelError> {
    let found = super::onnx::Graph::read(graph)?.precision();
    if found == wanted {
        return Ok(());
    }
    let (wanted, found) = (wanted.to_string(), format!("{found}, pinned by model.toml"));
    Err(ModelError::NoPrecision { path: graph.to_owned(), wanted, found })
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
        (pooling != Pooling::None).then(|| format!("pooling {}", pooling.name()))
    };
    let padded = *padding == Padding::Context;
    let tokenizer = match &text.tokenizer {
        TokenizerSpec::File(_) => None,
        TokenizerSpec::ClipFiles { vocab, merges } => {
            Some(format!("tokenizer ClipFiles {{ vocab: {vocab:?}, merges: {merges:?} }}"))
        }
        TokenizerSpec::Builtin { builtin: BuiltinTokenizer::ClipBpe } => {
            Some("tokenizer Builtin { builtin: ClipBpe }".to_owned())
        }
    };
    let settings = [
        output(&vision.output, "image_embeds"),
        pooled(vision.pooling),
        output(&text.output, "text_embeds").map(|name| format!("text {name}")),
        pooled(text.pooling).map(|pooling| format!("text {pooling}")),
        padded.then(|| format!("padded to {context_length} with {pad_id}")),
        tokenizer,
        text.prompt.as_ref().map(|prompt| format!("prompt {prompt}")),
    ];
    settings.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_says_once_where_the_text_goes() {
        check_prompt("a photo of {}.").expect("once");
        for wrong in ["a photo", "{} and {}"] {
            assert!(matches!(check_prompt(wrong), Err(ModelError::Prompt { .. })));
        }
    }

    #[test]
    fn precisions_are_written_as_they_are_read() {
        for precision in Precision::ALL {
            let written = serde_json::to_string(&precision).expect("writes");
            assert_eq!(written, format!("\"{precision}\""));
        }
    }

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
