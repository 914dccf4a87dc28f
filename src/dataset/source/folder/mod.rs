//! A folder of photos with a text beside each.

mod listing;
mod sidecar;

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use self::listing::{Listing, is_hidden};
use self::sidecar::Sidecars;
use super::ids::IdBook;
use super::refusal::{Outlet, Refusal};
use super::{Emit, Reader, Source, SourceError, SourceKind};
use crate::dataset::ImageRef;
use crate::dataset::record::SourceRecord;
use crate::sandbox::{ConfineError, FileAccess};

pub use self::sidecar::MAX_SIDECAR_BYTES;

const EXPECTED: &str = "photos (jpg, jpeg, png, webp, gif, bmp, tif, tiff), each with a .txt or \
                        .json of the same name beside it";

/// A folder of photos, read with its subfolders in the order of their names, each folder's photos
/// before its subfolders. Hidden files and folders are skipped.
///
/// The description of `photo.jpg` is `photo.txt` or `photo.jpg.txt`; where there is neither,
/// `photo.json` or `photo.jpg.json`, an object with `description`, `caption` or `captions` and
/// perhaps an `id`. A `.json` beside a `.txt` is taken for metadata of another tool and not read.
/// The id is the path below the folder without its extension (`trip/photo`), unless the `.json`
/// names one.
///
/// Linked files and folders are followed, but each folder is read only once. Memory: the names in
/// one folder, and the ids (100,000 photos in three folders took 27 MB).
#[derive(Debug)]
pub struct FolderSource {
    root: PathBuf,
    access: FileAccess,
}

impl FolderSource {
    /// The photos below `root`.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), access: FileAccess::Anywhere }
    }

    /// The same, reading only where `access` allows.
    #[must_use]
    pub fn reading(self, access: FileAccess) -> Self {
        Self { access, ..self }
    }
}

pub(super) const READER: Reader = Reader {
    kind: SourceKind::Folder,
    name: "folder",
    what: "a folder of photos",
    folder: true,
    endings: &[],
    open: |path, options| match &options.images {
        Some(images) => Err(SourceError::ImagesNotUsed { images: images.clone() }),
        None => Ok(Box::new(FolderSource::new(path).reading(options.access.clone()))),
    },
};

impl Source for FolderSource {
    fn describe(&self) -> String {
        format!("folder of photos {}", self.root.display())
    }

    fn kind(&self) -> &'static str {
        "folder"
    }

    fn image_root(&self) -> Option<&Path> {
        Some(&self.root)
    }

    fn read(&self, emit: &mut Emit<'_>) -> Result<(), SourceError> {
        // A root that cannot be read is the whole source's error; a subfolder is only refused.
        self.access.list(&self.root)?;
        let mut walk = Walk {
            access: &self.access,
            out: Outlet::new(emit),
            ids: IdBook::new(),
            seen: HashSet::new(),
            pending: vec![Folder { path: self.root.clone(), name: String::new() }],
        };
        while let Some(folder) = walk.pending.pop() {
            if walk.folder(&folder).is_break() {
                return Ok(());
            }
        }
        walk.out.conclude(&self.root, EXPECTED)
    }
}

/// One folder: where it is, and its name below the root with `/` between parts, empty for the root.
struct Folder {
    path: PathBuf,
    name: String,
}

impl Folder {
    /// The name below the root of the entry called `name` here.
    fn below(&self, name: &str) -> String {
        if self.name.is_empty() { name.to_owned() } else { format!("{}/{name}", self.name) }
    }
}

struct Walk<'a, 'b> {
    access: &'a FileAccess,
    out: Outlet<'a, 'b>,
    /// Ids with the photos that have them.
    ids: IdBook<Box<str>>,
    /// The real paths of the folders read so far.
    seen: HashSet<PathBuf>,
    /// Folders yet to be read, the next one last.
    pending: Vec<Folder>,
}

impl Walk<'_, '_> {
    fn folder(&mut self, folder: &Folder) -> ControlFlow<()> {
        let listing = match self.list(folder) {
            Ok(listing) => listing,
            Err(refusal) => return self.out.refuse(&folder.name, refusal),
        };
        for (name, refusal) in listing.refused {
            self.out.refuse(&folder.below(&name), refusal)?;
        }
        let mut sidecars = listing.sidecars;
        for photo in &listing.photos {
            self.photo(folder, photo, &mut sidecars)?;
        }
        for orphan in sidecars.unused() {
            let place = folder.below(orphan);
            let reason = format!("{place} describes no photo that can be read beside it");
            self.out.refuse(&place, Refusal::new("missing_image", reason))?;
        }
        let below = listing.folders.into_iter().rev().filter(|name| !is_hidden(name));
        self.pending.extend(
            below.map(|name| Folder { path: folder.path.join(&name), name: folder.below(&name) }),
        );
        ControlFlow::Continue(())
    }

    /// What a folder holds, unless it was read before under another name (a link, perhaps a loop).
    fn list(&mut self, folder: &Folder) -> Result<Listing, Refusal> {
        let unreadable = |error: ConfineError| Refusal::unreadable("unreadable_folder", &error);
        let real = self.access.real_path(&folder.path).map_err(unreadable)?;
        if let Some(real) = self.seen.replace(real) {
            let reason = format!("{} was read before as {}", folder.path.display(), real.display());
            return Err(Refusal::new("folder_seen_twice", reason));
        }
        Listing::read(&folder.path, self.access).map_err(unreadable)
    }

    fn photo(&mut self, folder: &Folder, photo: &str, sidecars: &mut Sidecars) -> ControlFlow<()> {
        let place = folder.below(photo);
        let stem = listing::stem(&place);
        let choice = sidecars.choose(photo);
        let text =
            choice.map(|choice| (choice.file().to_owned(), choice.read(&folder.path, self.access)));
        let (file, text) = match text {
            Ok((file, Ok(text))) => (folder.below(&file), text),
            Ok((file, Err(refusal))) => {
                return self.out.refuse(stem, refusal.at(&folder.below(&file)));
            }
            Err(refusal) => return self.out.refuse(stem, refusal.at(&place)),
        };
        let id = text.id.as_deref().unwrap_or(stem);
        if let Err(refusal) = self.ids.claim(id, place.as_str().into(), |place| place.to_string()) {
            return self.out.refuse(stem, refusal.at(&file));
        }
        let image = ImageRef::file(folder.path.join(photo));
        match text.description {
            Ok(description) => self.out.record(SourceRecord {
                id: id.to_owned(),
                image,
                description,
                origin: place,
            }),
            Err(refusal) => self.out.refuse(id, refusal.at(&file)),
        }
    }
}

#[cfg(test)]
mod tests;
