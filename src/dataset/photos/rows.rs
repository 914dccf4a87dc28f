use std::collections::VecDeque;
use std::path::PathBuf;

use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};

use super::pool::Pool;
use crate::sandbox::OpenFile;

/// Values that are kept behind a reader: photos are read by several threads, which come a little
/// out of order.
const WINDOW: usize = 64;

/// The most bytes of them. Those of a reader that holds more are not kept.
const WINDOW_BYTES: usize = 32 << 20;

static POOL: Pool<Cursor> = Pool::new(4);

/// A column of one row group, read up to some row.
struct Cursor {
    file: (PathBuf, String),
    column: usize,
    /// The rows of the group, as rows of the file.
    first: u64,
    end: u64,
    values: ColumnReaderImpl<ByteArrayType>,
    defined: i16,
    /// The next row that will be read.
    next: u64,
    /// The rows before that one.
    window: VecDeque<Option<ByteArray>>,
    /// Their bytes.
    held: usize,
}

impl Cursor {
    fn open(
        file: (PathBuf, String),
        opened: OpenFile,
        row: u64,
        column: usize,
    ) -> Result<Self, ParquetError> {
        let reader = SerializedFileReader::new(opened)?;
        let general = |reason: String| ParquetError::General(reason);
        let (mut first, mut found) = (0, None);
        for (at, group) in reader.metadata().row_groups().iter().enumerate() {
            let end = first + u64::try_from(group.num_rows()).unwrap_or(0);
            if row < end {
                found = Some((at, end));
                break;
            }
            first = end;
        }
        let (group, end) = found.ok_or_else(|| general(format!("it has no row {}", row + 1)))?;
        let group = reader.get_row_group(group)?;
        if column >= group.num_columns() {
            return Err(general(format!("it has no column {column}")));
        }
        let descriptor = group.metadata().column(column).column_descr_ptr();
        let ColumnReader::ByteArrayColumnReader(values) = group.get_column_reader(column)? else {
            return Err(general(format!("its column `{}` holds no bytes", descriptor.path())));
        };
        if descriptor.max_rep_level() > 0 {
            return Err(general(format!("its column `{}` holds lists", descriptor.path())));
        }
        let (defined, window) = (descriptor.max_def_level(), VecDeque::new());
        Ok(Self { file, column, first, end, values, defined, next: first, window, held: 0 })
    }

    fn distance(&self, row: u64) -> Option<u64> {
        let held_from = self.next - self.window.len() as u64;
        (row >= held_from && row < self.end).then(|| row.saturating_sub(self.next))
    }

    fn value(&mut self, row: u64) -> Result<Option<ByteArray>, ParquetError> {
        // What is far ahead is not read on the way there.
        let ahead = row.saturating_sub(self.next);
        if ahead > WINDOW as u64 {
            let far = ahead - WINDOW as u64 / 2;
            self.values.skip_records(far as usize)?;
            self.next += far;
            self.forget();
        }
        while self.next <= row {
            let (mut levels, mut values) = (Vec::new(), Vec::new());
            let wanted = (self.defined > 0).then_some(&mut levels);
            let (read, ..) = self.values.read_records(1, wanted, None, &mut values)?;
            if read == 0 {
                let reason = format!("it ends before row {}", row + 1);
                return Err(ParquetError::General(reason));
            }
            self.hold(values.pop());
            self.next += 1;
        }
        let back = (self.next - row) as usize;
        let found = self.window.get(self.window.len() - back).cloned().flatten();
        if self.held > WINDOW_BYTES {
            self.forget();
        }
        Ok(found)
    }

    /// Keeps a value, and as many of those before it as there is room for.
    fn hold(&mut self, value: Option<ByteArray>) {
        let bytes = |value: Option<&ByteArray>| value.map_or(0, ByteArray::len);
        self.held += bytes(value.as_ref());
        self.window.push_back(value);
        while self.window.len() > WINDOW || self.held > WINDOW_BYTES && self.window.len() > 1 {
            let oldest = self.window.pop_front().flatten();
            self.held -= bytes(oldest.as_ref());
        }
    }

    fn forget(&mut self) {
        self.window.clear();
        self.held = 0;
    }
}

/// The value of `row` (from 0, in the whole file) in the column of that number; `None` where it is
/// null. `file` is the path and what differs when the file was changed.
///
/// A reader goes on from where it stands in a row group; before that, from the group's beginning.
pub(super) fn read(
    file: (PathBuf, String),
    open: impl FnOnce() -> std::io::Result<OpenFile>,
    row: u64,
    column: usize,
) -> Result<Option<ByteArray>, ParquetError> {
    let fits = |cursor: &Cursor| {
        let same = cursor.file == file && cursor.column == column && row >= cursor.first;
        same.then(|| cursor.distance(row)).flatten()
    };
    let begin =
        || -> Result<Cursor, ParquetError> { Cursor::open(file.clone(), open()?, row, column) };
    POOL.with(fits, begin, |cursor| cursor.value(row))
}
