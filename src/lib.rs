//! Pairwright turns captioned photos into visual-instruction data for training large multimodal
//! models. It implements the MM-Instruct method (arXiv 2406.19736).
//!
//! Every module is a room, and a room imports only those below it: doors ([`cli`], [`server`],
//! [`jobs`]) over tasks ([`run`], [`generate`], [`evaluate`], with [`work`] and [`config`]) over
//! the engine ([`image`] to [`report`]) over [`base`]. What can be replaced is a small trait:
//! [`index::VectorSearch`], [`llm::ChatModel`], [`encoder::Encoder`], [`dataset::source::Source`].

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
pub mod measure;
pub mod model;
pub mod report;
pub mod run;
pub mod sandbox;
pub mod server;
pub mod work;

pub use base::{Error, ErrorKind, Failure};
