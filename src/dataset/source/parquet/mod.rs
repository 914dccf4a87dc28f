//! Parquet: rows that hold photos or name them.

mod beside;

use std::io::{self, Seek};

use arrow_array::StructArray;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReaderBuilder};
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::schema::types::SchemaDescriptor;

use self::beside::Beside;
use super::columns::{self, Columns, PhotoColumn};
use super::error::could_pass;
use super::fields::FieldNames;
use super::manifest::{File, Layout, ManifestSource, Place, Take};
use super::{Opened, Reader, SourceError, SourceKind};
use crate::base::failure::io_at;
use crate::dataset;
use crate::dataset::photos::chunks;
use crate::sandbox::OpenFile;

/// Rows whose texts are held at a time.
const BATCH: usize = 256;

const ENDINGS: &[&str] = &["parquet"];

pub(super) static LAYOUT: Layout = Layout {
    kind: "parquet",
    name: "Parquet",
    expected: columns::EXPECTED,
    endings: ENDINGS,
    rows: |file, names, take| columns::read(file, names, take, rows),
};

pub(super) const READER: Reader = Reader {
    kind: SourceKind::Parquet,
    name: "parquet",
    what: "a .parquet",
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
    let damaged = |error: ParquetError| match chunks::cause(error) {
        Ok(error) if could_pass(&error) => passing(file, error),
        Ok(error) => file.damaged(&error.to_string()),
        Err(error) => file.damaged(&error.to_string()),
    };
    let metadata = ArrowReaderMetadata::load(&opened, Default::default()).map_err(damaged)?;
    let mut columns =
        Columns::of(metadata.schema(), names).map_err(|detail| file.columns(detail))?;
    let beside = if columns.photo.is_none() { Beside::of(file, metadata.schema())? } else { None };
    if beside.is_some() {
        columns.add(metadata.schema(), &beside::COLUMNS);
    }
    let leaves = Leaves::of(metadata.parquet_schema(), &columns);
    if let Some(packed) = leaves.packed_otherwise(metadata.metadata()) {
        return Err(file.damaged(&format!(
            "it is compressed with {packed}, which is not read here; write it again with \
             Snappy, gzip, zstd or LZ4"
        )));
    }
    let mut row = 0;
    for group in 0..metadata.metadata().num_row_groups() {
        let holds = leaves.photo.is_some_and(|leaf| {
            let chunk = metadata.metadata().row_group(group).column(leaf);
            let nulls = chunk.statistics().and_then(|known| known.null_count_opt());
            nulls.is_none_or(|nulls| i64::try_from(nulls) != Ok(chunk.num_values()))
        });
        let reader = opened.try_clone()?;
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(reader, metadata.clone());
        let mask = ProjectionMask::leaves(metadata.parquet_schema(), leaves.texts.clone());
        let builder = builder.with_projection(mask).with_row_groups(vec![group]);
        for batch in builder.with_batch_size(BATCH).build().map_err(damaged)? {
            let batch = batch.map_err(|error| unread(file, &opened, &error.to_string()))?;
            let photos = columns.photo.map(|photo| metadata.schema().field(photo.at).name());
            let (paths, texts) = columns::named(&batch)
                .into_iter()
                .partition::<Vec<_>, _>(|(name, _)| photos.is_some_and(|photo| photo == name));
            for at in 0..batch.num_rows() {
                let path = paths.first().and_then(|(name, photos)| {
                    let paths = photos.as_any().downcast_ref::<StructArray>()?;
                    Some((*name, columns::text(paths.column(0), at)?))
                });
                let said = path.as_ref().map(|(_, path)| path.clone());
                let mut fields = columns.fields(&texts, at, path, names);
                if let (true, Some(column)) = (holds, leaves.photo) {
                    let place = dataset::Place::Row { row, column: column as u32 };
                    let (name, photo) = file.held(said, row, place);
                    fields = fields.map(|fields| fields.with_photo(name, photo));
                } else if let Some(beside) = &beside {
                    let told = beside::COLUMNS.map(|wanted| {
                        let column = texts.iter().find(|(name, _)| *name == wanted);
                        column.and_then(|(_, column)| columns::text(*column, at))
                    });
                    let photo = beside.photo(told);
                    fields = fields.and_then(|fields| {
                        photo.map(|(name, photo)| fields.with_photo(name, photo))
                    });
                }
                row += 1;
                if take(Place::line(row), fields).is_break() {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// Why a batch cannot be read. The reader makes words of what the system says, so that the file is
/// read once more to learn whether it is the file that is wrong.
fn unread(file: &File<'_>, opened: &OpenFile, detail: &str) -> SourceError {
    let again = opened.try_clone().and_then(|mut opened| {
        opened.rewind()?;
        io::copy(&mut opened, &mut io::sink())
    });
    match again {
        Err(error) if could_pass(&error) => passing(file, error),
        _ => file.damaged(detail),
    }
}

/// A failure of the system that is not the file's own.
fn passing(file: &File<'_>, error: io::Error) -> SourceError {
    SourceError::Io(io_at(file.path.display(), error))
}

/// Numbers of columns of single values, as Parquet counts.
struct Leaves {
    /// Of the photos' bytes.
    photo: Option<usize>,
    /// Of all that is read beside: texts, and names of photos.
    texts: Vec<usize>,
}

impl Leaves {
    fn of(schema: &SchemaDescriptor, columns: &Columns) -> Self {
        let mut leaves = Self { photo: None, texts: Vec::new() };
        for leaf in 0..schema.num_columns() {
            let root = schema.get_column_root_idx(leaf);
            let column = schema.column(leaf);
            let part = column.path().parts().get(1).map(String::as_str);
            match columns.photo {
                Some(PhotoColumn { at, inside: None }) if at == root => leaves.photo = Some(leaf),
                Some(PhotoColumn { at, inside: Some((_, path)) }) if at == root => match part {
                    Some("bytes") => leaves.photo = Some(leaf),
                    Some("path") if path.is_some() => leaves.texts.push(leaf),
                    _ => {}
                },
                _ if columns.texts.contains(&root) => leaves.texts.push(leaf),
                _ => {}
            }
        }
        leaves
    }

    /// The first compression among these columns that cannot be undone.
    fn packed_otherwise(&self, file: &ParquetMetaData) -> Option<String> {
        let chunks = file.row_groups().iter().flat_map(|group| {
            self.photo.iter().chain(&self.texts).map(|leaf| group.column(*leaf).compression())
        });
        let mut others = chunks.filter(|packed| {
            !matches!(
                packed,
                Compression::UNCOMPRESSED
                    | Compression::SNAPPY
                    | Compression::GZIP(_)
                    | Compression::ZSTD(_)
                    | Compression::LZ4
                    | Compression::LZ4_RAW
            )
        });
        // `BROTLI(BrotliLevel(1))`: a level is not what it is called.
        others.next().map(|packed| {
            let said = packed.to_string();
            said.split('(').next().unwrap_or_default().to_lowercase()
        })
    }
}
