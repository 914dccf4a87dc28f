//! Instructions: the library of general, reusable final instructions (paper, section 3.1).
//!
//! [`Library`] is a checked list read from one file, as a batch run uses it. [`store`] is the
//! service's library: durable, changing, searched. How instructions are made from a few seeds is in
//! [`augment`], [`embed`], [`cluster`] and [`summarize`]; [`lineage`] keeps what each came from.

pub mod augment;
pub mod cluster;
pub mod descriptions;
pub mod diversity;
pub mod embed;
mod error;
pub mod filter;
mod library;
pub mod lineage;
pub mod prompt;
pub mod reply;
mod requires;
mod seeds;
pub mod store;
pub mod summarize;
pub mod wording;

pub use crate::dataset::record::Instruction;
pub use error::GenerateError;
pub use library::{BadText, Library, LibraryError, MAX_TEXT_BYTES};
pub use requires::{
    BadRequires, BadTags, MAX_PHRASE_BYTES, MAX_REQUIRED, MAX_TAG_BYTES, MAX_TAGS, check_requires,
    check_tags,
};
pub use seeds::{Seed, Seeds};
