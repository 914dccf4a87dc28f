//! Sinks: the formats a dataset leaves in.
//!
//! Each takes samples one at a time and holds no more than a row group of them. A file is written
//! under a temporary name in its own folder, synced, and renamed when it is whole, so that a
//! failure leaves the previous export as it was. Equal samples in equal order give equal bytes.

mod error;
mod guard;
mod jsonl;
pub mod llava;
mod npy;
mod parquet;
mod staged;
mod text;

use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::record::Sample;

pub use error::SinkError;
pub use jsonl::JsonlSink;
pub use llava::LlavaSink;
pub use npy::NpyWriter;
pub use parquet::{ParquetSink, ROW_GROUP_ROWS};
pub(crate) use staged::StagedFile;
pub use text::{IMAGE_TOKEN, find_garbage};

/// A dataset file being written. Dropped unfinished, it removes what it wrote.
pub trait Sink: Send {
    /// The format's name: `llava`, `jsonl` or `parquet`.
    fn name(&self) -> &'static str;

    /// Adds one sample.
    ///
    /// # Errors
    /// The sample would make a row that trainers reject (see [`SinkError`]), or writing failed.
    /// After an error of writing the sink can only be dropped.
    fn push(&mut self, sample: &Sample) -> Result<(), SinkError>;

    /// Completes the file and puts it in the place of an earlier one.
    ///
    /// # Errors
    /// Writing, syncing or renaming failed; an earlier file is left as it was.
    fn finish(self: Box<Self>) -> Result<SinkSummary, SinkError>;
}

/// A column of an export that holds what a measure says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeasureColumn {
    /// The measure's name.
    pub measure: String,
    /// Whether its values are words, not numbers.
    pub is_word: bool,
}

/// Columns of an export beside those that every export has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExtraColumns {
    /// Of the measures that were taken.
    pub measures: Vec<MeasureColumn>,
    /// Whether some sample has reasoning kept beside its answer.
    pub reasoning: bool,
}

/// What a finished sink wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkSummary {
    pub path: PathBuf,
    pub rows: u64,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// SHA-256 of the file, 64 hexadecimal digits.
    pub sha256: String,
}

/// The formats of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExportFormat {
    /// LLaVA's conversation JSON, for trainers.
    Llava,
    /// Every field of every sample, one JSON object per line.
    Jsonl,
    /// Every field of every sample, as columns.
    Parquet,
}

impl ExportFormat {
    /// Every format, in the order in which they are written.
    pub const ALL: [Self; 3] = [Self::Llava, Self::Jsonl, Self::Parquet];

    /// The format's name on command lines and in configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Llava => "llava",
            Self::Jsonl => "jsonl",
            Self::Parquet => "parquet",
        }
    }

    /// The name of its file in a dataset folder.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Llava => "llava.json",
            Self::Jsonl => "samples.jsonl",
            Self::Parquet => "samples.parquet",
        }
    }

    /// Starts writing this format into `folder`, which must exist. `extra` are the columns that
    /// formats with columns have beside those of every export.
    ///
    /// # Errors
    /// The temporary file cannot be made.
    pub fn create(self, folder: &Path, extra: &ExtraColumns) -> Result<Box<dyn Sink>, SinkError> {
        let path = folder.join(self.file_name());
        Ok(match self {
            Self::Llava => Box::new(LlavaSink::create(&path)?),
            Self::Jsonl => Box::new(JsonlSink::create(&path)?),
            Self::Parquet => Box::new(ParquetSink::create(&path, extra)?),
        })
    }
}

impl FromStr for ExportFormat {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|format| format.name() == name);
        found.ok_or_else(|| format!("unknown export format `{name}`: use llava, jsonl or parquet"))
    }
}

#[cfg(test)]
mod tests;
