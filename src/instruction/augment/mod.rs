//! Augmenting: new instructions for each description, from seeds drawn for it (paper, section
//! 3.1; Self-Instruct, arXiv 2212.10560).

mod config;
mod judge;

pub use config::{GenerateConfig, LibraryMode, Pool, Structured, sampling};
pub use judge::{Candidate, Judge, Judged, PoolEntry, SeedPool, cosine, list_schema, one_schema};
