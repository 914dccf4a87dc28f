//! How a photo is named.

use std::fmt;
use std::path::{Path, PathBuf};

/// Begins the text of a photo inside another file.
const MEMBER: &str = "member:";

/// Names a photo: the file it lies in and, where that file holds many, its name in there and the
/// place of its bytes, so that it is found again without a search.
///
/// Printed for a person, a member looks like a file in a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageRef {
    container: PathBuf,
    member: Option<String>,
    place: Option<Place>,
}

/// Where the bytes of a member lie in its file. `start` and `len` are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// The data of a tar's member; where the tar is compressed, as it is unpacked.
    Tar { start: u64, len: u64 },
    /// Bytes that stand in the file just so, as values of an Arrow file do.
    Bytes { start: u64, len: u64 },
    /// A value of a Parquet file: its row in the file, from 0, and the number of its column among
    /// the columns of single values, from 0.
    Row { row: u64, column: u32 },
}

impl Place {
    /// The form in texts, which [`Place::from_text`] reads.
    fn to_text(self) -> String {
        match self {
            Self::Tar { start, len } => format!("t{start}+{len}"),
            Self::Bytes { start, len } => format!("b{start}+{len}"),
            Self::Row { row, column } => format!("r{row}+{column}"),
        }
    }

    fn from_text(text: &str) -> Option<Self> {
        let (first, second) = text.get(1..)?.split_once('+')?;
        let (start, len) = (first.parse().ok()?, second.parse().ok()?);
        match text.get(..1)? {
            "t" => Some(Self::Tar { start, len }),
            "b" => Some(Self::Bytes { start, len }),
            "r" => Some(Self::Row { row: start, column: u32::try_from(len).ok()? }),
            _ => None,
        }
    }
}

impl ImageRef {
    /// A photo that is a file of its own.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self { container: path.into(), member: None, place: None }
    }

    /// The photo called `member` inside the file `container`.
    pub fn member(container: impl Into<PathBuf>, member: impl Into<String>) -> Self {
        Self { container: container.into(), member: Some(member.into()), place: None }
    }

    /// The same member, its bytes at this place.
    #[must_use]
    pub fn at(self, place: Place) -> Self {
        Self { place: Some(place), ..self }
    }

    /// The file that the photo is, or lies in.
    pub fn container(&self) -> &Path {
        &self.container
    }

    /// Where a member's bytes lie, if that is known.
    pub fn place(&self) -> Option<Place> {
        self.place
    }

    /// The path of a photo that is a file of its own.
    pub fn path(&self) -> Option<&Path> {
        self.member.is_none().then_some(&*self.container)
    }

    /// The form that stores keep, which [`ImageRef::from_text`] reads: of a file its path, of a
    /// member both names with the first one's length in bytes and the place, where it is known.
    pub fn to_text(&self) -> String {
        let container = self.container.to_string_lossy();
        match &self.member {
            Some(member) => {
                let place =
                    self.place.map_or(String::new(), |place| format!("@{}", place.to_text()));
                format!("{MEMBER}{}{place}:{container}/{member}", container.len())
            }
            // The same file by a name that is not taken for a member's.
            None if split_member(&container).is_some() => format!("./{container}"),
            None => container.into_owned(),
        }
    }

    /// The photo that a text of [`ImageRef::to_text`] names; any other text is a file's path.
    pub fn from_text(text: &str) -> Self {
        match split_member(text) {
            Some((container, member, place)) => Self { place, ..Self::member(container, member) },
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

/// Container, member and place of a text that names a member.
fn split_member(text: &str) -> Option<(&str, &str, Option<Place>)> {
    let (start, names) = text.strip_prefix(MEMBER)?.split_once(':')?;
    let (len, place) = match start.split_once('@') {
        Some((len, place)) => (len, Some(Place::from_text(place)?)),
        None => (start, None),
    };
    let (container, member) = names.split_at_checked(len.parse().ok()?)?;
    Some((container, member.strip_prefix('/')?, place))
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let places = [
                Place::Tar { start: 512, len: 7 },
                Place::Bytes { start: 0, len: u64::MAX },
                Place::Row { row: 12, column: 3 },
            ];
            for placed in places.map(|place| photo.clone().at(place)) {
                assert_eq!(ImageRef::from_text(&placed.to_text()), placed, "{placed:?}");
                assert_eq!(placed.to_string(), photo.to_string());
            }
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
