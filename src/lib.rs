//! Pairwright turns captioned photos into visual-instruction data for training large multimodal
//! models. It implements the MM-Instruct method (arXiv 2406.19736).
//!
//! Three layers, each looks only down: the wire ([`cli`], [`server`]), the engine ([`image`], [`encoder`],
//! [`index`], [`matching`], [`instruction`], [`answer`], [`dataset`], [`pipeline`], [`report`],
//! [`evaluation`]) and
//! the backends, small traits with real implementations ([`index::LocalIndex`],
//! [`llm::ChatModel`], [`dataset::source::Source`]).

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod answer;
pub mod base;
pub mod cli;
pub mod config;
pub mod dataset;
pub mod encoder;
pub mod evaluate;
pub mod generate;
pub mod image;
pub mod index;
pub mod instruction;
pub mod jobs;
pub mod llm;
pub mod matching;
pub mod model;
pub mod report;
pub mod run;
pub mod sandbox;
pub mod server;
pub mod work;

pub use base::{Error, ErrorKind, Failure};
