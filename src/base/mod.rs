//! What every room stands on and what knows none of them: failures, range checks, hashes, durable
//! files, paths, marks in texts.

pub mod check;
pub mod db;
pub mod durable;
pub mod failure;
pub mod hash;
pub mod hub;
pub mod json;
pub mod key;
pub mod lock;
pub mod nouns;
pub mod offline;
pub mod paths;
pub mod signal;
pub mod tokens;
pub mod words;

pub use failure::{Error, ErrorKind, Failure, Stopped};
