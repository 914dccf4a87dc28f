//! A folder of photos with a text beside each.

mod listing;
mod metadata;

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use self::listing::{Listing, is_hidden};
use self::metadata::Metadata;
use super::endings::stem;
use super::fields::FieldNames;
use super::ids::IdBook;
use super::outlet::{Outlet, There};
use super::refusal::Refusal;
use super::sidecar::{FolderDesk, SidecarText, Sidecars};
use super::text::{Captions, Texts};
use super::{Emit, Opened, Reader, Source, SourceError, SourceKind};
use crate::dataset::ImageRef;
use crate::image::Format;
use crate::sandbox::{ConfineError, FileAccess};

fn expected() -> String {
    let photos = Format::ENDINGS.join(", ");
    format!(
        "photos ({photos}), each with a .txt or .json of the same name beside it, or a \
         metadata.jsonl or metadata.csv"
    )
}

/// A folder of photos, read with its subfolders in the order of their names, each folder's photos
/// before its subfolders. Hidden files and folders are skipped.
///
/// The description of `photo.jpg` is `photo.txt` or `photo.jpg.txt`; where there is neither or it
/// is empty, `photo.json` or `photo.jpg.json`, an object with the fields of [`FieldNames`]; where
/// there is none of these, the rows that name the photo in the `metadata.jsonl` (else
/// `metadata.csv`) of its folder or of one above, as Hugging Face's ImageFolder has them. A `.json`
/// beside a `.txt` with a text is taken for metadata of another tool and not read. The id is the
/// path below the folder without its extension (`trip/photo`), unless the `.json` or the row names
/// one.
///
/// Linked files and folders are followed, but each folder is read only once. Memory: the names in
/// one folder, the ids (100,000 photos in three folders took 27 MB), and what metadata files say.
#[derive(Debug)]
pub struct FolderSource {
    root: PathBuf,
    access: FileAccess,
    fields: FieldNames,
}

impl FolderSource {
    /// The photos below `root`.
    pub fn new(root: &Path) -> Self {
        let (access, fields) = (FileAccess::Anywhere, FieldNames::default());
        Self { root: root.to_owned(), access, fields }
    }

    /// The same, reading only where `access` allows, the fields of its texts called as `fields`
    /// says.
    #[must_use]
    pub fn reading(self, access: FileAccess, fields: FieldNames) -> Self {
        Self { access, fields, ..self }
    }
}

pub(super) const READER: Reader = Reader {
    kind: SourceKind::Folder,
    name: "folder",
    what: "a folder of photos",
    opened: Opened::Folder,
    endings: &[],
    open: |path, options| match &options.images {
        Some(images) => Err(SourceError::ImagesNotUsed { images: images.clone() }),
        None => {
            let source = FolderSource::new(path);
            Ok(Box::new(source.reading(options.access.clone(), options.fields.clone())))
        }
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
            fields: &self.fields,
            out: Outlet::new(emit),
            ids: IdBook::new(),
            metadata: Metadata::default(),
            manifest: None,
            seen: HashSet::new(),
            pending: vec![Folder { path: self.root.clone(), name: String::new() }],
        };
        while let Some(folder) = walk.pending.pop() {
            if walk.folder(&folder).is_break() {
                return Ok(());
            }
        }
        if walk.metadata.refuse_unused(&mut walk.out).is_break() {
            return Ok(());
        }
        let hint = walk.manifest.map(|name| format!(" (or give {name}, which lies in it)"));
        walk.out.conclude(&self.root, &(expected() + &hint.unwrap_or_default()))
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
    fields: &'a FieldNames,
    out: Outlet<'a, 'b>,
    metadata: Metadata,
    /// The first file met that may be a source itself.
    manifest: Option<String>,
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
        if let Some(file) = listing.metadata {
            let below = folder.below("");
            let file = (&*folder.path, &*below, file);
            self.metadata.read(file, self.access, self.fields, &mut self.out)?;
        }
        if let (None, Some(name)) = (&self.manifest, listing.manifests.first()) {
            self.manifest = Some(folder.below(name));
        }
        let stems: HashSet<&str> = listing.photos.iter().map(|name| stem(name)).collect();
        let mut beside = Beside { sidecars: listing.sidecars, stems, small: None };
        for photo in &listing.photos {
            self.photo(folder, photo, &mut beside)?;
        }
        for orphan in beside.sidecars.unused() {
            let place = folder.below(orphan);
            let mut reason = format!("{place} describes no photo that can be read beside it");
            let name = stem(orphan);
            // Listed by name, so in order.
            if listing.bare.binary_search_by(|bare| bare.as_str().cmp(name)).is_ok() {
                reason += &format!("; `{name}` has no ending that says what it is, such as .jpg");
            }
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

    fn photo(&mut self, folder: &Folder, photo: &str, beside: &mut Beside<'_>) -> ControlFlow<()> {
        let place = folder.below(photo);
        let name = stem(&place);
        let told = match self.told(folder, photo, beside) {
            Ok(told) => told,
            Err((None, refusal)) if refusal.is_for_want_of_text() => {
                Told { place: place.clone(), id: None, captions: Err(refusal), license: None }
            }
            Err((file, refusal)) => {
                let file = file.map_or_else(|| place.clone(), |file| folder.below(&file));
                return self.out.refuse(name, refusal.at(&file));
            }
        };
        let id = told.id.as_deref().unwrap_or(name);
        if let Err(refusal) = self.claim(id, &place) {
            return self.out.refuse(name, refusal.at(&told.place));
        }
        let image = ImageRef::file(folder.path.join(photo));
        let photo = There { id, image, origin: &place, license: told.license };
        self.out.told(photo, told.captions, &told.place)
    }

    fn claim(&mut self, id: &str, place: &str) -> Result<(), Refusal> {
        self.ids.claim(id, place.into(), |place| place.to_string())
    }

    /// What is said of a photo: beside it, else in the metadata of a folder.
    fn told(
        &mut self,
        folder: &Folder,
        photo: &str,
        beside: &mut Beside<'_>,
    ) -> Result<Told, (Option<String>, Refusal)> {
        let stems = &beside.stems;
        let candidates = beside.sidecars.of(photo, |name| !stems.contains(name));
        let desk = FolderDesk { folder: &folder.path, access: self.access, names: self.fields };
        // Marks the row as used whoever is taken.
        let row = self.metadata.of(&folder.below(photo));
        let sidecar = match candidates.read(&desk) {
            Some(Ok(text)) => Some(text),
            Some(Err(refused)) => return Err(refused),
            None => None,
        };
        match (sidecar, row) {
            (Some(text), None) => Ok(Told::beside(folder, text)),
            (Some(text), Some(_)) if text.captions.is_ok() => Ok(Told::beside(folder, text)),
            (_, Some(row)) => Ok(Told {
                place: row.place.clone(),
                id: row.id.clone(),
                captions: Texts::together(row.texts.clone()).captions(),
                license: row.license.clone(),
            }),
            (None, None) => Err((None, beside.missing(photo))),
        }
    }
}

/// What is said of a photo.
struct Told {
    /// Where, below the root.
    place: String,
    id: Option<String>,
    captions: Result<Captions, Refusal>,
    license: Option<String>,
}

impl Told {
    fn beside(folder: &Folder, text: SidecarText) -> Self {
        let SidecarText { file, id, captions, license } = text;
        Self { place: folder.below(&file), id, captions, license }
    }
}

/// What lies beside the photos of one folder.
struct Beside<'a> {
    sidecars: Sidecars,
    /// The photos' names without their endings.
    stems: HashSet<&'a str>,
    /// Sidecars by their names in small letters, once they are asked for.
    small: Option<HashMap<String, String>>,
}

impl Beside<'_> {
    fn missing(&mut self, photo: &str) -> Refusal {
        let name = stem(photo);
        let mut reason = format!("no description: neither {name}.txt nor {name}.json is beside it");
        let small = self.small.get_or_insert_with(|| self.sidecars.in_small_letters());
        if let Some(file) = small.get(&name.to_lowercase()) {
            reason += &format!("; {file} differs in capital letters alone: rename one of the two");
        }
        Refusal::new("missing_description", reason)
    }
}

#[cfg(test)]
mod tests;
