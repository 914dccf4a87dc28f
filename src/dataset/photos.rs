//! Photos: how one is named, and how its bytes are read wherever they lie.

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::image::{ImageError, ImageLimits};
use crate::sandbox::{FileAccess, FileKind};

/// Begins the text of a photo inside another file.
const MEMBER: &str = "member:";

/// Names a photo: the file it lies in and, where that file holds many, its name in there.
///
/// Printed for a person, a member looks like a file in a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageRef {
    container: PathBuf,
    member: Option<String>,
}

impl ImageRef {
    /// A photo that is a file of its own.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self { container: path.into(), member: None }
    }

    /// The photo called `member` inside the file `container`.
    pub fn member(container: impl Into<PathBuf>, member: impl Into<String>) -> Self {
        Self { container: container.into(), member: Some(member.into()) }
    }

    /// The path of a photo that is a file of its own.
    pub fn path(&self) -> Option<&Path> {
        self.member.is_none().then_some(&*self.container)
    }

    /// The form that stores keep, which [`ImageRef::from_text`] reads: of a file its path, of a
    /// member both names with the first one's length in bytes.
    pub fn to_text(&self) -> String {
        let container = self.container.to_string_lossy();
        match &self.member {
            Some(member) => format!("{MEMBER}{}:{container}/{member}", container.len()),
            // The same file by a name that is not taken for a member's.
            None if split_member(&container).is_some() => format!("./{container}"),
            None => container.into_owned(),
        }
    }

    /// The photo that a text of [`ImageRef::to_text`] names; any other text is a file's path.
    pub fn from_text(text: &str) -> Self {
        match split_member(text) {
            Some((container, member)) => Self::member(container, member),
            None => Self::file(text),
        }
    }

    /// The name that an export gives it: relative to `root` where it lies below, else in full.
    pub fn export_name(&self, root: Option<&Path>) -> String {
        match root.and_then(|root| self.container.strip_prefix(root).ok()) {
            Some(below) => Self { container: below.to_owned(), ..self.clone() }.to_string(),
            None => self.to_string(),
        }
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let container = self.container.to_string_lossy();
        match &self.member {
            Some(member) => write!(formatter, "{container}/{member}"),
            None => formatter.write_str(&container),
        }
    }
}

/// Container and member of a text that names a member.
fn split_member(text: &str) -> Option<(&str, &str)> {
    let (len, names) = text.strip_prefix(MEMBER)?.split_once(':')?;
    let (container, member) = names.split_at_checked(len.parse().ok()?)?;
    Some((container, member.strip_prefix('/')?))
}

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

/// Photos in files of this machine.
impl Photos for FileAccess {
    fn read(&self, photo: &ImageRef, limits: &ImageLimits) -> Result<Vec<u8>, ImageError> {
        let path = own_file(photo)?;
        let facts = self.facts(path)?;
        // Opening a pipe would wait for a writer for ever.
        if facts.kind != FileKind::File {
            return Err(ImageError::NotAFile { path: path.to_owned() });
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
        let Some(Ok(facts)) = photo.path().map(|path| self.facts(path)) else {
            return String::new();
        };
        let changed = facts.modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        format!("{}:{}", facts.len, changed.unwrap_or_default().as_nanos())
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

fn own_file(photo: &ImageRef) -> Result<&Path, ImageError> {
    let inside = || format!("{photo}: photos inside files of this kind are not read");
    photo
        .path()
        .ok_or_else(|| ImageError::Io(io::Error::new(io::ErrorKind::InvalidInput, inside())))
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

    #[test]
    fn the_text_of_a_file_is_its_path() {
        for path in ["/photos/a.jpg", "a b/ü.png", "member:", "member:x", "member:3:ab", "x:1"] {
            assert_eq!(ImageRef::file(path).to_text(), path);
            assert_eq!(ImageRef::from_text(path), ImageRef::file(path));
        }
    }

    #[test]
    fn every_photo_is_found_again_by_its_text() {
        let awkward = ImageRef::file("member:1:a/b");
        assert_eq!(ImageRef::from_text(&awkward.to_text()), ImageRef::file("./member:1:a/b"));
        for (container, member) in
            [("/d/s.tar", "0/1.jpg"), ("ü.tar", "a:b"), ("", ""), ("3:a", "/x")]
        {
            let photo = ImageRef::member(container, member);
            assert_eq!(ImageRef::from_text(&photo.to_text()), photo, "{photo:?}");
        }
    }

    #[test]
    fn exports_name_a_photo_from_the_root_it_lies_below() {
        let root = Some(Path::new("/photos"));
        assert_eq!(ImageRef::file("/photos/a/b.jpg").export_name(root), "a/b.jpg");
        assert_eq!(ImageRef::file("/other/b.jpg").export_name(root), "/other/b.jpg");
        assert_eq!(ImageRef::file("/photos/b.jpg").export_name(None), "/photos/b.jpg");
        assert_eq!(ImageRef::member("/photos/s.tar", "1.jpg").export_name(root), "s.tar/1.jpg");
    }
}
