//! Reading files only below allow-listed folders: no path, no `..` and no link leads out of them.

mod access;
mod error;
mod roots;

pub use access::{FileAccess, FileFacts, FileKind, FolderEntry};
pub use error::ConfineError;
pub use roots::ImageRoots;

#[cfg(test)]
mod tests;
