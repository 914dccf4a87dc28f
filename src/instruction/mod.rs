//! The instruction library: general, reusable final instructions (paper, section 3.1).

mod library;

pub use library::{Instruction, Library, LibraryError};
