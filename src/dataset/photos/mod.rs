//! Photos: how one is named, and how its bytes are read wherever they lie.

pub(super) mod chunks;
mod gzip;
mod member;
mod name;
mod pool;
mod rows;
pub mod tar;

use std::io::Read;
use std::path::Path;
use std::time::UNIX_EPOCH;

use crate::image::{ImageError, ImageLimits};
use crate::sandbox::{FileAccess, FileFacts, FileKind};

pub use name::{ImageRef, Place};

/// Reads photos wherever they lie.
///
/// Whatever opens a photo does it by this trait: the embedding, the report's thumbnails, `verify`,
/// benchmarks and the models that see. A place that photos can lie in is one implementation.
pub trait Photos: Send + Sync {
    /// The bytes of a photo, read whole unless it is over the size limit: no more than the limit
    /// is read even if the photo grows meanwhile.
    ///
    /// # Errors
    /// [`ImageError::Io`] (naming the path), `Confined`, `NotAFile`, `EmptyFile` or
    /// `FileTooLarge`.
    fn read(&self, photo: &ImageRef, limits: &ImageLimits) -> Result<Vec<u8>, ImageError>;

    /// What differs when the photo was changed, found without reading it: size and time of change,
    /// or a tag. Empty where there is no photo.
    fn stamp(&self, photo: &ImageRef) -> String;

    /// Key over what decides which photos may be read; empty where all may.
    fn key(&self) -> String;

    /// The names of what lies in a folder; none where there is no such folder, or photos do not lie
    /// in folders.
    fn names(&self, _folder: &Path) -> Vec<String> {
        Vec::new()
    }
}

/// Photos in files of this machine, and inside such files.
impl Photos for FileAccess {
    fn read(&self, photo: &ImageRef, limits: &ImageLimits) -> Result<Vec<u8>, ImageError> {
        let path = photo.container();
        let facts = self.facts(path)?;
        // Opening a pipe would wait for a writer for ever.
        if facts.kind != FileKind::File {
            return Err(ImageError::NotAFile { path: path.to_owned() });
        }
        if photo.path().is_none() {
            return member::read(self, photo, facts, limits);
        }
        limits.check_file(facts.len)?;
        let file = self.open(path)?;
        let mut bytes = Vec::with_capacity(facts.len as usize + 1);
        let bounded = limits.max_file_bytes.saturating_add(1);
        file.take(bounded).read_to_end(&mut bytes).map_err(ImageError::Io)?;
        limits.check_file(bytes.len() as u64)?;
        Ok(bytes)
    }

    fn stamp(&self, photo: &ImageRef) -> String {
        self.facts(photo.container()).map_or_else(|_| String::new(), |facts| stamp(&facts))
    }

    fn key(&self) -> String {
        FileAccess::key(self)
    }

    fn names(&self, folder: &Path) -> Vec<String> {
        let entries =
            self.list(if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
        let names = entries.into_iter().flatten().map(|entry| entry.name.into_string());
        names.filter_map(Result::ok).collect()
    }
}

/// What differs when the file was changed.
fn stamp(facts: &FileFacts) -> String {
    let changed = facts.modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let tag = facts.tag.as_ref().map_or(String::new(), |tag| format!(":{tag}"));
    format!("{}:{}{tag}", facts.len, changed.unwrap_or_default().as_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::failure::Failure;

    #[test]
    fn files_are_read_within_the_limit_only() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("photo.png");
        let write = |bytes: &[u8]| fs_err::write(&path, bytes).expect("writing");
        let limits = ImageLimits { max_file_bytes: 10, ..ImageLimits::default() };
        let read = |path: &Path| FileAccess::Anywhere.read(&ImageRef::file(path), &limits);

        let missing = read(&path).expect_err("not there yet");
        assert_eq!(missing.kind(), crate::ErrorKind::NotFound);
        assert!(missing.to_string().contains("photo.png"), "{missing}");
        write(b"");
        assert_eq!(read(&path).expect_err("empty").code(), "image_empty_file");
        write(b"0123456789");
        assert_eq!(read(&path).expect("at the limit"), b"0123456789");
        write(b"0123456789a");
        let large = read(&path).expect_err("over the limit");
        assert!(matches!(large, ImageError::FileTooLarge { bytes: 11, limit: 10 }), "{large:?}");
        assert_eq!(read(folder.path()).expect_err("a folder").code(), "image_not_a_file");
    }

    #[test]
    fn a_stamp_changes_with_the_file_and_is_empty_without_one() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let photo = ImageRef::file(folder.path().join("photo.png"));
        let stamp = || Photos::stamp(&FileAccess::Anywhere, &photo);
        assert_eq!(stamp(), "");
        fs_err::write(photo.path().expect("a file"), "one").expect("write");
        let first = stamp();
        assert!(first.starts_with("3:"), "{first}");
        fs_err::write(photo.path().expect("a file"), "three").expect("write");
        assert_ne!(stamp(), first);
    }
}
