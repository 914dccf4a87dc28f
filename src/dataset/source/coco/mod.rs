//! COCO captions JSON.

mod scan;
mod table;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use self::scan::Scan;
use self::table::{Image, Table};
use super::bare::Bare;
use super::fields::FieldNames;
use super::manifest::{ManifestSource, file_name, photo};
use super::outlet::{Outlet, There};
use super::refusal::Refusal;
use super::{
    Emit, Opened, Reader, Source, SourceError, SourceKind, encoding, image_folder, jsonl, text,
};
use crate::dataset::record::SourceRecord;
use crate::sandbox::FileAccess;

const EXPECTED: &str = "`images` and `annotations` with captions";

/// Refused captions whose reason may hint at an image.
const HINTS: usize = 20;

/// A COCO captions file: `images` (`id`, `file_name`) and `annotations` (`image_id`, `id`,
/// `caption`).
///
/// The id of a record is the image's `id`; its description is the image's captions in the order of
/// their annotation ids, each ended with a full stop (unless it ends a sentence already) and joined
/// with a space. Records come in the order of `images`.
///
/// Ids that are numbers and differ only in zeros before them are the same where just one image of
/// `images` bears such a one. An image without an id has its file's name without ending. In a file
/// without `annotations`, captions may stand in the entries of `images`. Of a field that stands
/// twice in an entry the last one holds, as in Python.
///
/// The file is streamed, but captions may stand before or behind their images, so the ids, file
/// names and caption texts are held: 80 MB for a file of the size of COCO train2017's (118,287
/// images, 591,753 captions, 96 MB of JSON).
#[derive(Debug)]
pub struct CocoSource {
    path: PathBuf,
    images: PathBuf,
    access: FileAccess,
    fields: FieldNames,
    /// The file's name, for messages.
    name: String,
}

impl CocoSource {
    /// The captions at `path` for the photos in the folder `images`.
    pub fn new(path: &Path, images: &Path) -> Self {
        let (access, fields) = (FileAccess::Anywhere, FieldNames::default());
        let (name, path, images) = (file_name(path), path.to_owned(), images.to_owned());
        Self { path, images, access, fields, name }
    }

    /// The same, its file read only where `access` allows, its fields called as `fields` says.
    #[must_use]
    pub fn reading(self, access: FileAccess, fields: FieldNames) -> Self {
        Self { access, fields, ..self }
    }

    /// Reads the whole file; `None` when the caller asked to stop on the way.
    fn scan(&self, out: &mut Outlet<'_, '_>) -> Result<Option<Table>, SourceError> {
        let text = encoding::open(&self.path, &self.access)?;
        let mut scan = Scan::new(&self.name, &self.fields, out);
        match scan.run(Bare::new(text)) {
            Ok(()) => {}
            Err(_) if scan.stopped() => return Ok(None),
            Err(error) => return Err(self.fault(error)),
        }
        let not_coco = |detail: &str| {
            let detail = detail.to_owned();
            Err(SourceError::NotCoco { path: self.path.clone(), detail })
        };
        match scan.finish() {
            Ok(table) => Ok(table),
            Err(detail) => not_coco(detail),
        }
    }

    fn fault(&self, error: serde_json::Error) -> SourceError {
        use serde_json::error::Category;
        let path = self.path.clone();
        match error.classify() {
            Category::Io => SourceError::Io(error.into()),
            Category::Data => SourceError::NotCoco { path, detail: error.to_string() },
            Category::Syntax | Category::Eof => {
                let fault = super::fields::JsonFault::from(error);
                let (line, column, mut detail) = (fault.line, fault.column, fault.detail);
                if detail.contains("key must be a string") || detail.contains("expected value") {
                    detail += " (Python's own notation, with ' or None, must be written with \
                               json.dumps)";
                }
                SourceError::InvalidJson { path, line, column, detail }
            }
        }
    }

    fn record(&self, table: &Table, image: &Image) -> Result<SourceRecord, Refusal> {
        let origin = format!("{}: image {}", self.name, table.id(image));
        let joined = text::join_captions(table.captions(image));
        if joined.is_empty() {
            let reason = format!("{origin} ({}) has no caption", image.file_name);
            return Err(Refusal::new("missing_description", reason));
        }
        Ok(SourceRecord {
            id: table.id(image).to_owned(),
            image: photo(&self.images, &image.file_name),
            description: text::description(&joined).map_err(|refusal| refusal.at(&origin))?,
            descriptions: text::apart(table.captions(image)),
            license: table.license(image),
            origin,
        })
    }

    fn send(&self, table: &Table, out: &mut Outlet<'_, '_>) -> ControlFlow<()> {
        for image in table.images() {
            match self.record(table, image) {
                Ok(record) => out.record(record)?,
                Err(refusal) => {
                    let photo = photo(&self.images, &image.file_name);
                    let origin = format!("{}: image {}", self.name, table.id(image));
                    let (id, license) = (table.id(image), table.license(image));
                    out.refuse_text(There { id, image: photo, origin: &origin, license }, refusal)?;
                }
            }
        }
        for (place, (id, count)) in table.unlisted().enumerate() {
            let name = &self.name;
            let mut reason = format!("{name}: {count} captions for image {id}, not among `images`");
            // Looking through all images for each of many would take too long.
            if let Some(image) = (place < HINTS).then(|| table.of_that_name(id)).flatten() {
                let (file, id) = (&image.file_name, table.id(image));
                reason += &format!("; that is the name of {file}, whose id is {id}");
            }
            out.refuse(id, Refusal::new("missing_image", reason))?;
        }
        ControlFlow::Continue(())
    }
}

pub(super) const READER: Reader = Reader {
    kind: SourceKind::Coco,
    name: "coco",
    what: "a COCO captions .json",
    opened: Opened::File,
    endings: &["json"],
    open: |path, options| {
        let told = options.kind == SourceKind::Coco;
        if !told && jsonl::holds_rows(path, &options.access, &options.fields)? {
            return ManifestSource::open(path, options, &jsonl::LAYOUT);
        }
        let source = CocoSource::new(path, &image_folder(path, options)?);
        Ok(Box::new(source.reading(options.access.clone(), options.fields.clone())))
    },
};

impl Source for CocoSource {
    fn describe(&self) -> String {
        format!("COCO captions {}", self.path.display())
    }

    fn kind(&self) -> &'static str {
        "coco"
    }

    fn image_root(&self) -> Option<&Path> {
        Some(&self.images)
    }

    fn read(&self, emit: &mut Emit<'_>) -> Result<(), SourceError> {
        let mut out = Outlet::new(emit);
        let Some(table) = self.scan(&mut out)? else {
            return Ok(());
        };
        if self.send(&table, &mut out).is_break() {
            return Ok(());
        }
        out.conclude(&self.path, EXPECTED)
    }
}

#[cfg(test)]
mod tests;
