//! Parquet: rows as columns, with or without the photos' bytes.

mod chat;
mod column;
mod columns;
mod photo;

use std::path::Path;

use ::parquet::arrow::ArrowWriter;
use ::parquet::basic::Compression;
use ::parquet::errors::ParquetError;
use ::parquet::file::metadata::KeyValue;
use ::parquet::file::properties::{EnabledStatistics, WriterProperties};
use ::parquet::schema::types::ColumnPath;

use self::columns::Columns;
use super::rows::Rows;
use super::staged::StagedFile;
use super::{Record, SinkError};
use crate::dataset::photos::chunks;

pub(super) use columns::Layout;

/// The most rows of one row group.
const ROW_GROUP_ROWS: usize = 1_000;
/// What one row group holds, in bytes, beyond which it is closed early: samples with very long
/// descriptions, or with photos, must not pile up a thousand deep.
const ROW_GROUP_BYTES: usize = 16 << 20;
/// The key of a schema's metadata under which `datasets` finds what its columns are.
const FEATURES: &str = "huggingface";

/// A Parquet file (Snappy) that Hugging Face `datasets`, pandas and pyarrow load as it is. Holds at
/// most one row group.
///
/// Of samples with their lineage the columns are `id`, `image`, `instruction`, `answer`, then each
/// field of the lineage under its own name but for `requires` and what checks found; `candidates`
/// is a list of structs, `examples` and `filters_passed` are lists of strings; `category` and
/// `probability` may be null. Behind them stand those that not every file has: `reasoning` and
/// `license`, which may be null, and `measure_` with its name for each measure that was taken, a number or a string,
/// null where it says nothing. A photo is a struct of `bytes` and `path`.
pub(super) struct ParquetRows {
    writer: ArrowWriter<StagedFile>,
    columns: Columns,
}

impl ParquetRows {
    /// Starts writing the file that will be at `path`.
    pub fn create(path: &Path, layout: Layout) -> Result<Self, SinkError> {
        let file = StagedFile::create(path)?;
        let features = layout.features();
        let mut properties = WriterProperties::builder()
            // A crate version here would change the bytes of equal datasets.
            .set_created_by("pairwright".to_owned())
            .set_compression(Compression::SNAPPY)
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS));
        if let Some(features) = features {
            let about = KeyValue::new(FEATURES.to_owned(), features.to_string());
            properties = properties.set_key_value_metadata(Some(vec![about]));
            for column in photo::COLUMNS {
                // No photo comes twice in a row group often enough, and none is compared.
                let column = ColumnPath::new(column.iter().map(|&one| one.into()).collect());
                properties = properties
                    .set_column_dictionary_enabled(column.clone(), false)
                    .set_column_compression(column.clone(), Compression::UNCOMPRESSED)
                    .set_column_statistics_enabled(column, EnabledStatistics::None);
            }
        }
        let columns = Columns::new(layout);
        let writer = ArrowWriter::try_new(file, columns.schema(), Some(properties.build()))
            .map_err(|error| failure(path, error))?;
        Ok(Self { writer, columns })
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

impl Rows for ParquetRows {
    fn push(&mut self, record: &Record<'_>, image: &str) -> Result<(), SinkError> {
        self.columns.push(record, image);
        if self.columns.rows() >= ROW_GROUP_ROWS || self.columns.bytes() >= ROW_GROUP_BYTES {
            self.close_group()?;
        }
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.writer.inner().bytes() + self.columns.bytes() as u64
    }

    fn finish(mut self: Box<Self>) -> Result<StagedFile, SinkError> {
        if self.columns.rows() > 0 {
            self.close_group()?;
        }
        let path = self.writer.inner().path().to_owned();
        self.writer.into_inner().map_err(|error| failure(&path, error))
    }
}

/// The error behind a Parquet error: the file system's, when that is what failed.
fn failure(path: &Path, error: ParquetError) -> SinkError {
    match chunks::cause(error) {
        Ok(source) => SinkError::writing(path, source),
        Err(error) => SinkError::encoding(path, error),
    }
}

#[cfg(test)]
mod tests;
