//! Sources: where captioned photos come from.
//!
//! A source streams its items in an order that depends on its content alone. An item that cannot
//! be used becomes a [`Rejection`] and the reading goes on; only a source that is unusable as a
//! whole is a [`SourceError`]. Ids are unique, and made of the photo's name where there is
//! none; what cannot be matched is reported, never guessed.

mod arrow;
mod bare;
mod coco;
mod columns;
mod encoding;
mod endings;
mod error;
mod fields;
mod folder;
mod ids;
mod jsonl;
mod limited;
mod lines;
mod manifest;
mod outlet;
mod parquet;
mod refusal;
mod rows;
mod shards;
mod sidecar;
mod table;
mod text;
mod webdataset;

use crate::base::failure::Failure;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use super::record::{Rejection, SourceRecord};
use crate::ErrorKind;
use crate::sandbox::{FileAccess, FileFacts, FileKind, remote};

pub use coco::CocoSource;
pub use error::SourceError;
pub use fields::FieldNames;
pub use folder::FolderSource;
pub use ids::MAX_ID_BYTES;
pub use manifest::{MAX_LINE_BYTES, ManifestSource};
pub use sidecar::MAX_SIDECAR_BYTES;

/// What a source gives for each item it meets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceEvent {
    /// A usable item. Whether its image file exists and decodes is the engine's to find out.
    Record(SourceRecord),
    /// A photo of which nothing is said: with its description empty, and as the rejection that it is
    /// where a description is needed.
    Undescribed(SourceRecord, Rejection),
    /// An item that cannot be used; its stage is [`Stage::Source`](super::record::Stage::Source).
    Rejected(Rejection),
}

/// The caller's end of [`Source::read`]: takes one event, says whether to go on.
pub type Emit<'a> = dyn FnMut(SourceEvent) -> ControlFlow<()> + 'a;

/// A stream of captioned photos.
pub trait Source {
    /// The source in words for logs and reports, for instance `folder of photos photos/`.
    fn describe(&self) -> String;

    /// The kind's name: `folder`, `jsonl`, `csv`, `coco`, `webdataset`, `parquet` or `arrow`.
    fn kind(&self) -> &'static str;

    /// Reads every item from the start, in the source's own order, until `emit` breaks.
    /// Two calls over the same content give the same events.
    ///
    /// # Errors
    /// The source as a whole cannot be read, or held no usable item (the events before the error
    /// say why not). A photo of which nothing is said counts as none. A break by `emit` is not an
    /// error.
    fn read(&self, emit: &mut Emit<'_>) -> Result<(), SourceError>;

    /// The folder that the records' images lie in, where the source has one.
    fn image_root(&self) -> Option<&Path>;
}

/// Which reader to use for a path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    /// By the path: a folder (by what it holds), `.jsonl`/`.ndjson`, `.csv`/`.tsv`, `.tar`,
    /// `.parquet`, `.arrow`, or `.json` (COCO captions, or rows as in `.jsonl`: by what it holds).
    #[default]
    Auto,
    /// A folder of photos with `.txt` or `.json` sidecars, or a `metadata.jsonl` or `.csv`.
    Folder,
    /// JSON objects, one per line or in one array: `id`, `image`, `caption`.
    Jsonl,
    /// A table whose first line names its columns.
    Csv,
    /// COCO captions JSON.
    Coco,
    /// Tars of photos with their texts, also several and compressed by gzip.
    Webdataset,
    /// Parquet whose rows hold photos or name them.
    Parquet,
    /// A dataset that Hugging Face's `datasets` saved to disk, or single Arrow files.
    Arrow,
}

/// What becomes of a photo that is nearly the same as one that the run has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum TwinPhotos {
    /// It is kept, and marked.
    #[default]
    Keep,
    /// It is refused before it is matched.
    Skip,
}

impl TwinPhotos {
    /// The name in settings.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// A kind of source: how it is told, and how one is opened. A new kind is a file with one of these,
/// a variant of [`SourceKind`] and a line in [`READERS`].
struct Reader {
    kind: SourceKind,
    /// In settings and on command lines.
    name: &'static str,
    /// In words, for messages.
    what: &'static str,
    opened: Opened,
    /// Endings of its files, in small letters.
    endings: &'static [&'static str],
    open: Open,
}

/// What a reader takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opened {
    /// A folder.
    Folder,
    /// A file, or several that a pattern names.
    File,
    /// Files by themselves, by a pattern, or in a folder.
    Either,
}

/// Opens the source at a path.
type Open = fn(&Path, &SourceOptions) -> Result<Box<dyn Source>, SourceError>;

/// Every kind of source.
static READERS: [Reader; 7] = [
    folder::READER,
    jsonl::READER,
    table::READER,
    coco::READER,
    webdataset::READER,
    parquet::READER,
    arrow::READER,
];

impl FromStr for SourceKind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        if name == "auto" {
            return Ok(Self::Auto);
        }
        let found = READERS.iter().find(|reader| reader.name == name);
        found.map(|reader| reader.kind).ok_or_else(|| {
            let names = READERS.iter().map(|reader| reader.name);
            let known = either(std::iter::once("auto").chain(names));
            format!("unknown source kind `{name}`: use {known}")
        })
    }
}

/// What a source may be, in words.
pub fn expected() -> String {
    either(READERS.iter().map(|reader| reader.what))
}

/// The endings that tell a file's kind, in words.
fn endings() -> String {
    let endings = READERS.iter().flat_map(|reader| reader.endings);
    let dotted: Vec<String> = endings.map(|ending| format!(".{ending}")).collect();
    either(dotted.iter().map(String::as_str))
}

/// The names of the kinds.
fn names() -> String {
    READERS.iter().map(|reader| reader.name).collect::<Vec<_>>().join(", ")
}

/// The words with commas between, and `or` before the last.
fn either<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let words: Vec<_> = words.collect();
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => words.concat(),
    }
}

/// How to open a source.
#[derive(Debug, Clone, Default)]
pub struct SourceOptions {
    /// The folder that a manifest's or COCO file's image names are relative to; by default the
    /// folder of that file. Not for folder sources, whose photos are where they are.
    pub images: Option<PathBuf>,
    /// Which reader to use.
    pub kind: SourceKind,
    /// Which files may be read; an item that leads elsewhere is refused.
    pub access: FileAccess,
    /// How the fields of manifests and sidecars are called.
    pub fields: FieldNames,
    /// End after so many photos; none or 0: all are read.
    pub limit: Option<u64>,
}

/// Opens the source at `path`: a file, a folder, or where nothing has that name, the files that it
/// names as a pattern (`{00..17}`, `{a,b}`, `*`, `?`). Nothing is read yet but the kind of the path,
/// the names in folders and, of a `.json`, its start, which tells rows from COCO.
///
/// # Errors
/// The path or the image folder is missing, is of another kind than asked for, or its kind cannot
/// be told.
pub fn open(path: &Path, options: &SourceOptions) -> Result<Box<dyn Source>, SourceError> {
    let is_folder = match facts(path, &options.access) {
        Ok(facts) => facts.kind == FileKind::Folder,
        Err(SourceError::NotFound { .. }) if shards::is_pattern(path) => false,
        Err(error) => return Err(error),
    };
    let kind = match options.kind {
        SourceKind::Auto if is_folder => shards::kind_of_folder(path, &options.access)?,
        kind => kind,
    };
    let known = READERS.iter().find(|reader| match kind {
        SourceKind::Auto => reader.takes(path),
        kind => reader.kind == kind,
    });
    let Some(reader) = known else {
        return Err(SourceError::UnknownKind { path: path.to_owned() });
    };
    if reader.opened != Opened::Either && (reader.opened == Opened::Folder) != is_folder {
        let expected = if is_folder { "a file" } else { "a folder of photos" };
        return Err(SourceError::WrongType { path: path.to_owned(), expected });
    }
    let source = (reader.open)(path, options)?;
    Ok(match options.limit {
        Some(limit @ 1..) => Box::new(limited::Limited { source, limit }),
        Some(0) | None => source,
    })
}

impl Reader {
    /// Whether a file or pattern that nothing else is known of is read by this.
    fn takes(&self, path: &Path) -> bool {
        let name = path.file_name().map(|name| name.to_string_lossy());
        name.is_some_and(|name| shards::has_ending(&name, self.endings))
    }
}

fn facts(path: &Path, access: &FileAccess) -> Result<FileFacts, SourceError> {
    access.facts(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => SourceError::NotFound { path: path.to_owned() },
        _ => SourceError::from(error),
    })
}

/// The folder that image names are relative to: `--images`, else the file's own folder.
fn image_folder(path: &Path, options: &SourceOptions) -> Result<PathBuf, SourceError> {
    let Some(images) = &options.images else {
        return Ok(path.parent().map(Path::to_owned).unwrap_or_default());
    };
    if !remote::lists_folders(images) {
        return Ok(options.access.resolve(images)?);
    }
    match facts(images, &options.access) {
        Ok(found) if found.kind == FileKind::Folder => Ok(images.clone()),
        Ok(_) | Err(SourceError::NotFound { .. }) => {
            Err(SourceError::ImagesNotFound { images: images.clone() })
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
