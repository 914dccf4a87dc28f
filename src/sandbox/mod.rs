//! Reading files wherever they lie, or only below allow-listed folders: no path, no `..` and no link
//! leads out of those.

mod access;
mod error;
mod file;
pub mod remote;
mod roots;

pub use access::{FileAccess, FileFacts, FileKind, FolderEntry};
pub use error::ConfineError;
pub use file::OpenFile;
pub use roots::ImageRoots;

#[cfg(test)]
mod tests;
