use std::fmt;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};

use super::ConfineError;
use super::remote::is_remote;

/// The folders below which files may be read.
///
/// A path is looked up by the system's own sandboxed resolution, in one step with its opening, so
/// that no link that is changed meanwhile leads out. A link may lead anywhere below its own root by
/// a relative path; one with an absolute path is refused, even back into the root.
pub struct ImageRoots {
    roots: Vec<Root>,
}

/// One folder, held open.
pub(super) struct Root {
    pub dir: Dir,
    /// Its absolute path as configured.
    name: PathBuf,
    /// Its path with all links resolved.
    real: PathBuf,
}

impl ImageRoots {
    /// Opens the folders. None at all is allowed: every path is then refused.
    ///
    /// # Errors
    /// [`ConfineError::Root`] for the first that is no folder or cannot be opened.
    pub fn open(roots: &[PathBuf]) -> Result<Self, ConfineError> {
        let roots = roots.iter().map(|path| Root::open(path)).collect::<Result<_, _>>()?;
        Ok(Self { roots })
    }

    /// The folders' absolute paths as configured, in order.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.roots.iter().map(|root| root.name.as_path())
    }

    /// Opens a regular file: `path` is absolute and below a root, or relative to the first root
    /// that has it.
    ///
    /// # Errors
    /// `PathOutsideRoot`, `NoRoots`, `NotFound`, `NotAFile`, or the system's.
    pub fn open_file(&self, path: &Path) -> Result<fs_err::File, ConfineError> {
        let (_, file) = self.look(path, open_regular)?;
        let file = file.ok_or_else(|| ConfineError::NotAFile { path: path.to_owned() })?;
        Ok(fs_err::File::from_parts(file, path))
    }

    /// The bytes of a file of at most `limit` bytes; no more than that is ever read.
    ///
    /// # Errors
    /// As [`ImageRoots::open_file`], and `TooLarge`.
    pub fn read(&self, path: &Path, limit: u64) -> Result<Vec<u8>, ConfineError> {
        let mut bytes = Vec::new();
        let file = self.open_file(path)?;
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            return Err(ConfineError::TooLarge { path: path.to_owned(), limit });
        }
        Ok(bytes)
    }

    /// The absolute path, by a root's configured name, of what `path` names.
    ///
    /// # Errors
    /// As [`ImageRoots::open_file`], but for `NotAFile`.
    pub fn resolve(&self, path: &Path) -> Result<PathBuf, ConfineError> {
        let (place, _) = self.look(path, |dir, relative| dir.metadata(relative))?;
        Ok(place.root.name.join(place.relative))
    }

    /// Looks for `path` in one root after the other; an answer other than "not there" is final.
    pub(super) fn look<'a, T>(
        &'a self,
        path: &'a Path,
        ask: impl Fn(&Dir, &Path) -> io::Result<T>,
    ) -> Result<(Place<'a>, T), ConfineError> {
        for place in self.places(path)? {
            match ask(&place.root.dir, place.here()) {
                Ok(found) => return Ok((place, found)),
                Err(error) => match ConfineError::below(path, error) {
                    ConfineError::NotFound { .. } => {}
                    other => return Err(other),
                },
            }
        }
        Err(ConfineError::NotFound { path: path.to_owned() })
    }

    /// Where `path` may lie, judged by its words alone.
    fn places<'a>(&'a self, path: &'a Path) -> Result<Vec<Place<'a>>, ConfineError> {
        if is_remote(path) {
            return Err(ConfineError::RemoteRefused);
        }
        if self.roots.is_empty() {
            return Err(ConfineError::NoRoots);
        }
        let climbs = path.components().any(|part| part == Component::ParentDir);
        let places: Vec<_> = if climbs {
            Vec::new()
        } else {
            self.roots.iter().filter_map(|root| root.place(path)).collect()
        };
        if places.is_empty() {
            return Err(ConfineError::PathOutsideRoot { path: path.to_owned() });
        }
        Ok(places)
    }
}

impl fmt::Debug for ImageRoots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.paths()).finish()
    }
}

impl Root {
    fn open(path: &Path) -> Result<Self, ConfineError> {
        let open = || {
            let name = std::path::absolute(path)?;
            let real = std::fs::canonicalize(&name)?;
            let dir = Dir::open_ambient_dir(&real, ambient_authority())?;
            Ok(Self { dir, name, real })
        };
        open().map_err(|source| ConfineError::Root { path: path.to_owned(), source })
    }

    /// `path` as seen from here, if its words lead here.
    fn place<'a>(&'a self, path: &'a Path) -> Option<Place<'a>> {
        if !path.is_absolute() {
            return Some(Place { root: self, relative: path });
        }
        let relative = path.strip_prefix(&self.name).or_else(|_| path.strip_prefix(&self.real));
        relative.ok().map(|relative| Place { root: self, relative })
    }

    /// The real path of what lies at `relative`.
    pub fn real(&self, relative: &Path) -> PathBuf {
        self.real.join(relative)
    }
}

/// A root, and a path below it.
pub(super) struct Place<'a> {
    pub root: &'a Root,
    pub relative: &'a Path,
}

impl Place<'_> {
    /// The path as the system takes it: a root itself is `.`.
    pub fn here(&self) -> &Path {
        if self.relative.as_os_str().is_empty() { Path::new(".") } else { self.relative }
    }
}

/// `None` for what is no regular file.
fn open_regular(dir: &Dir, path: &Path) -> io::Result<Option<std::fs::File>> {
    // Asked before opening, because opening alone makes some devices act.
    if !dir.metadata(path)?.is_file() {
        return Ok(None);
    }
    let mut options = OpenOptions::new();
    options.read(true);
    // Something else may have taken the name since: a pipe must then not wait for its writer.
    #[cfg(unix)]
    cap_std::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK);
    let file = dir.open_with(path, &options)?.into_std();
    Ok(file.metadata()?.is_file().then_some(file))
}
