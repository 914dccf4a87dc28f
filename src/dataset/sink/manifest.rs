//! The list of what an export's folder holds.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{ExportFormat, SinkError};

/// The file that lists the others.
pub const MANIFEST: &str = "manifest.json";
/// The folder of photos that are copied or linked to.
pub(super) const PHOTOS: &str = "images/";

/// What an export's folder holds: its files with their hashes, and the counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: ExportFormat,
    /// Of every split.
    pub splits: BTreeMap<String, SplitCounts>,
    /// Samples that are not here because their photos could not be read, or were changed.
    pub left_out: u64,
    /// Of each rating that the format has, the samples that have one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rated: BTreeMap<String, u64>,
    /// Every file but this one, in the order of their paths.
    pub files: Vec<FileEntry>,
}

/// How much a split holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitCounts {
    /// Rows as trainers see them: samples, or conversations of several.
    pub rows: u64,
    pub samples: u64,
}

/// A file of an export.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FileEntry {
    /// From the export's folder on, with slashes.
    pub path: String,
    /// The split whose rows it holds; none of a photo and of what tells about the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    /// Rows that it holds, 0 where it holds none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rows: u64,
    pub bytes: u64,
    /// 64 hexadecimal digits.
    pub sha256: String,
}

/// Whether an export that was written to `path` is a folder: its manifest stands for it there.
pub fn is_folder(path: &Path) -> bool {
    path.ends_with(MANIFEST)
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Manifest {
    /// Reads the manifest at `path`.
    ///
    /// # Errors
    /// It cannot be read, or is none.
    pub fn read(path: &Path) -> Result<Self, SinkError> {
        let unreadable = |source| SinkError::Read { path: path.to_owned(), source };
        let bytes = fs_err::read(path).map_err(unreadable)?;
        serde_json::from_slice(&bytes).map_err(|error| unreadable(error.into()))
    }

    /// The photos that lie in the folder.
    pub fn photos(&self) -> impl Iterator<Item = &FileEntry> {
        self.files.iter().filter(|file| file.path.starts_with(PHOTOS))
    }

    /// Samples in all.
    pub fn samples(&self) -> u64 {
        self.splits.values().map(|split| split.samples).sum()
    }

    /// The files with rows, those of photos and papers left out.
    pub fn data(&self) -> impl Iterator<Item = &FileEntry> {
        self.files.iter().filter(|file| file.split.is_some())
    }
}
