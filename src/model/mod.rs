//! Encoder model folders: their manifest, their files' hashes, and ONNX Runtime.

pub mod catalog;
mod detect;
mod error;
mod folder;
pub mod manifest;
pub mod onnx;
pub mod runtime;
pub mod store;
pub mod tokenizer;

pub use error::ModelError;
pub use folder::{ModelFolder, ModelSource, Precision};
pub use manifest::{ModelDefaults, ModelManifest};
pub use runtime::Device;
