//! Why a model cannot be used, and what to do.

use std::path::PathBuf;

use crate::ErrorKind;
use crate::base::failure::Failure;

/// Why a model or the runtime under it could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    #[error(
        "no model folder at {path}: expected a folder with model.toml, or with a CLIP-like ONNX \
         export; pass --model DIR"
    )]
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
        "{path}: no {tower} graph: found {found}; wanted {wanted}. Pass the folder of an export, \
         and with --model-text the folder of the text graph where that is another one"
    )]
    NoGraph { path: PathBuf, tower: &'static str, found: String, wanted: &'static str },
    #[error(
        "{path}: the file has {size} bytes and its content goes on to byte {needed} or further: it \
         was only half copied; fetch it again"
    )]
    Truncated { path: PathBuf, size: u64, needed: u64 },
    #[error("{path}: not an ONNX file: {message}; fetch it again from where the model came from")]
    NotOnnx { path: PathBuf, message: String },
    #[error(
        "{path}: the weights are in {name}, which is {why}: fetch that file as well and keep its \
         name and its place beside the graph"
    )]
    NoWeights { path: PathBuf, name: String, why: String },
    #[error(
        "{path}: it names {name:?} as the file of its weights, which is outside its own folder; \
         such a graph is not opened: save it with its weights beside it (in Python: \
         onnx.save_model(onnx.load(PATH), NEW, save_as_external_data=True))"
    )]
    WeightsOutside { path: PathBuf, name: String },
    #[error("{path}: {problem}: found {found}; wanted {wanted}")]
    Unfit { path: PathBuf, problem: &'static str, found: String, wanted: String },
    #[error(
        "the towers do not belong together: {vision} gives vectors of width {vision_dim}, {text} \
         of width {text_dim}; take both from one export"
    )]
    Widths { vision: PathBuf, vision_dim: usize, text: PathBuf, text_dim: usize },
    #[error(
        "{path}: the {tower} graph gives vectors of width {found}, and {wanted} are wanted; take \
         both graphs from one export"
    )]
    Width { path: PathBuf, tower: &'static str, found: usize, wanted: usize },
    #[error(
        "{path}: the tokenizer gives ids up to {largest}, and the text graph knows 0 to {last}: it \
         belongs to another model; take tokenizer and graph from one export"
    )]
    TokenizerMisfit { path: PathBuf, largest: u32, last: usize },
    #[error("{path}: {wanted} is not there: {why}")]
    NoFile { path: PathBuf, wanted: &'static str, why: &'static str },
    #[error("{path}: not the JSON it should be: {message}")]
    Json { path: PathBuf, message: String },
    #[error("{path}: {field} is {found}; {wanted}")]
    Setting { path: PathBuf, field: String, found: String, wanted: String },
    #[error("{path}: no {wanted} graph: this export has {found}; change --model-precision")]
    NoPrecision { path: PathBuf, wanted: String, found: String },
    #[error("the prompt {prompt:?} must hold {{}} exactly once: that is where the text goes")]
    Prompt { prompt: String },
    #[error(
        "{path}: the encoder does not give the {tower} vector that its manifest holds (cosine \
         {cosine:.4}, at least {least} wanted): this runtime or device computes wrongly; try \
         --device cpu or another ONNX Runtime"
    )]
    Golden { path: PathBuf, tower: &'static str, cosine: f64, least: f64 },
    #[error("{path}: the encoder cannot embed: {message}")]
    Probe { path: PathBuf, message: String },
    #[error(
        "device {device} was asked for and cannot be used: {message}; this ONNX Runtime offers \
         {available}. Install a build with it (docs/exports.md), or use --device auto or cpu"
    )]
    Device { device: String, message: String, available: String },
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

impl Failure for ModelError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoFolder { .. } => ErrorKind::NotFound,
            Self::Io { source, .. } => ErrorKind::of_io(source),
            Self::Prompt { .. } => ErrorKind::InvalidInput,
            Self::Manifest { .. }
            | Self::HashMismatch { .. }
            | Self::NoGraph { .. }
            | Self::Truncated { .. }
            | Self::NotOnnx { .. }
            | Self::NoWeights { .. }
            | Self::WeightsOutside { .. }
            | Self::Unfit { .. }
            | Self::Widths { .. }
            | Self::Width { .. }
            | Self::TokenizerMisfit { .. }
            | Self::NoFile { .. }
            | Self::Json { .. }
            | Self::Setting { .. }
            | Self::NoPrecision { .. }
            | Self::Golden { .. }
            | Self::Probe { .. }
            | Self::Device { .. }
            | Self::RuntimeMissing { .. }
            | Self::RuntimeUnusable { .. }
            | Self::Graph { .. }
            | Self::GraphShape { .. }
            | Self::Tokenizer { .. } => ErrorKind::FailedPrecondition,
        }
    }

    fn code(&self) -> &'static str {
        "model_unusable"
    }
}
