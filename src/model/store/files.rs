//! Files that are either whole or not there.

use std::io::{self, Write};
use std::path::Path;

/// Writes a file in one step: a reader meets the old one or the new one, after a crash, too.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
    let mut file = fs_err::File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    put(&temporary, path)
}

/// Renames a file whose bytes are on the disk to its name, and makes the rename durable.
pub fn put(temporary: &Path, path: &Path) -> io::Result<()> {
    fs_err::rename(temporary, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    match folder {
        Some(folder) if cfg!(unix) => fs_err::File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

/// Bytes this user may still write below `folder`; none where the system does not say.
pub fn free_space(folder: &Path) -> Option<u64> {
    let space = rustix::fs::statvfs(folder).ok()?;
    Some(space.f_bavail.saturating_mul(space.f_frsize))
}

/// Removes a file; that it is not there is as good.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs_err::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
