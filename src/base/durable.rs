//! Files that are either whole or not there, after a crash, too. Every file that somebody reads
//! later is written through here: as a whole, or as a stream that is put in place at its end.

use std::io::{self, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};

use fs_err::File;

/// Writes a file in one step: a reader meets the old one or the new one. When it fails the old one
/// is still whole.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_whole(path, bytes, &mut options())
}

/// As [`write`]; nobody but the file's owner can read it, at any time.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = options();
    #[cfg(unix)]
    fs_err::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    write_whole(path, bytes, &mut options)
}

fn write_whole(path: &Path, bytes: &[u8], options: &mut fs_err::OpenOptions) -> io::Result<()> {
    // Two processes may write the same file at the same time.
    let ending = format!(".{}.tmp", std::process::id());
    let mut file = Staged::open(path, &ending, options)?;
    file.write_all(bytes)?;
    file.commit()
}

fn options() -> fs_err::OpenOptions {
    let mut options = fs_err::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    options
}

/// A file under a temporary name (`.NAME.partial`) in the folder of the file it shall become.
/// Dropped before it is committed, it leaves nothing.
///
/// The temporary name is fixed, so that what a killed process left is overwritten, not added to.
/// Only one writer may write to a path at a time.
#[derive(Debug)]
pub struct Staged {
    path: PathBuf,
    temporary: PathBuf,
    /// `None` once committed.
    out: Option<BufWriter<File>>,
}

impl Staged {
    /// Begins a file that shall become `path`.
    pub fn create(path: &Path) -> io::Result<Self> {
        Self::open(path, ".partial", &mut options())
    }

    fn open(path: &Path, ending: &str, options: &mut fs_err::OpenOptions) -> io::Result<Self> {
        let Some(name) = path.file_name() else {
            let text = format!("{}: not the name of a file", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        };
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(ending);
        let temporary = path.with_file_name(hidden);
        let file = options.open(&temporary)?;
        let out = Some(BufWriter::with_capacity(1 << 16, file));
        Ok(Self { path: path.to_owned(), temporary, out })
    }

    /// Makes the file durable and gives it its name.
    pub fn commit(mut self) -> io::Result<()> {
        let out = self.out()?;
        out.flush()?;
        out.get_ref().sync_all()?;
        put(&self.temporary, &self.path)?;
        self.out = None;
        Ok(())
    }

    fn out(&mut self) -> io::Result<&mut BufWriter<File>> {
        self.out.as_mut().ok_or_else(|| io::Error::other("the file is committed"))
    }
}

impl Write for Staged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out()?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out()?.flush()
    }
}

impl Seek for Staged {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        self.out()?.seek(to)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let Some(out) = self.out.take() {
            // Without this the buffer would be written to a file that is about to go.
            let (file, _) = out.into_parts();
            drop(file);
            // The error that came before is the one to tell; a file that stays is only untidy.
            let _ = fs_err::remove_file(&self.temporary);
        }
    }
}

/// Renames a file whose bytes are on the disk to its name, or a folder, and makes that durable,
/// which it is only when the folder around it is.
#[expect(clippy::disallowed_methods, reason = "this is what others are to call")]
pub fn put(temporary: &Path, path: &Path) -> io::Result<()> {
    fs_err::rename(temporary, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

/// Removes a file; that it is not there is as good.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs_err::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Puts a folder whose files are on the disk in the place of `path`. Where the system can exchange
/// two names in one step, a reader meets the old folder or the new one; elsewhere there is a moment
/// with neither, in which the old one stands beside it as `.NAME.old`. The old one is removed; where
/// that fails, the new one is in its place all the same.
pub fn put_folder(temporary: &Path, path: &Path) -> io::Result<()> {
    if !path.exists() {
        return put(temporary, path);
    }
    if !exchange(temporary, path)? {
        return replace(temporary, path);
    }
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    discard(temporary);
    Ok(())
}

/// Puts a folder in the place of another one that is moved out of the way, and back if need be.
fn replace(temporary: &Path, path: &Path) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let old = path.with_file_name(format!(".{name}.old"));
    // What a killed process left. Where it cannot go, the next step fails and loses nothing.
    discard(&old);
    put(path, &old)?;
    if let Err(error) = put(temporary, path) {
        // The first error is the one to tell; the old folder stands under one name or the other.
        let _ = put(&old, path);
        return Err(error);
    }
    discard(&old);
    Ok(())
}

/// Removes what nobody needs any more. What stays is only untidy.
fn discard(path: &Path) {
    if fs_err::remove_dir_all(path).is_err() {
        let _ = fs_err::remove_file(path);
    }
}

/// Whether two names were exchanged in one step; not where the file system cannot.
#[cfg(target_os = "linux")]
fn exchange(one: &Path, other: &Path) -> io::Result<bool> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(true),
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn exchange(_: &Path, _: &Path) -> io::Result<bool> {
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs_err::read_dir(folder).expect("readable");
        entries.map(|one| one.expect("entry").file_name().display().to_string()).collect()
    }

    #[test]
    fn a_file_replaces_an_older_one_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().expect("temp dir");
        let path = folder.path().join("a.txt");
        write(&path, b"old").expect("written");
        write(&path, b"new").expect("written");
        assert_eq!(fs_err::read(&path).expect("there"), b"new");
        assert_eq!(names(folder.path()), ["a.txt"]);
    }

    #[test]
    fn a_write_that_fails_keeps_what_was_there() {
        let folder = tempfile::tempdir().expect("temp dir");
        let path = folder.path().join("a.txt");
        fs_err::create_dir_all(path.join("in the way")).expect("writable");
        write(&path, b"new").expect_err("a folder");
        assert_eq!(names(folder.path()), ["a.txt"]);
        write(Path::new("/"), b"new").expect_err("no name");
    }

    #[test]
    fn a_stream_stands_under_its_name_when_it_is_whole() {
        let folder = tempfile::tempdir().expect("temp dir");
        let path = folder.path().join("a.txt");
        let mut file = Staged::create(&path).expect("made");
        file.write_all(b"half").expect("written");
        assert_eq!(names(folder.path()), [".a.txt.partial"]);
        drop(file);
        assert!(names(folder.path()).is_empty());
        let mut file = Staged::create(&path).expect("made");
        file.write_all(b"whole").expect("written");
        file.commit().expect("in place");
        assert_eq!(fs_err::read(&path).expect("there"), b"whole");
        assert_eq!(names(folder.path()), ["a.txt"]);
    }

    #[test]
    fn a_folder_replaces_an_older_one() {
        let folder = tempfile::tempdir().expect("temp dir");
        let (path, temporary) = (folder.path().join("a"), folder.path().join(".a.partial"));
        for content in ["old", "new"] {
            fs_err::create_dir(&temporary).expect("made");
            write(&temporary.join(content), b"x").expect("written");
            put_folder(&temporary, &path).expect("in place");
            assert_eq!(names(&path), [content]);
            assert_eq!(names(folder.path()), ["a"]);
        }
    }

    #[test]
    fn without_an_exchange_of_names_the_old_folder_goes_last() {
        let folder = tempfile::tempdir().expect("temp dir");
        let (path, temporary) = (folder.path().join("a"), folder.path().join(".a.partial"));
        fs_err::create_dir(&path).expect("made");
        write(&path.join("old"), b"x").expect("written");
        replace(&temporary, &path).expect_err("there is no new folder");
        assert_eq!((names(&path), names(folder.path())), (vec!["old".into()], vec!["a".into()]));
        fs_err::create_dir_all(folder.path().join(".a.old/left")).expect("made");
        fs_err::create_dir(&temporary).expect("made");
        write(&temporary.join("new"), b"x").expect("written");
        replace(&temporary, &path).expect("in place");
        assert_eq!((names(&path), names(folder.path())), (vec!["new".into()], vec!["a".into()]));
    }

    #[cfg(unix)]
    #[test]
    fn a_private_file_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("temp dir");
        let path = folder.path().join("keys.toml");
        write_private(&path, b"secret").expect("written");
        let mode = fs_err::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
