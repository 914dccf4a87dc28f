//! What every room stands on and what knows none of them: failures, range checks, hashes, durable
//! files, paths.

pub mod check;
pub(crate) mod durable;
pub mod failure;
pub mod hash;
pub mod paths;
pub mod signal;

pub use failure::{Error, ErrorKind, Failure, Stopped};
