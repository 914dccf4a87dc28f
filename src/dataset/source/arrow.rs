//! Arrow: what Hugging Face's `datasets` keep on disk.

use std::collections::HashMap;
use std::io::{Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch};
use arrow_buffer::Buffer;
use arrow_ipc::convert::try_fb_to_schema;
use arrow_ipc::reader::{read_dictionary, read_record_batch};
use arrow_ipc::{Message, root_as_message};
use arrow_schema::{ArrowError, DataType};

use super::columns::{self, Columns, PhotoColumn};
use super::fields::FieldNames;
use super::manifest::{File, Layout, ManifestSource, Place, Take};
use super::refusal::Refusal;
use super::{Opened, Reader, SourceError, SourceKind};
use crate::dataset;
use crate::sandbox::OpenFile;

/// The longest batch of rows that is read, in bytes: it is held whole.
const MAX_BATCH_BYTES: u64 = 2 << 30;

/// The longest description of a batch, in bytes.
const MAX_MESSAGE_BYTES: u64 = 16 << 20;

/// What a file begins with; a stream does not.
const MAGIC: &[u8] = b"ARROW1";

/// The first message of a file begins within so many bytes: writers fill up to 8 or to 64.
const LONGEST_START: u64 = 128;

const ENDINGS: &[&str] = &["arrow"];

pub(super) static LAYOUT: Layout = Layout {
    kind: "arrow",
    name: "Arrow",
    expected: columns::EXPECTED,
    endings: ENDINGS,
    rows: |file, names, take| columns::read(file, names, take, rows),
};

pub(super) const READER: Reader = Reader {
    kind: SourceKind::Arrow,
    name: "arrow",
    what: "a dataset on disk (Arrow)",
    opened: Opened::Either,
    endings: ENDINGS,
    open: |path, options| ManifestSource::open(path, options, &LAYOUT),
};

fn rows(
    file: &File<'_>,
    opened: OpenFile,
    names: &FieldNames,
    take: &mut Take<'_>,
) -> Result<(), SourceError> {
    let damaged = |error: ArrowError| file.damaged(&error.to_string());
    let no_columns = || file.damaged("it does not begin with its columns");
    let mut messages = Messages::new(file, opened)?;
    let (first, ..) = messages.next_message()?.ok_or_else(no_columns)?;
    let schema = message(file, &first)?.header_as_schema().ok_or_else(no_columns)?;
    let schema = Arc::new(try_fb_to_schema(schema).map_err(damaged)?);
    let columns = Columns::of(&schema, names).map_err(|detail| file.columns(detail))?;
    let (mut dictionaries, mut row) = (HashMap::new(), 0);
    while let Some((head, body_at, body)) = messages.next_message()? {
        let message = message(file, &head)?;
        let version = message.version();
        let body = Buffer::from_vec(body);
        if let Some(batch) = message.header_as_dictionary_batch() {
            read_dictionary(&body, batch, &schema, &mut dictionaries, &version).map_err(damaged)?;
        } else if let Some(batch) = message.header_as_record_batch() {
            let packed = batch.compression().is_some();
            let batch =
                read_record_batch(&body, batch, schema.clone(), &dictionaries, None, &version)
                    .map_err(damaged)?;
            let batch =
                Batch { file, columns: &columns, batch: &batch, body: &body, body_at, packed };
            if batch.read(&mut row, names, take).is_break() {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn message<'a>(file: &File<'_>, head: &'a [u8]) -> Result<Message<'a>, SourceError> {
    root_as_message(head).map_err(|error| file.damaged(&error.to_string()))
}

/// One batch of rows, and where its body stands in the file.
struct Batch<'a> {
    file: &'a File<'a>,
    columns: &'a Columns,
    batch: &'a RecordBatch,
    body: &'a Buffer,
    body_at: u64,
    /// Its values do not stand in the file just so.
    packed: bool,
}

impl Batch<'_> {
    fn read(&self, row: &mut u64, names: &FieldNames, take: &mut Take<'_>) -> ControlFlow<()> {
        let all = columns::named(self.batch);
        let texts: Vec<_> = self.columns.texts.iter().map(|at| all[*at]).collect();
        for at in 0..self.batch.num_rows() {
            let photo = self.columns.photo.map(|photo| self.photo(photo, at));
            *row += 1;
            let fields = match photo {
                None => self.columns.fields(&texts, at, None, names),
                Some((path, Ok(None))) => {
                    let path = path.map(|path| (self.photo_name(), path));
                    self.columns.fields(&texts, at, path, names)
                }
                Some((path, Ok(Some(place)))) => {
                    let (name, photo) = self.file.held(path, *row - 1, place);
                    let fields = self.columns.fields(&texts, at, None, names);
                    fields.map(|fields| fields.with_photo(name, photo))
                }
                Some((_, Err(refusal))) => Err(refusal),
            };
            take(Place::line(*row), fields)?;
        }
        ControlFlow::Continue(())
    }

    fn photo_name(&self) -> &str {
        let at = self.columns.photo.map_or(0, |photo| photo.at);
        self.batch.schema_ref().field(at).name()
    }

    /// The name beside a photo, and where its bytes stand in the file; none where they are null.
    fn photo(
        &self,
        PhotoColumn { at, inside }: PhotoColumn,
        row: usize,
    ) -> (Option<String>, Result<Option<dataset::Place>, Refusal>) {
        let column = self.batch.column(at);
        let Some((bytes, path)) = inside else { return (None, self.place(column, row)) };
        let parts = column.as_struct();
        let path = path.and_then(|path| columns::text(parts.column(path), row));
        if column.is_null(row) {
            return (path, Ok(None));
        }
        (path, self.place(parts.column(bytes), row))
    }

    fn place(&self, column: &dyn Array, row: usize) -> Result<Option<dataset::Place>, Refusal> {
        if column.is_null(row) {
            return Ok(None);
        }
        let value = match column.data_type() {
            DataType::Binary => column.as_binary::<i32>().value(row),
            DataType::LargeBinary => column.as_binary::<i64>().value(row),
            DataType::BinaryView => column.as_binary_view().value(row),
            _ => &[],
        };
        // What is not compressed is read in place, so that addresses tell where it stands.
        let from = (value.as_ptr() as usize).checked_sub(self.body.as_ptr() as usize);
        match from.filter(|from| from + value.len() <= self.body.len()) {
            _ if self.packed => {
                let reason = "photos in a compressed batch of rows are not read; save the dataset \
                              without compression";
                Err(Refusal::new("unsupported_format", reason))
            }
            Some(from) => {
                let (start, len) = (self.body_at + from as u64, value.len() as u64);
                Ok(Some(dataset::Place::Bytes { start, len }))
            }
            None => Ok(None),
        }
    }
}

/// The messages of a file: descriptions with their bodies, one at a time.
struct Messages<'a> {
    file: &'a File<'a>,
    opened: std::io::BufReader<OpenFile>,
    at: u64,
    len: u64,
}

/// A description, where its body stands in the file, and the body.
type Described = (Vec<u8>, u64, Vec<u8>);

impl<'a> Messages<'a> {
    fn new(file: &'a File<'a>, opened: OpenFile) -> Result<Self, SourceError> {
        let len = opened.length()?;
        let mut opened = std::io::BufReader::new(opened);
        let mut start = Vec::new();
        (&mut opened).take(LONGEST_START).read_to_end(&mut start)?;
        // A file begins with a word, filled up with zeros, and holds the same messages as a stream
        // behind it.
        let at = match start.strip_prefix(MAGIC) {
            Some(rest) => rest.iter().position(|byte| *byte != 0).unwrap_or(0) + MAGIC.len(),
            None => 0,
        } as u64;
        opened.seek(SeekFrom::Start(at))?;
        Ok(Self { file, opened, at, len })
    }

    fn next_message(&mut self) -> Result<Option<Described>, SourceError> {
        let Some(mut size) = self.number()? else { return Ok(None) };
        if size == u32::MAX {
            size = self.number()?.unwrap_or(0);
        }
        if size == 0 {
            return Ok(None);
        }
        let head = self.bytes(u64::from(size), MAX_MESSAGE_BYTES)?;
        let body = message(self.file, &head)?.bodyLength();
        let body_at = self.at;
        let body = u64::try_from(body).map_err(|_| self.file.damaged("a length is negative"))?;
        let body = self.bytes(body, MAX_BATCH_BYTES)?;
        Ok(Some((head, body_at, body)))
    }

    fn number(&mut self) -> Result<Option<u32>, SourceError> {
        if self.len - self.at < 4 {
            return if self.at == self.len { Ok(None) } else { Err(self.cut_short()) };
        }
        let mut number = [0; 4];
        self.opened.read_exact(&mut number)?;
        self.at += 4;
        Ok(Some(u32::from_le_bytes(number)))
    }

    fn bytes(&mut self, count: u64, limit: u64) -> Result<Vec<u8>, SourceError> {
        if count > self.len - self.at {
            return Err(self.cut_short());
        }
        if count > limit {
            let detail = format!("a batch of rows takes {count} bytes; the limit is {limit}");
            return Err(self.file.damaged(&detail));
        }
        let mut bytes = vec![0; count as usize];
        self.opened.read_exact(&mut bytes)?;
        self.at += count;
        Ok(bytes)
    }

    fn cut_short(&self) -> SourceError {
        self.file.damaged(&format!("it is cut short behind byte {}", self.at))
    }
}
