//! One data file of an export, whatever its format: rows go in one by one.

use std::path::Path;

use super::staged::StagedFile;
use super::{Record, Sample, SinkError};
use crate::base::json;

/// A data file that is being written. Dropped unfinished, it removes what it wrote.
pub(super) trait Rows: Send {
    /// Adds a record, which is one row. `image` is the photo's name.
    fn push(&mut self, record: &Record<'_>, image: &str) -> Result<(), SinkError>;

    /// What the file has by now, with what is held yet.
    fn bytes(&self) -> u64;

    /// Writes what is left. The file has no name yet.
    fn finish(self: Box<Self>) -> Result<StagedFile, SinkError>;
}

/// Appends a record as one object of JSON.
type Encode = fn(&mut Vec<u8>, &Record<'_>, image: &str) -> serde_json::Result<()>;

/// A file of JSON: one row a line, in an array or not.
pub(super) struct JsonRows {
    file: StagedFile,
    encode: Encode,
    is_array: bool,
    line: Vec<u8>,
}

impl JsonRows {
    /// One object a line.
    pub fn lines(path: &Path, encode: Encode) -> Result<Self, SinkError> {
        Ok(Self { file: StagedFile::create(path)?, encode, is_array: false, line: Vec::new() })
    }

    /// An array with one object a line.
    pub fn array(path: &Path, encode: Encode) -> Result<Self, SinkError> {
        Ok(Self { is_array: true, ..Self::lines(path, encode)? })
    }
}

impl Rows for JsonRows {
    fn push(&mut self, record: &Record<'_>, image: &str) -> Result<(), SinkError> {
        self.line.clear();
        if self.is_array {
            let opening: &[u8] = if self.file.bytes() == 0 { b"[\n" } else { b",\n" };
            self.line.extend_from_slice(opening);
        }
        (self.encode)(&mut self.line, record, image)
            .map_err(|error| SinkError::encoding(self.file.path(), error))?;
        if !self.is_array {
            self.line.push(b'\n');
        }
        self.file.put(&self.line)
    }

    fn bytes(&self) -> u64 {
        self.file.bytes()
    }

    fn finish(mut self: Box<Self>) -> Result<StagedFile, SinkError> {
        if self.is_array {
            let is_empty = self.file.bytes() == 0;
            self.file.put(if is_empty { b"[]\n" } else { b"\n]\n" })?;
        }
        Ok(self.file)
    }
}

/// Every field of the sample.
pub(super) fn whole(
    line: &mut Vec<u8>,
    record: &Record<'_>,
    image: &str,
) -> serde_json::Result<()> {
    let sample = record.first();
    if sample.image == image {
        json::append(line, sample)
    } else {
        json::append(line, &Sample { image: image.to_owned(), ..sample.clone() })
    }
}
