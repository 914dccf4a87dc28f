//! Parquet: every field of every sample as flat columns.

mod columns;

use std::path::Path;

use ::parquet::arrow::ArrowWriter;
use ::parquet::basic::Compression;
use ::parquet::errors::ParquetError;
use ::parquet::file::properties::WriterProperties;

use self::columns::Columns;
use super::guard::Guard;
use super::staged::StagedFile;
use super::{ExtraColumns, Sample, Sink, SinkError, SinkSummary};

/// The most rows of one row group.
pub const ROW_GROUP_ROWS: usize = 1_000;
/// The text of one row group, in bytes, beyond which it is closed early: samples with very long
/// descriptions must not pile up a thousand deep.
const ROW_GROUP_BYTES: usize = 16 << 20;

/// A Parquet file (Snappy) that Hugging Face `datasets`, pandas and pyarrow load as it is.
///
/// Columns: `id`, `image`, `instruction`, `answer`, then each field of the lineage under its own
/// name but for `requires` and what checks found; `candidates` is a list of structs, `examples` and `filters_passed` are lists of strings;
/// `category` and `probability` may be null. Behind them stand those that not every file has:
/// `reasoning`, which may be null, and `measure_` with its name for each measure that was taken, a
/// number or a string, null where it says nothing. Holds at most one row group.
pub struct ParquetSink {
    writer: ArrowWriter<StagedFile>,
    columns: Columns,
    guard: Guard,
    rows: u64,
}

impl ParquetSink {
    /// Starts writing the file that will be at `path`.
    ///
    /// # Errors
    /// The temporary file beside it cannot be made.
    pub fn create(path: &Path, extra: &ExtraColumns) -> Result<Self, SinkError> {
        let file = StagedFile::create(path)?;
        let properties = WriterProperties::builder()
            // A crate version here would change the bytes of equal datasets.
            .set_created_by("pairwright".to_owned())
            .set_compression(Compression::SNAPPY)
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .build();
        let columns = Columns::new(extra);
        let writer = ArrowWriter::try_new(file, columns.schema(), Some(properties))
            .map_err(|error| failure(path, error))?;
        Ok(Self { writer, columns, guard: Guard::default(), rows: 0 })
    }

    /// Writes what is held as one row group.
    fn close_group(&mut self) -> Result<(), SinkError> {
        let batch = self.columns.take().map_err(ParquetError::from);
        let written = batch.and_then(|batch| {
            self.writer.write(&batch)?;
            self.writer.flush()
        });
        written.map_err(|error| failure(self.writer.inner().path(), error))
    }
}

impl Sink for ParquetSink {
    fn name(&self) -> &'static str {
        "parquet"
    }

    fn push(&mut self, sample: &Sample) -> Result<(), SinkError> {
        self.guard.admit(sample)?;
        self.columns.push(sample);
        self.rows += 1;
        if self.columns.rows() >= ROW_GROUP_ROWS || self.columns.bytes() >= ROW_GROUP_BYTES {
            self.close_group()?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<SinkSummary, SinkError> {
        if self.columns.rows() > 0 {
            self.close_group()?;
        }
        let path = self.writer.inner().path().to_owned();
        let file = self.writer.into_inner().map_err(|error| failure(&path, error))?;
        file.commit(self.rows)
    }
}

/// The error behind a Parquet error: the file system's, when that is what failed.
fn failure(path: &Path, error: ParquetError) -> SinkError {
    let detail = error.to_string();
    let encode = SinkError::Encode { path: path.to_owned(), detail };
    match error {
        ParquetError::External(inner) => match inner.downcast::<std::io::Error>() {
            Ok(source) => SinkError::writing(path, *source),
            Err(_) => encode,
        },
        _ => encode,
    }
}

#[cfg(test)]
mod tests;
