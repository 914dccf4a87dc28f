//! Encoder model folders: their manifest, their files' hashes, and ONNX Runtime.

pub mod catalog;
mod clip_bpe;
mod detect;
mod device;
mod error;
mod folder;
pub mod manifest;
pub mod onnx;
pub mod runtime;
mod source;
pub mod store;
pub mod tokenizer;

pub use device::Device;
pub use error::ModelError;
pub use folder::ModelFolder;
pub use manifest::{ModelDefaults, ModelManifest};
pub use source::{ModelSource, Precision};
