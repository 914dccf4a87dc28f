//! Manifests: files whose rows name a photo and say what is on it.

use std::fmt;
use std::num::NonZeroU32;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;

use super::fields::{FieldNames, Fields};
use super::ids::{IdBook, printable};
use super::outlet::{Outlet, There};
use super::refusal::Refusal;
use super::text::Texts;
use super::{Emit, Source, SourceError, SourceOptions, image_folder, shards};
use crate::base::failure::Failure;
use crate::dataset::ImageRef;
use crate::sandbox::{FileAccess, remote};

/// The longest row of a manifest, in bytes. A longer one is refused without being held in memory.
pub const MAX_LINE_BYTES: usize = 8 << 20;

/// The most rows without an id that are taken for one photo.
const MAX_JOINED: usize = 64;

/// Where a row begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// The number of the row or of its first line in its file, from 1.
    line: u64,
    /// In bytes from 1, where another row stands before it on its line.
    column: Option<NonZeroU32>,
    /// Its file's place among those of the source.
    file: u32,
}

impl Place {
    pub fn line(line: u64) -> Self {
        Self { line, column: None, file: 0 }
    }

    pub fn at(line: u64, column: Option<NonZeroU32>) -> Self {
        Self { line, column, file: 0 }
    }
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

/// A way to lay out rows in files.
#[derive(Debug)]
pub(super) struct Layout {
    /// The kind of source that it is.
    pub kind: &'static str,
    /// In words.
    pub name: &'static str,
    pub expected: &'static str,
    /// Endings of the files that a pattern names.
    pub endings: &'static [&'static str],
    pub rows: ReadRows,
}

/// Hands every row of the file on, until told to stop.
type ReadRows = fn(&File<'_>, &FieldNames, &mut Take<'_>) -> Result<(), SourceError>;

/// A file that holds rows.
pub(super) struct File<'a> {
    pub path: &'a Path,
    /// Its bare name, for messages.
    pub name: &'a str,
    pub access: &'a FileAccess,
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
        (self.rows)(&File { path, name: &file_name(path), access }, fields, take)
    }
}

/// A manifest: rows of JSON or of a table, in one file or in several that follow each other, each
/// with
/// - an id, a string or a whole number, unique in the file; a row without one gets an id made of
///   its photo's name, and rows behind each other that name the same photo are one record;
/// - a photo: a path, relative to the image folder or absolute;
/// - the description: a text, or a list of them (joined as sentences).
///
/// [`FieldNames`] says which fields these are. Other fields are left alone. Holds one row at a time
/// and the ids.
#[derive(Debug)]
pub struct ManifestSource {
    /// As it was asked for.
    path: PathBuf,
    files: Vec<PathBuf>,
    /// The folder around all photos.
    images: PathBuf,
    /// A row's photo is looked for in its own file's folder, not in `images`.
    beside: bool,
    access: FileAccess,
    fields: FieldNames,
    layout: &'static Layout,
}

impl ManifestSource {
    pub(super) fn new(path: &Path, images: &Path, layout: &'static Layout) -> Self {
        let (access, fields) = (FileAccess::Anywhere, FieldNames::default());
        let (path, files, images) = (path.to_owned(), vec![path.to_owned()], images.to_owned());
        Self { path, files, images, beside: false, access, fields, layout }
    }

    /// Opens a file of this layout as a source's reader does.
    pub(super) fn open(
        path: &Path,
        options: &SourceOptions,
        layout: &'static Layout,
    ) -> Result<Box<dyn Source>, SourceError> {
        let files = shards::of(path, layout.endings, &options.access)?;
        let beside = options.images.is_none();
        let images = if beside { around(&files) } else { image_folder(path, options)? };
        let source = Self { files, beside, ..Self::new(path, &images, layout) };
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
        let names: Vec<String> = self.files.iter().map(|path| file_name(path)).collect();
        let (ids, out) = (IdBook::new(), Outlet::new(emit));
        let images = &*self.images;
        let mut records = Records { names: &names, images, ids, out, pending: None };
        for (file, (path, name)) in (0..).zip(self.files.iter().zip(&names)) {
            if self.beside {
                records.images = path.parent().unwrap_or(Path::new(""));
            }
            let read = self.layout.read(path, &self.access, &self.fields, &mut |place, row| {
                records.row(Place { file, ..place }, row)
            });
            match read {
                _ if records.out.stopped => return Ok(()),
                Ok(()) => {}
                Err(error) if self.files.len() == 1 => return Err(error),
                // A file that may be whole the next time is not one without rows: those of its
                // photos would be taken for gone.
                Err(error) if error.could_pass() => return Err(error),
                // Of several files the others go on.
                Err(error) => {
                    if records.flush().is_break() {
                        return Ok(());
                    }
                    let refusal = Refusal::new(error.code(), error.to_string());
                    if records.out.refuse(name, refusal).is_break() {
                        return Ok(());
                    }
                }
            }
            if records.flush().is_break() {
                return Ok(());
            }
        }
        records.out.conclude(&self.path, self.layout.expected)
    }
}

/// Turns rows into records.
struct Records<'m, 'a, 'b> {
    /// Of the files.
    names: &'m [String],
    /// The folder of the photos of the file that is read.
    images: &'m Path,
    /// With the place of each.
    ids: IdBook<Place>,
    out: Outlet<'a, 'b>,
    /// A row without an id, which the next one may add to.
    pending: Option<Pending>,
}

struct Pending {
    line: Place,
    /// Its name as the row has it.
    image: String,
    photo: ImageRef,
    texts: Vec<Texts>,
    license: Option<String>,
}

impl Records<'_, '_, '_> {
    fn row(&mut self, line: Place, row: Result<Fields<'_>, Refusal>) -> ControlFlow<()> {
        let refusal = match row.and_then(|fields| Ok((fields.id()?, fields))) {
            Ok((Some(id), fields)) => {
                self.flush()?;
                let images = self.images;
                return self.named(line, id, fields.license(), || {
                    Ok((photo_of(&fields, fields.image()?, images), fields.captions()))
                });
            }
            Ok((None, fields)) => match (fields.image(), fields.captions()) {
                (Ok(image), Ok(texts)) => {
                    let photo = photo_of(&fields, image, self.images);
                    let texts = vec![texts];
                    let (image, license) = (image.to_owned(), fields.license());
                    return self.unnamed(Pending { line, image, photo, texts, license });
                }
                (Ok(image), Err(refusal)) if refusal.is_for_want_of_text() => {
                    self.flush()?;
                    let (id, photo) = (self.ids.make(image), photo_of(&fields, image, self.images));
                    return self.named(line, id, fields.license(), || Ok((photo, Err(refusal))));
                }
                (Err(refusal), _) | (_, Err(refusal)) => refusal,
            },
            Err(refusal) => refusal,
        };
        self.flush()?;
        let place = self.place(line);
        self.out.refuse(&place, refusal.at(&place))
    }

    fn place(&self, place: Place) -> String {
        let name = self.names.get(place.file as usize).map_or("", |name| name);
        format!("{name}:{place}")
    }

    /// Sends a row that has an id.
    fn named(
        &mut self,
        line: Place,
        id: String,
        license: Option<String>,
        read: impl FnOnce() -> Result<(ImageRef, Result<Texts, Refusal>), Refusal>,
    ) -> ControlFlow<()> {
        let place = self.place(line);
        let subject = printable(&id).unwrap_or(&place).to_owned();
        let names = self.names;
        let claimed = self.ids.claim(&id, line, |place| match names {
            [_] => format!("line {place}"),
            names => format!("{}:{place}", names[place.file as usize]),
        });
        let (image, texts) = match claimed.and_then(|()| read()) {
            Ok(read) => read,
            Err(refusal) => return self.out.refuse(&subject, refusal.at(&place)),
        };
        let photo = There { id: &id, image, origin: &place, license };
        self.out.told(photo, texts.and_then(Texts::captions), &place)
    }

    /// Keeps a row without an id until it is known that the next one is about another photo.
    fn unnamed(&mut self, row: Pending) -> ControlFlow<()> {
        if let Some(pending) = &mut self.pending
            && (&pending.image, &pending.photo) == (&row.image, &row.photo)
            && pending.texts.len() < MAX_JOINED
        {
            pending.texts.extend(row.texts);
            pending.license = pending.license.take().or(row.license);
            return ControlFlow::Continue(());
        }
        self.flush()?;
        self.pending = Some(row);
        ControlFlow::Continue(())
    }

    fn flush(&mut self) -> ControlFlow<()> {
        let Some(Pending { line, image, photo, texts, license }) = self.pending.take() else {
            return ControlFlow::Continue(());
        };
        let id = self.ids.make(&image);
        self.named(line, id, license, || Ok((photo, Ok(Texts::together(texts)))))
    }
}

/// The folder around all files that these ones lie beside.
fn around(files: &[PathBuf]) -> PathBuf {
    let mut parents = files.iter().filter_map(|file| file.parent());
    let mut around = parents.next().map(Path::to_owned).unwrap_or_default();
    for parent in parents {
        while !parent.starts_with(&around) && around.pop() {}
    }
    around
}

/// The photo of a row that calls it `name`.
fn photo_of(fields: &Fields<'_>, name: &str, images: &Path) -> ImageRef {
    fields.photo().cloned().unwrap_or_else(|| photo(images, name))
}

/// The photo that `name` names for a source whose photos lie in `images`.
pub(super) fn photo(images: &Path, name: &str) -> ImageRef {
    match file_url(name) {
        Some(path) => ImageRef::file(remote::join(images, &path)),
        None => ImageRef::file(remote::join(images, name)),
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

#[cfg(test)]
mod tests {
    use super::super::tests::{Said, folder};
    use super::super::{SourceOptions, open};
    use super::*;

    #[test]
    fn photos_lie_beside_the_file_whose_row_names_them() {
        let row = br#"{"image": "x.jpg", "caption": "A photo."}"#;
        let folder = folder(&[
            ("a/c.jsonl", row),
            ("b/d/c.jsonl", row),
            ("a/t.csv", b"image,caption\nx.jpg,A photo.\n"),
            ("b/d/t.csv", b"image,caption\nx.jpg,A photo.\n"),
        ]);
        let at = |place: &str| ImageRef::file(folder.path().join(place));
        for name in ["{a,b/d}/c.jsonl", "{a,b/d}/t.csv"] {
            let path = folder.path().join(name);
            let source = open(&path, &SourceOptions::default()).expect("files");
            assert_eq!(source.image_root(), Some(folder.path()), "{name}");
            let said = Said::of(&*source);
            let found: Vec<_> = said.records().iter().map(|record| record.image.clone()).collect();
            assert_eq!(found, [at("a/x.jpg"), at("b/d/x.jpg")], "{name}: {:?}", said.codes());
            let images = Some(folder.path().join("b"));
            let said = Said::of(
                &*open(&path, &SourceOptions { images, ..SourceOptions::default() })
                    .expect("files"),
            );
            assert!(said.records().iter().all(|record| record.image == at("b/x.jpg")), "{name}");
        }
    }
}
