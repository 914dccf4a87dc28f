//! Manifests: files whose rows name a photo and say what is on it.

use std::fmt;
use std::io::BufRead;
use std::num::NonZeroU32;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;

use super::fields::{FieldNames, Fields};
use super::ids::{IdBook, printable};
use super::refusal::{Outlet, Refusal};
use super::text::{Captions, Texts};
use super::{Emit, Source, SourceError, SourceOptions, encoding, image_folder};
use crate::dataset::ImageRef;
use crate::dataset::record::SourceRecord;
use crate::sandbox::FileAccess;

/// The longest row of a manifest, in bytes. A longer one is refused without being held in memory.
pub const MAX_LINE_BYTES: usize = 8 << 20;

/// The most rows without an id that are taken for one photo.
const MAX_JOINED: usize = 64;

/// Where a row begins in its file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// From 1.
    pub line: u64,
    /// In bytes from 1, where another row stands before it on its line.
    pub column: Option<NonZeroU32>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.column {
            Some(column) => write!(f, "{}:{column}", self.line),
            None => write!(f, "{}", self.line),
        }
    }
}

/// Takes what a row says, or why it says nothing.
pub(super) type Take<'t> = dyn FnMut(Place, Result<Fields<'_>, Refusal>) -> ControlFlow<()> + 't;

/// A way to lay out rows in a file.
#[derive(Debug)]
pub(super) struct Layout {
    /// The kind of source that it is.
    pub kind: &'static str,
    /// In words.
    pub name: &'static str,
    pub expected: &'static str,
    pub rows: ReadRows,
}

/// Hands every row of the file on, until told to stop.
type ReadRows =
    fn(&File<'_>, Box<dyn BufRead + '_>, &FieldNames, &mut Take<'_>) -> Result<(), SourceError>;

/// A file for messages: where it is and its bare name.
pub(super) struct File<'a> {
    pub path: &'a Path,
    pub name: &'a str,
}

impl Layout {
    /// Reads all rows of a file.
    pub fn read(
        &self,
        path: &Path,
        access: &FileAccess,
        fields: &FieldNames,
        take: &mut Take<'_>,
    ) -> Result<(), SourceError> {
        let text = encoding::open(path, access)?;
        (self.rows)(&File { path, name: &file_name(path) }, text, fields, take)
    }
}

/// A manifest: rows of JSON or of a table, each with
/// - an id, a string or a whole number, unique in the file; a row without one gets an id made of
///   its photo's name, and rows behind each other that name the same photo are one record;
/// - a photo: a path, relative to the image folder or absolute;
/// - the description: a text, or a list of them (joined as sentences).
///
/// [`FieldNames`] says which fields these are. Other fields are left alone. Holds one row at a time
/// and the ids.
#[derive(Debug)]
pub struct ManifestSource {
    path: PathBuf,
    images: PathBuf,
    access: FileAccess,
    fields: FieldNames,
    layout: &'static Layout,
}

impl ManifestSource {
    pub(super) fn new(path: &Path, images: &Path, layout: &'static Layout) -> Self {
        let (access, fields) = (FileAccess::Anywhere, FieldNames::default());
        Self { path: path.to_owned(), images: images.to_owned(), access, fields, layout }
    }

    /// Opens a file of this layout as a source's reader does.
    pub(super) fn open(
        path: &Path,
        options: &SourceOptions,
        layout: &'static Layout,
    ) -> Result<Box<dyn Source>, SourceError> {
        let source = Self::new(path, &image_folder(path, options)?, layout);
        Ok(Box::new(source.reading(options.access.clone(), options.fields.clone())))
    }

    /// The same, its file read only where `access` allows, its fields called as `fields` says.
    #[must_use]
    pub fn reading(self, access: FileAccess, fields: FieldNames) -> Self {
        Self { access, fields, ..self }
    }
}

impl Source for ManifestSource {
    fn describe(&self) -> String {
        format!("{} {}", self.layout.name, self.path.display())
    }

    fn kind(&self) -> &'static str {
        self.layout.kind
    }

    fn image_root(&self) -> Option<&Path> {
        Some(&self.images)
    }

    fn read(&self, emit: &mut Emit<'_>) -> Result<(), SourceError> {
        let (name, images) = (file_name(&self.path), &*self.images);
        let (ids, out) = (IdBook::new(), Outlet::new(emit));
        let mut records = Records { name: &name, images, ids, out, pending: None };
        self.layout.read(&self.path, &self.access, &self.fields, &mut |line, row| {
            records.row(line, row)
        })?;
        if records.out.stopped || records.flush().is_break() {
            return Ok(());
        }
        records.out.conclude(&self.path, self.layout.expected)
    }
}

/// Turns rows into records.
struct Records<'m, 'a, 'b> {
    name: &'m str,
    images: &'m Path,
    /// With the line of each.
    ids: IdBook<Place>,
    out: Outlet<'a, 'b>,
    /// A row without an id, which the next one may add to.
    pending: Option<Pending>,
}

struct Pending {
    line: Place,
    image: String,
    texts: Vec<Texts>,
}

impl Records<'_, '_, '_> {
    fn row(&mut self, line: Place, row: Result<Fields<'_>, Refusal>) -> ControlFlow<()> {
        let refusal = match row.and_then(|fields| Ok((fields.id()?, fields))) {
            Ok((Some(id), fields)) => {
                self.flush()?;
                return self
                    .named(line, id, || Ok((fields.image()?.to_owned(), fields.captions())));
            }
            Ok((None, fields)) => match (fields.image(), fields.captions()) {
                (Ok(image), Ok(texts)) => return self.unnamed(line, image, texts),
                (Ok(image), Err(refusal)) if refusal.is_for_want_of_text() => {
                    self.flush()?;
                    let (id, image) = (self.ids.make(image), image.to_owned());
                    return self.named(line, id, || Ok((image, Err(refusal))));
                }
                (Err(refusal), _) | (_, Err(refusal)) => refusal,
            },
            Err(refusal) => refusal,
        };
        self.flush()?;
        let place = self.place(line);
        self.out.refuse(&place, refusal.at(&place))
    }

    fn place(&self, line: Place) -> String {
        format!("{}:{line}", self.name)
    }

    /// Sends a row that has an id.
    fn named(
        &mut self,
        line: Place,
        id: String,
        read: impl FnOnce() -> Result<(String, Result<Texts, Refusal>), Refusal>,
    ) -> ControlFlow<()> {
        let place = self.place(line);
        let subject = printable(&id).unwrap_or(&place).to_owned();
        let claimed = self.ids.claim(&id, line, |line| format!("line {line}"));
        let (image, texts) = match claimed.and_then(|()| read()) {
            Ok((image, texts)) => (photo(self.images, &image), texts),
            Err(refusal) => return self.out.refuse(&subject, refusal.at(&place)),
        };
        match texts.and_then(Texts::captions) {
            Ok(Captions { description, apart: descriptions }) => self.out.record(SourceRecord {
                id,
                image,
                description,
                descriptions,
                origin: place,
            }),
            Err(refusal) => {
                let refusal = refusal.at(&place);
                self.out.refuse_text((&id, image, &place), refusal)
            }
        }
    }

    /// Keeps a row without an id until it is known that the next one is about another photo.
    fn unnamed(&mut self, line: Place, image: &str, texts: Texts) -> ControlFlow<()> {
        if let Some(pending) = &mut self.pending
            && pending.image == image
            && pending.texts.len() < MAX_JOINED
        {
            pending.texts.push(texts);
            return ControlFlow::Continue(());
        }
        self.flush()?;
        self.pending = Some(Pending { line, image: image.to_owned(), texts: vec![texts] });
        ControlFlow::Continue(())
    }

    fn flush(&mut self) -> ControlFlow<()> {
        let Some(Pending { line, image, texts }) = self.pending.take() else {
            return ControlFlow::Continue(());
        };
        let id = self.ids.make(&image);
        self.named(line, id, || Ok((image, Ok(Texts::together(texts)))))
    }
}

/// The photo that `name` names for a source whose photos lie in `images`.
pub(super) fn photo(images: &Path, name: &str) -> ImageRef {
    match file_url(name) {
        Some(path) => ImageRef::file(images.join(path)),
        None => ImageRef::file(images.join(name)),
    }
}

/// The path of a `file:` address of this machine.
fn file_url(name: &str) -> Option<String> {
    let (scheme, rest) = name.split_once("://")?;
    let rest = rest.strip_prefix("localhost").unwrap_or(rest);
    if !scheme.eq_ignore_ascii_case("file") {
        return None;
    }
    let path = percent_decode_str(rest).decode_utf8().ok()?;
    (!path.chars().any(char::is_control)).then(|| path.into_owned())
}

pub(super) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}
