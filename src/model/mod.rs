//! Encoder model folders: their manifest, their files' hashes, and ONNX Runtime (design 3).

mod folder;
pub mod manifest;
pub mod runtime;

use std::path::PathBuf;

use crate::ErrorKind;

pub use folder::ModelFolder;
pub use manifest::ModelManifest;

/// Why a model or the runtime under it could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    #[error("no model folder at {path}: expected a folder with model.toml; pass --model DIR")]
    NoFolder { path: PathBuf },
    #[error("{path}: {source}")]
    Io {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path}: not a model manifest: {message}")]
    Manifest { path: PathBuf, message: String },
    #[error(
        "{path}: SHA-256 is {actual}, the manifest says {expected}: the file was changed or only \
         half copied; restore it from where the model came from"
    )]
    HashMismatch { path: PathBuf, expected: String, actual: String },
    #[error(
        "no ONNX Runtime library found (looked at {looked}): run `make setup`, or set \
         ORT_DYLIB_PATH to a libonnxruntime of version 1.{minimum} or newer"
    )]
    RuntimeMissing { looked: String, minimum: u32 },
    #[error(
        "ONNX Runtime at {path} cannot be used: {message}; run `make setup`, or set \
         ORT_DYLIB_PATH to a libonnxruntime of version 1.{minimum} or newer"
    )]
    RuntimeUnusable { path: PathBuf, message: String, minimum: u32 },
    #[error("{path}: ONNX Runtime refuses this graph: {message}")]
    Graph { path: PathBuf, message: String },
    #[error("{path}: the graph has no {direction} named {wanted}; it has {found}")]
    GraphShape { path: PathBuf, direction: &'static str, wanted: String, found: String },
    #[error("{path}: not a usable tokenizer: {message}")]
    Tokenizer { path: PathBuf, message: String },
}

impl ModelError {
    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoFolder { .. } => ErrorKind::NotFound,
            Self::Io { .. } => ErrorKind::Internal,
            Self::Manifest { .. }
            | Self::HashMismatch { .. }
            | Self::RuntimeMissing { .. }
            | Self::RuntimeUnusable { .. }
            | Self::Graph { .. }
            | Self::GraphShape { .. }
            | Self::Tokenizer { .. } => ErrorKind::FailedPrecondition,
        }
    }
}
