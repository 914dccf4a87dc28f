//! Files at remote addresses: `s3://bucket/key`, `gs://bucket/key`, `az://container/key`,
//! `hf://datasets/owner/name/path` and `http(s)://host/path`, read by ranges as if they lay on this machine.
//!
//! An address stands wherever a path does. It never holds a secret: credentials come from the
//! environment, so that no address has to be kept out of logs, run folders and exports.

mod address;
mod blame;
mod error;
mod file;
mod hub;
mod store;

use std::collections::BTreeMap;
use std::path::Path;

pub use address::{is_remote, lists_folders, split_start};
pub use error::RemoteError;
pub use file::RemoteFile;

use address::Address;
pub(super) use store::Head;

/// Whether an address can be read at all, as far as its words tell; any other path can.
///
/// # Errors
/// [`RemoteError::Address`], which tells no secret that the address holds.
pub fn check(path: &Path) -> Result<(), RemoteError> {
    if is_remote(path) { Address::of(path).map(|_| ()) } else { Ok(()) }
}

/// The path of what `name` names for files that lie in `folder`. Whoever wrote a file at a remote
/// address does not choose among the files of this machine, so that a name leads below the folder
/// of a remote one whatever it begins with.
pub fn join(folder: &Path, name: &str) -> std::path::PathBuf {
    if is_remote(folder) { folder.join(name.trim_start_matches('/')) } else { folder.join(name) }
}

pub(super) fn open(path: &Path) -> Result<RemoteFile, RemoteError> {
    let address = Address::of(path)?;
    let store = store::of(&address)?;
    let head = store.head(&address)?;
    Ok(RemoteFile::new(address, head, store))
}

/// What is known of an object without reading it; `None` for a folder.
pub(super) fn look(path: &Path) -> Result<Option<Head>, RemoteError> {
    let address = Address::of(path)?;
    store::of(&address)?.look(&address)
}

/// The names in a folder in their order, and which are folders.
pub(super) fn list(folder: &Path) -> Result<BTreeMap<String, bool>, RemoteError> {
    let address = Address::of(folder)?;
    store::of(&address)?.list(&address)
}
