//! The instruction library: general, reusable final instructions (paper, section 3.1).
//!
//! [`Library`] is a checked list read from one file, as a batch run uses it. [`store`] is the
//! service's library: durable, changing, searched.

mod library;
pub mod store;
mod text;

pub use library::{Instruction, Library, LibraryError};
pub use text::{BadText, MAX_TEXT_BYTES};
