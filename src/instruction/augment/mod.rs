//! Augmenting: new instructions for each description, from seeds drawn for it (paper, section
//! 3.1; Self-Instruct, arXiv 2212.10560).

mod config;
mod draw;
mod judge;
mod schema;

pub use config::{GenerateConfig, Pool, Structured, sampling};
pub use draw::{PoolEntry, SeedPool};
pub use judge::{Candidate, Judge, Judged};
pub use schema::{list_schema, one_schema};
