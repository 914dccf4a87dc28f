use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use cap_std::fs::Dir;

use super::remote;
use super::{ConfineError, ImageRoots, OpenFile};
use crate::base::hash;
use crate::base::key::Key;

/// Which files a run may read its photos and their texts from.
#[derive(Debug, Clone, Default)]
pub enum FileAccess {
    /// Whatever the process may read, remote addresses among them: the command line, where the user
    /// is the operator.
    #[default]
    Anywhere,
    /// Only what lies below these folders: the service, whose callers are not. Nothing remote.
    Below(Arc<ImageRoots>),
}

/// What stands at a path, links followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    File,
    Folder,
    /// A pipe, socket or device.
    Other,
}

/// What is known of a file before it is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFacts {
    pub kind: FileKind,
    /// In bytes.
    pub len: u64,
    /// The time of its last change, where the file system keeps it.
    pub modified: Option<SystemTime>,
    /// Key of the state that a remote storage tells.
    pub tag: Option<String>,
}

/// One entry of a folder.
#[derive(Debug)]
pub struct FolderEntry {
    pub name: OsString,
    /// What it is, links followed; a broken link or one that leads out is an error.
    pub kind: Result<FileKind, ConfineError>,
}

impl FileAccess {
    /// Opens a file for reading. Below roots only a regular one, and without waiting; anywhere, as
    /// the system does it.
    ///
    /// # Errors
    /// As [`ImageRoots::open_file`]; anywhere, `Io`, which carries the
    /// [`RemoteError`](super::remote::RemoteError) of a remote one.
    pub fn open(&self, path: &Path) -> Result<OpenFile, ConfineError> {
        match self {
            Self::Anywhere if remote::is_remote(path) => Ok(OpenFile::Remote(remote::open(path)?)),
            Self::Anywhere => Ok(OpenFile::Local(fs_err::File::open(path)?)),
            Self::Below(roots) => Ok(OpenFile::Local(roots.open_file(path)?)),
        }
    }

    /// What stands at `path`, links followed.
    ///
    /// # Errors
    /// As [`FileAccess::open`].
    pub fn facts(&self, path: &Path) -> Result<FileFacts, ConfineError> {
        match self {
            Self::Anywhere if remote::is_remote(path) => remote_facts(path),
            Self::Anywhere => Ok(facts(&fs_err::metadata(path)?)),
            Self::Below(roots) => {
                let (_, found) = roots.look(path, |dir, path| dir.metadata(path))?;
                Ok(confined_facts(&found))
            }
        }
    }

    /// The entries of a folder in the order of their names.
    ///
    /// # Errors
    /// The folder itself cannot be listed, or lies outside.
    pub fn list(&self, folder: &Path) -> Result<Vec<FolderEntry>, ConfineError> {
        let mut entries = match self {
            Self::Anywhere if remote::is_remote(folder) => remote_entries(folder)?,
            Self::Anywhere => list_anywhere(folder)?,
            Self::Below(roots) => roots.look(folder, |dir, path| list_below(dir, path, folder))?.1,
        };
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// The one path, links resolved, of what may be reached by several.
    ///
    /// # Errors
    /// As [`FileAccess::open`].
    pub fn real_path(&self, path: &Path) -> Result<PathBuf, ConfineError> {
        match self {
            Self::Anywhere if remote::is_remote(path) => Ok(path.to_owned()),
            Self::Anywhere => Ok(fs_err::canonicalize(path)?),
            Self::Below(roots) => {
                let (place, real) = roots.look(path, |dir, path| dir.canonicalize(path))?;
                Ok(place.root.real(&real))
            }
        }
    }

    /// A path that means the same from any current folder: below roots it is absolute.
    ///
    /// # Errors
    /// Below roots, as [`ImageRoots::resolve`]; anywhere, a remote address that can never be read.
    pub fn resolve(&self, path: &Path) -> Result<PathBuf, ConfineError> {
        match self {
            Self::Anywhere => {
                remote::check(path)?;
                Ok(path.to_owned())
            }
            Self::Below(roots) => roots.resolve(path),
        }
    }

    /// Key over what decides which paths are refused; empty where none is.
    pub fn key(&self) -> String {
        match self {
            Self::Anywhere => String::new(),
            Self::Below(roots) => {
                let paths = roots.paths().map(|path| path.to_string_lossy().into_owned());
                Key::new("roots", 2).list("path", paths).done()
            }
        }
    }
}

fn facts(found: &std::fs::Metadata) -> FileFacts {
    let (kind, modified) = (kind(found.file_type()), found.modified().ok());
    FileFacts { kind, len: found.len(), modified, tag: None }
}

fn confined_facts(found: &cap_std::fs::Metadata) -> FileFacts {
    let modified = found.modified().ok().map(cap_std::time::SystemTime::into_std);
    FileFacts { kind: confined_kind(found.file_type()), len: found.len(), modified, tag: None }
}

fn remote_facts(path: &Path) -> Result<FileFacts, ConfineError> {
    Ok(match remote::look(path)? {
        Some(head) => {
            let tag = head.tag.map(|tag| hash::key(&[&tag]));
            FileFacts { kind: FileKind::File, len: head.len, modified: head.modified, tag }
        }
        None => FileFacts { kind: FileKind::Folder, len: 0, modified: None, tag: None },
    })
}

fn remote_entries(folder: &Path) -> Result<Vec<FolderEntry>, ConfineError> {
    let kind = |folder| if folder { FileKind::Folder } else { FileKind::File };
    let entry =
        |(name, folder): (String, bool)| FolderEntry { name: name.into(), kind: Ok(kind(folder)) };
    Ok(remote::list(folder)?.into_iter().map(entry).collect())
}

fn kind(found: std::fs::FileType) -> FileKind {
    match (found.is_file(), found.is_dir()) {
        (true, _) => FileKind::File,
        (_, true) => FileKind::Folder,
        _ => FileKind::Other,
    }
}

fn confined_kind(found: cap_std::fs::FileType) -> FileKind {
    match (found.is_file(), found.is_dir()) {
        (true, _) => FileKind::File,
        (_, true) => FileKind::Folder,
        _ => FileKind::Other,
    }
}

fn list_anywhere(folder: &Path) -> io::Result<Vec<FolderEntry>> {
    let entry = |entry: io::Result<fs_err::DirEntry>| {
        let entry = entry?;
        let link = |found: &std::fs::FileType| found.is_symlink();
        let followed = || Ok(fs_err::metadata(entry.path())?.file_type());
        let found = entry.file_type();
        let found = if found.as_ref().is_ok_and(link) { followed() } else { found };
        Ok(FolderEntry { name: entry.file_name(), kind: found.map(kind).map_err(Into::into) })
    };
    fs_err::read_dir(folder)?.map(entry).collect()
}

/// Links are followed from the root, not from the folder: they may lead anywhere below it.
fn list_below(dir: &Dir, path: &Path, folder: &Path) -> io::Result<Vec<FolderEntry>> {
    let entry = |entry: io::Result<cap_std::fs::DirEntry>| {
        let entry = entry?;
        let name = entry.file_name();
        let found = match entry.file_type() {
            Ok(found) if found.is_symlink() => {
                dir.metadata(path.join(&name)).map(|found| found.file_type())
            }
            found => found,
        };
        let refused = |error| ConfineError::below(&folder.join(&name), error);
        let kind = found.map(confined_kind).map_err(refused);
        Ok(FolderEntry { name, kind })
    };
    dir.read_dir(path)?.map(entry).collect()
}
