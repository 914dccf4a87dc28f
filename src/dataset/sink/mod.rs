//! Sinks: the formats a dataset leaves in.
//!
//! Each takes the samples of one photo at a time and holds no more than a row group of them. An
//! export is a file or, where it carries photos or has splits, a folder. Either is written under a
//! temporary name beside its place, synced, and renamed when it is whole, so that a failure leaves
//! the previous export as it was. Equal samples in equal order give equal bytes.

mod chat;
mod error;
mod export;
mod folder;
mod format;
mod guard;
pub mod llava;
mod manifest;
mod names;
mod npy;
mod parquet;
mod ratings;
mod record;
mod rows;
mod staged;
mod tar;
mod text;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::record::Sample;

pub use error::SinkError;
pub use export::{Closed, Sink, remove};
pub use format::ExportFormat;
pub use manifest::{FileEntry, MANIFEST, Manifest, SplitCounts, is_folder};
pub use npy::NpyWriter;
pub use ratings::RATINGS;
use record::Record;
pub use record::{Conversations, Photo, PhotoPlaces, TRAIN};
pub(crate) use staged::StagedFile;
pub use text::{IMAGE_TOKEN, find_garbage};

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
    /// Whether the licence of some photo is known.
    pub license: bool,
}

/// How an export is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkOptions {
    pub extra: ExtraColumns,
    /// Where the photos are that rows name; unset: as is usual for the format.
    pub photos: Option<PhotoPlaces>,
    pub conversations: Conversations,
    /// Splits beside [`TRAIN`].
    pub splits: Vec<String>,
    /// A shard is closed when it has so many bytes.
    pub shard_bytes: u64,
}

impl Default for SinkOptions {
    fn default() -> Self {
        Self {
            extra: ExtraColumns::default(),
            photos: None,
            conversations: Conversations::Single,
            splits: Vec::new(),
            shard_bytes: 500 << 20,
        }
    }
}

/// What a finished sink wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkSummary {
    /// The file; of an export that is a folder, its manifest.
    pub path: PathBuf,
    /// Samples, which may share rows where conversations have several turns.
    pub rows: u64,
    /// Size in bytes, of a folder with all that is in it.
    pub bytes: u64,
    /// SHA-256 of the file at `path`, 64 hexadecimal digits.
    pub sha256: String,
}

#[cfg(test)]
mod tests;
