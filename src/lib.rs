//! Pairwright turns captioned photos into visual-instruction data for training large multimodal
//! models. It implements the MM-Instruct method (arXiv 2406.19736).
//!
//! Three layers, each looks only down: the wire ([`cli`], [`server`]), the engine ([`image`], [`encoder`],
//! [`index`], [`matching`], [`instruction`], [`answer`], [`dataset`], [`pipeline`], [`report`],
//! [`evaluation`]) and
//! the backends, small traits with real implementations ([`index::VectorIndex`],
//! [`llm::ChatModel`], [`dataset::source::Source`]).

pub mod answer;
pub mod cli;
pub mod config;
pub mod confine;
pub mod dataset;
mod durable;
pub mod encoder;
pub mod error;
pub mod evaluation;
pub mod hash;
pub mod image;
pub mod index;
pub mod instruction;
pub mod llm;
pub mod matching;
pub mod model;
pub mod paths;
pub mod pipeline;
pub mod report;
pub mod server;

pub use error::{Error, ErrorKind};
