//! COCO captions JSON.

mod scan;
mod table;

use std::io::{BufRead, BufReader};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use self::scan::Scan;
use self::table::{Image, Table};
use super::refusal::{Outlet, Refusal};
use super::{Emit, Reader, Source, SourceError, SourceKind, image_folder, text};
use crate::dataset::ImageRef;
use crate::dataset::record::SourceRecord;
use crate::sandbox::FileAccess;

const EXPECTED: &str = "`images` and `annotations` with captions";

/// A COCO captions file: `images` (`id`, `file_name`) and `annotations` (`image_id`, `id`,
/// `caption`).
///
/// The id of a record is the image's `id`; its description is the image's captions in the order of
/// their annotation ids, each ended with a full stop (unless it ends a sentence already) and joined
/// with a space. Records come in the order of `images`.
///
/// The file is streamed, but captions may stand before or behind their images, so the ids, file
/// names and caption texts are held: 80 MB for a file of the size of COCO train2017's (118,287
/// images, 591,753 captions, 96 MB of JSON).
#[derive(Debug)]
pub struct CocoSource {
    path: PathBuf,
    images: PathBuf,
    access: FileAccess,
    /// The file's name, for messages.
    name: String,
}

impl CocoSource {
    /// The captions at `path` for the photos in the folder `images`.
    pub fn new(path: &Path, images: &Path) -> Self {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let access = FileAccess::Anywhere;
        Self { path: path.to_owned(), images: images.to_owned(), access, name }
    }

    /// The same, its file read only where `access` allows.
    #[must_use]
    pub fn reading(self, access: FileAccess) -> Self {
        Self { access, ..self }
    }

    /// Reads the whole file; `None` when the caller asked to stop on the way.
    fn scan(&self, out: &mut Outlet<'_, '_>) -> Result<Option<Table>, SourceError> {
        let file = self.access.open(&self.path)?;
        let mut reader = BufReader::with_capacity(1 << 16, file);
        if reader.fill_buf()?.starts_with("\u{feff}".as_bytes()) {
            reader.consume("\u{feff}".len());
        }
        let mut scan = Scan::new(&self.name, out);
        match scan.run(reader) {
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
                let (line, column, detail) = (fault.line, fault.column, fault.detail);
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
            image: ImageRef::file(self.images.join(&*image.file_name)),
            description: text::description(&joined).map_err(|refusal| refusal.at(&origin))?,
            origin,
        })
    }

    fn send(&self, table: &Table, out: &mut Outlet<'_, '_>) -> ControlFlow<()> {
        for image in table.images() {
            match self.record(table, image) {
                Ok(record) => out.record(record)?,
                Err(refusal) => out.refuse(table.id(image), refusal)?,
            }
        }
        for (id, count) in table.unlisted() {
            let name = &self.name;
            let reason = format!("{name}: {count} captions for image {id}, not among `images`");
            out.refuse(id, Refusal::new("missing_image", reason))?;
        }
        ControlFlow::Continue(())
    }
}

pub(super) const READER: Reader = Reader {
    kind: SourceKind::Coco,
    name: "coco",
    what: "a COCO captions .json",
    folder: false,
    endings: &["json"],
    open: |path, options| {
        let images = image_folder(path, options)?;
        Ok(Box::new(CocoSource::new(path, &images).reading(options.access.clone())))
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
