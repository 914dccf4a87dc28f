//! Rows of exports that hold the photos themselves.

use std::io;
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;
use serde_json::Value;

use super::{Used, instruction};
use crate::base::hash;
use crate::dataset::photos::tar::Members;
use crate::dataset::sink::SinkError;
use crate::sandbox::OpenFile;

/// Rows with photos that are held at once.
const BATCH: usize = 16;

/// Columns of conversations: the list of turns, which of its texts is the instruction's, and every
/// how many turns there is one.
const TURNS: [(&str, usize, usize); 3] = [("texts", 0, 1), ("prompt", 1, 1), ("messages", 1, 2)];

/// What FineVision's and TRL's rows are made of.
pub(super) fn in_parquet(path: &Path) -> Result<Vec<Used>, SinkError> {
    let unreadable = |source| SinkError::Read { path: path.to_owned(), source };
    let damaged = |error: ParquetError| unreadable(std::io::Error::other(error));
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(damaged)?;
    let mut used = Vec::new();
    for batch in builder.with_batch_size(BATCH).build().map_err(damaged)? {
        let batch = batch.map_err(|error| unreadable(std::io::Error::other(error)))?;
        let first = used.len();
        let read = rows_of(&batch, first, &mut used);
        read.ok_or_else(|| unreadable(std::io::Error::other("its columns are other ones")))?;
    }
    Ok(used)
}

/// Adds the batch's rows; none where a column is missing or of another type.
fn rows_of(batch: &RecordBatch, first: usize, used: &mut Vec<Used>) -> Option<()> {
    let photos = batch.column_by_name("images")?.as_list_opt::<i32>()?;
    let named = |(name, text, step)| Some((batch.column_by_name(name)?, text, step));
    let (turns, text, step) = TURNS.into_iter().find_map(named)?;
    let turns = turns.as_list_opt::<i32>()?;
    let ids = batch.column_by_name("id").and_then(|ids| ids.as_string_opt::<i32>());
    for row in 0..batch.num_rows() {
        let photo = photos.value(row);
        let photo = photo.as_struct_opt()?.column(0).as_binary_opt::<i32>()?;
        let image = hash::sha256_hex(photo.is_valid(0).then(|| photo.value(0))?);
        let id =
            ids.map_or_else(|| format!("row {}", first + row + 1), |ids| ids.value(row).into());
        let said = turns.value(row);
        let said = said.as_struct_opt()?.column(text).as_string_opt::<i32>()?;
        for instruction in said.iter().flatten().step_by(step) {
            let (id, instruction, image) = (id.clone(), instruction.to_owned(), image.clone());
            used.push(Used { id, instruction, image });
        }
    }
    Some(())
}

/// What a shard of WebDataset is made of: the photo that stands before each JSON, not what that
/// says of it.
pub(super) fn in_tar(path: &Path) -> Result<Vec<Used>, SinkError> {
    read_tar(path).map_err(|source| SinkError::Read { path: path.to_owned(), source })
}

fn read_tar(path: &Path) -> io::Result<Vec<Used>> {
    let mut members = Members::new(OpenFile::Local(fs_err::File::open(path)?))?;
    let (mut used, mut image) = (Vec::new(), String::new());
    while let Some(member) = members.next_member().map_err(io::Error::other)? {
        let bytes = members.read_data(u64::MAX).map_err(io::Error::other)?.unwrap_or_default();
        if member.name.ends_with(".json") {
            let row: Value = serde_json::from_slice(&bytes)?;
            let id = row["id"].as_str().unwrap_or_default();
            for turn in row["conversations"].as_array().into_iter().flatten().step_by(2) {
                used.push(Used {
                    id: id.to_owned(),
                    instruction: instruction(turn),
                    image: image.clone(),
                });
            }
        } else {
            image = hash::sha256_hex(&bytes);
        }
    }
    Ok(used)
}
