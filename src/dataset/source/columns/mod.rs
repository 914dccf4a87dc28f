//! Columns of typed files: which of them say what, and rows of them as fields.

mod cells;

use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, Fields as ArrowFields, Schema};
use serde_json::{Map, Value};

use super::SourceError;
use super::endings::stem;
use super::fields::{FieldNames, Fields, check_image};
use super::manifest::{File, Take};
use super::refusal::Refusal;
use crate::dataset::{ImageRef, Place};
use crate::sandbox::OpenFile;

/// What is expected of a file of typed columns, in words.
pub(super) const EXPECTED: &str =
    "rows with a photo (bytes, or a structure of `bytes` and `path`) and a caption";

/// Most columns that a refusal lists.
const LISTED: usize = 12;

/// Most characters of a type that a refusal shows.
const SHOWN: usize = 80;

/// Which columns of a file are read.
#[derive(Debug)]
pub(super) struct Columns {
    /// The one that holds photos, if one does.
    pub photo: Option<PhotoColumn>,
    /// Those that say something of a photo, in the file's order.
    pub texts: Vec<usize>,
    /// Names of the first others, for refusals.
    others: Vec<String>,
}

/// A column of photos: bytes, or structures of `bytes` and `path` as Hugging Face's `datasets`
/// write them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PhotoColumn {
    pub at: usize,
    /// The places in the structure, if it is one, of the bytes and of the file's name.
    pub inside: Option<(usize, Option<usize>)>,
}

impl Columns {
    /// # Errors
    /// No column holds or names a photo, or the one that should is of another type: what there is
    /// instead.
    pub fn of(schema: &Schema, names: &FieldNames) -> Result<Self, String> {
        let fields = schema.fields();
        let photo = photo(fields, names)?;
        let (mut texts, mut others, mut odd) = (Vec::new(), Vec::new(), None);
        for (at, field) in fields.iter().enumerate() {
            let name = field.name();
            if photo.is_some_and(|photo| photo.at == at) {
                continue;
            }
            if !names.knows(name) {
                others.extend((others.len() < LISTED).then(|| name.clone()));
            } else if cells::is_plain(field.data_type()) {
                texts.push(at);
            } else if names.is_caption(name) {
                odd.get_or_insert_with(|| wrong(field, "a text or a list of texts"));
            }
        }
        let told = texts.iter().any(|at| names.is_caption(fields[*at].name()));
        match odd {
            Some(odd) if !told => Err(odd),
            _ => Ok(Self { photo, texts, others }),
        }
    }

    /// Has columns of these names read, too.
    pub fn add(&mut self, schema: &Schema, names: &[&str]) {
        let found = names.iter().filter_map(|name| schema.index_of(name).ok());
        self.texts.extend(found);
        self.texts.sort_unstable();
        self.texts.dedup();
    }

    /// What row `row` of a batch says, its columns those of [`Columns::texts`].
    ///
    /// # Errors
    /// It is longer than a row may be.
    pub fn fields<'n>(
        &'n self,
        batch: &[(&str, &dyn Array)],
        row: usize,
        path: Option<(&str, String)>,
        names: &'n FieldNames,
    ) -> Result<Fields<'n>, Refusal> {
        let mut room = Room::new();
        let mut cells = Vec::with_capacity(batch.len());
        for (name, column) in batch {
            cells.push((*name, cells::value(*column, row, &mut room)?));
        }
        let path = path.map(|(name, path)| (name, Value::String(path)));
        let object: Map<String, Value> =
            cells.into_iter().chain(path).map(|(name, value)| (name.to_owned(), value)).collect();
        Ok(Fields::of_object(object, names).beside(&self.others))
    }
}

/// Columns of a batch with their names.
pub(super) fn named(batch: &RecordBatch) -> Vec<(&str, &dyn Array)> {
    let fields = batch.schema_ref().fields().iter();
    fields.zip(batch.columns()).map(|(field, column)| (&**field.name(), &**column)).collect()
}

use cells::Room;
pub(super) use cells::text;

/// Has `rows` read the file. The readers of these formats panic at some files that were damaged.
pub(super) fn read(
    file: &File<'_>,
    names: &FieldNames,
    take: &mut Take<'_>,
    rows: fn(&File<'_>, OpenFile, &FieldNames, &mut Take<'_>) -> Result<(), SourceError>,
) -> Result<(), SourceError> {
    let opened = file.access.open(file.path)?;
    let read = catch_unwind(AssertUnwindSafe(|| rows(file, opened, names, take)));
    read.unwrap_or_else(|_| Err(file.damaged("it is damaged")))
}

impl File<'_> {
    /// What a row that holds its photo at `place` calls it, and the photo; `said` is the name that
    /// stands beside it.
    pub(super) fn held(&self, said: Option<String>, row: u64, place: Place) -> (String, ImageRef) {
        let said = said.filter(|name| check_image(name).is_ok());
        let member = match &said {
            Some(name) => name.rsplit(['/', '\\']).next().unwrap_or(name).to_owned(),
            None => (row + 1).to_string(),
        };
        let name = said.unwrap_or_else(|| format!("{}/{}", stem(self.name), row + 1));
        (name, ImageRef::member(self.path, member).at(place))
    }

    pub(super) fn damaged(&self, detail: &str) -> SourceError {
        SourceError::Damaged { path: self.path.to_owned(), detail: detail.to_owned() }
    }

    pub(super) fn columns(&self, detail: String) -> SourceError {
        SourceError::NoColumns { path: self.path.to_owned(), detail }
    }
}

fn photo(fields: &ArrowFields, names: &FieldNames) -> Result<Option<PhotoColumn>, String> {
    let held = |at: usize| photo_column(at, fields[at].data_type());
    let mut named: Vec<(usize, usize)> = (0..fields.len())
        .filter_map(|at| Some((names.photo_rank(fields[at].name())?, at)))
        .collect();
    named.sort_unstable();
    if let Some(found) = named.iter().find_map(|(_, at)| held(*at)) {
        return Ok(Some(found));
    }
    // Names of files go before columns of bytes that nothing calls photos; addresses after them.
    let mut names_files =
        named.iter().filter(|(_, at)| names_file(fields[*at].data_type())).peekable();
    let by_address = |at: usize| fields[at].name().to_lowercase().ends_with("url");
    let all: Vec<PhotoColumn> = (0..fields.len()).filter_map(held).collect();
    match (names_files.peek(), &*all) {
        (Some((_, at)), _) if !by_address(*at) || names.image.is_some() => return Ok(None),
        (_, [only]) if names.image.is_none() => return Ok(Some(*only)),
        (Some(_), _) => return Ok(None),
        _ => {}
    }
    if let Some((_, at)) = named.first() {
        let expected = "a photo's bytes, a structure of `bytes` and `path`, or a file's name";
        return Err(wrong(&fields[*at], expected));
    }
    let listed: Vec<String> =
        fields.iter().take(LISTED).map(|field| format!("`{}`", field.name())).collect();
    Err(format!(
        "none of its columns ({}) is known to hold the photo; say which one does with \
         source.fields.image",
        listed.join(", ")
    ))
}

fn photo_column(at: usize, kind: &DataType) -> Option<PhotoColumn> {
    match kind {
        kind if is_bytes(kind) => Some(PhotoColumn { at, inside: None }),
        DataType::Struct(fields) => {
            let place = |name: &str| fields.iter().position(|field| field.name() == name);
            let bytes = place("bytes").filter(|at| is_bytes(fields[*at].data_type()))?;
            let path = place("path").filter(|at| cells::is_text(fields[*at].data_type()));
            Some(PhotoColumn { at, inside: Some((bytes, path)) })
        }
        _ => None,
    }
}

/// Whether a value may be a file's name: a text, one in a list, or the `path` of a structure.
fn names_file(kind: &DataType) -> bool {
    match kind {
        DataType::List(field) | DataType::LargeList(field) => cells::is_text(field.data_type()),
        DataType::Struct(fields) => {
            fields.iter().any(|field| field.name() == "path" && cells::is_text(field.data_type()))
        }
        kind => cells::is_text(kind),
    }
}

fn is_bytes(kind: &DataType) -> bool {
    matches!(kind, DataType::Binary | DataType::LargeBinary | DataType::BinaryView)
}

fn wrong(field: &arrow_schema::Field, expected: &str) -> String {
    let kind: String = field.data_type().to_string().chars().take(SHOWN).collect();
    format!("column `{}` holds {kind}; expected {expected}", field.name())
}

#[cfg(test)]
mod files;

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_schema::Field;

    fn columns(fields: Vec<Field>, names: &FieldNames) -> Result<Columns, String> {
        Columns::of(&Schema::new(fields), names)
    }

    fn field(name: &str, kind: DataType) -> Field {
        Field::new(name, kind, true)
    }

    fn structure() -> DataType {
        let fields = vec![field("bytes", DataType::Binary), field("path", DataType::Utf8)];
        DataType::Struct(fields.into())
    }

    #[test]
    fn the_column_of_photos_is_found_by_name_and_type() {
        let usual = FieldNames::default();
        let found = columns(
            vec![
                field("caption", DataType::Utf8),
                field("image", structure()),
                field("mask", structure()),
                field("width", DataType::Int64),
            ],
            &usual,
        );
        let found = found.expect("columns");
        assert_eq!(found.photo, Some(PhotoColumn { at: 1, inside: Some((0, Some(1))) }));
        assert_eq!((found.texts, found.others.len()), (vec![0], 2));
        let only = columns(vec![field("pixels", DataType::LargeBinary)], &usual).expect("the only");
        assert_eq!(only.photo, Some(PhotoColumn { at: 0, inside: None }));
        let names = vec![field("file_name", DataType::Utf8), field("text", DataType::Utf8View)];
        assert_eq!(columns(names, &usual).expect("names of files").photo, None);
        let set = FieldNames { image: Some("mask".into()), ..FieldNames::default() };
        let two = vec![field("image", structure()), field("mask", structure())];
        assert_eq!(columns(two, &set).expect("set").photo.map(|photo| photo.at), Some(1));
    }

    #[test]
    fn a_column_of_another_type_is_named() {
        let refused = |fields| columns(fields, &FieldNames::default()).expect_err("refused");
        let number = refused(vec![field("image", DataType::Int64)]);
        assert!(number.starts_with("column `image` holds Int64; expected"), "{number}");
        let deep = DataType::Struct(vec![field("image", structure())].into());
        let deep = refused(vec![field("image", deep)]);
        assert!(deep.starts_with("column `image` holds Struct("), "{deep}");
        let none = refused(vec![field("a", DataType::Utf8), field("b", DataType::Date32)]);
        assert!(none.starts_with("none of its columns (`a`, `b`) is known"), "{none}");
        let text = refused(vec![field("image", structure()), field("text", DataType::Date32)]);
        assert!(text.starts_with("column `text` holds Date32; expected a text"), "{text}");
    }
}
