use std::ffi::OsStr;
use std::path::Path;

use super::super::refusal::Refusal;
use super::metadata::FILES;
use super::sidecar::Sidecars;
use crate::sandbox::{ConfineError, FileAccess, FileKind, FolderEntry};

const PHOTOS: [&str; 8] = ["jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff"];
/// Photos that other tools read and ours does not: named in a refusal rather than passed over.
const OTHER_PHOTOS: [&str; 9] = ["heic", "heif", "avif", "jxl", "jp2", "svg", "psd", "cr2", "dng"];

/// What one folder holds, each list in the order of the names.
#[derive(Default)]
pub(super) struct Listing {
    pub photos: Vec<String>,
    pub sidecars: Sidecars,
    pub folders: Vec<String>,
    /// The file that describes many photos, if there is one.
    pub metadata: Option<&'static str>,
    /// Files without any ending, and files that are a source themselves: what a hint may name.
    pub bare: Vec<String>,
    pub manifests: Vec<String>,
    /// Entries that cannot be used, by name.
    pub refused: Vec<(String, Refusal)>,
}

enum Role {
    Photo,
    OtherPhoto,
    Text,
    Json,
}

impl Listing {
    pub fn read(folder: &Path, access: &FileAccess) -> Result<Self, ConfineError> {
        let mut listing = Self::default();
        for entry in access.list(folder)? {
            listing.add(folder, entry);
        }
        Ok(listing)
    }

    fn add(&mut self, folder: &Path, entry: FolderEntry) {
        let Some(name) = entry.name.to_str() else { return self.unprintable(&entry.name) };
        if is_hidden(name) {
            return;
        }
        match self.place(folder, name, entry.kind) {
            Ok(()) => {}
            Err(refusal) => self.refused.push((name.to_owned(), refusal)),
        }
    }

    fn place(
        &mut self,
        folder: &Path,
        name: &str,
        kind: Result<FileKind, ConfineError>,
    ) -> Result<(), Refusal> {
        let role = role(name);
        let kind = match kind {
            Ok(kind) => kind,
            // A link that leads out may be a folder of photos: it is counted whatever its name.
            Err(error) if role.is_some() || error.is_outside() => {
                return Err(Refusal::unreadable("unreadable_file", &error));
            }
            // A broken link that is neither photo nor text is none of our business.
            Err(_) => return Ok(()),
        };
        if kind == FileKind::Folder {
            self.folders.push(name.to_owned());
            return Ok(());
        }
        let Some(role) = role else {
            self.aside(name);
            return Ok(());
        };
        if kind != FileKind::File {
            let reason = format!("{} is not a regular file", folder.join(name).display());
            return Err(Refusal::new("not_a_file", reason));
        }
        match role {
            Role::Photo => self.photos.push(name.to_owned()),
            Role::Text => self.sidecars.add_text(name),
            Role::Json => self.sidecars.add_json(name),
            Role::OtherPhoto => {
                let known = PHOTOS.join(", ");
                let reason = format!("{name} is of a format that is not read; known: {known}");
                return Err(Refusal::new("unsupported_format", reason));
            }
        }
        Ok(())
    }

    /// A file that neither is a photo nor describes one by its name.
    fn aside(&mut self, name: &str) {
        let metadata = |name: &str| FILES.iter().position(|known| *known == name);
        match (metadata(name), name.rsplit_once('.')) {
            (Some(rank), _) => {
                let best = self.metadata.and_then(metadata).map_or(rank, |other| other.min(rank));
                self.metadata = Some(FILES[best]);
            }
            (None, None) => self.bare.push(name.to_owned()),
            (None, Some((_, "jsonl" | "ndjson" | "csv" | "tsv"))) => {
                self.manifests.push(name.to_owned());
            }
            (None, Some(_)) => {}
        }
    }

    fn unprintable(&mut self, name: &OsStr) {
        let shown = name.to_string_lossy().into_owned();
        if role(&shown).is_some() {
            let reason = format!("the file name {name:?} is not UTF-8");
            self.refused.push((shown, Refusal::new("invalid_file_name", reason)));
        }
    }
}

pub(super) fn is_hidden(name: &str) -> bool {
    name.starts_with('.')
}

fn role(name: &str) -> Option<Role> {
    let extension = name.rsplit_once('.')?.1.to_ascii_lowercase();
    match extension.as_str() {
        "txt" => Some(Role::Text),
        "json" => Some(Role::Json),
        photo if PHOTOS.contains(&photo) => Some(Role::Photo),
        photo if OTHER_PHOTOS.contains(&photo) => Some(Role::OtherPhoto),
        _ => None,
    }
}

/// A name without its last extension.
pub(super) fn stem(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

/// A photo's name without the ending that says what it is; any other name as it is.
pub(in super::super) fn without_ending(name: &str) -> &str {
    match name.rsplit_once('.') {
        Some((stem, ending)) if !stem.is_empty() && is_photo_ending(ending) => stem,
        _ => name,
    }
}

fn is_photo_ending(ending: &str) -> bool {
    let ending = ending.to_ascii_lowercase();
    PHOTOS.contains(&&*ending) || OTHER_PHOTOS.contains(&&*ending)
}
