use std::ffi::OsStr;
use std::path::Path;

use super::super::endings;
use super::super::refusal::Refusal;
use super::super::sidecar::Sidecars;
use super::metadata::FILES;
use crate::image::Format;
use crate::sandbox::{ConfineError, FileAccess, FileKind, FolderEntry};

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
        let entries = access.list(folder)?;
        // Listed by name, so in order.
        let has = |name: &str| {
            entries.binary_search_by(|entry| (*entry.name).cmp(OsStr::new(name))).is_ok()
        };
        // What img2dataset counted of the shard beside it describes no photo.
        let counts = |name: &OsStr| {
            let shard = name.to_str().and_then(|name| name.strip_suffix("_stats.json"));
            shard.is_some_and(|shard| has(shard) || has(&format!("{shard}.parquet")))
        };
        for entry in &entries {
            if !counts(&entry.name) {
                listing.add(folder, entry);
            }
        }
        Ok(listing)
    }

    fn add(&mut self, folder: &Path, entry: &FolderEntry) {
        let Some(name) = entry.name.to_str() else { return self.unprintable(&entry.name) };
        if is_hidden(name) {
            return;
        }
        match self.place(folder, name, &entry.kind) {
            Ok(()) => {}
            Err(refusal) => self.refused.push((name.to_owned(), refusal)),
        }
    }

    fn place(
        &mut self,
        folder: &Path,
        name: &str,
        kind: &Result<FileKind, ConfineError>,
    ) -> Result<(), Refusal> {
        let role = role(name);
        let kind = match kind {
            Ok(kind) => *kind,
            // A link that leads out may be a folder of photos: it is counted whatever its name.
            Err(error) if role.is_some() || error.is_outside() => {
                return Err(Refusal::unreadable("unreadable_file", error));
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
                let (_, ending) = name.rsplit_once('.').unwrap_or_default();
                let reason = format!("{name} is {}", endings::unread(ending));
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
        ending if Format::is_ending(ending) => Some(Role::Photo),
        ending if endings::is_other_photo(ending) => Some(Role::OtherPhoto),
        _ => None,
    }
}
