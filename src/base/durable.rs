//! Files that are either whole or not there, after a crash, too.

use std::io::{self, Write};
use std::path::Path;

/// Writes a file in one step: a reader meets the old one or the new one. When it fails the old one
/// is still whole.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
    let written = write(&temporary, bytes).and_then(|()| put(&temporary, path));
    if written.is_err() {
        // The first error is the one to tell; a leftover temporary file is only untidy.
        let _ = fs_err::remove_file(&temporary);
    }
    written
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs_err::File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Renames a file whose bytes are on the disk to its name, and makes the rename durable, which it
/// is only when its folder is.
pub fn put(temporary: &Path, path: &Path) -> io::Result<()> {
    fs_err::rename(temporary, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    if cfg!(unix) { fs_err::File::open(folder)?.sync_all() } else { Ok(()) }
}
