//! A run: its folder, its stages, and how they work side by side.
//!
//! The stages talk through `run.sqlite` alone: each reads the rows the one before it finished,
//! and commits its own. So a stage can run ahead of the next without holding anything in memory,
//! and a killed run goes on where each stage stood.

mod answering;
mod carding;
mod checking;
mod derived;
mod describing;
mod dry_run;
mod embedding;
mod exporting;
pub(crate) mod folder;
pub(crate) mod holding;
mod ingest;
mod job;
mod judging;
mod matching;
mod measuring;
mod nothing;
mod old_keys;
mod photo_calls;
pub mod push;
mod reporting;
mod settings;
mod summary;
mod twins;
mod verify;

use std::path::PathBuf;

use crate::ErrorKind;
use crate::base::failure::Failure;
use crate::config::ConfigError;
use crate::dataset::source::SourceError;
use crate::work::FolderError;

pub use dry_run::{DryRun, DryRunOptions, Effect, Means, Shown, dry_run};
pub use folder::{RunFolder, store_path};
pub use holding::hold_near_duplicates;
pub use job::{Job, JudgingEstimate, OnDeadBackend, Resources};
pub use nothing::{Cause, LostAt, Nothing};
pub use settings::Settings;
pub use summary::Summary;
pub use verify::{Finding, verify};

/// Why a run could not go on, beside what the rooms below report themselves.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error("{path}: `{step}` needs `{needs}` first: run `pairwright {needs} --out {path}`")]
    StepMissing { path: PathBuf, step: &'static str, needs: &'static str },
    #[error(
        "no source: pass --source PATH (a folder of photos, a .jsonl manifest, a COCO captions .json, a .tar or a .parquet), or --out with the folder of an earlier run"
    )]
    NoSource,
    #[error("{source}: {nothing}")]
    NothingUsable { source: SourceError, nothing: Box<Nothing> },
    #[error(transparent)]
    Config(ConfigError),
    #[error(
        "{}: the photo of none of the {samples} samples can be had, so `{format}` would hold no row \
         ({first}); nothing was written, and what was exported before is as it was: bring the photos \
         back, or leave out the formats that carry them", path.display()
    )]
    NoPhotos { path: PathBuf, format: &'static str, samples: u64, first: String },
    #[error("hubness statistics in the store cannot be read: {message}; use a new --out folder")]
    Hubness { message: String },
}

impl Failure for RunError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Folder(error) => error.kind(),
            Self::StepMissing { .. } | Self::NoPhotos { .. } | Self::Hubness { .. } => {
                ErrorKind::FailedPrecondition
            }
            Self::NoSource => ErrorKind::InvalidInput,
            Self::NothingUsable { source, .. } => source.kind(),
            Self::Config(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Folder(error) => error.code(),
            Self::StepMissing { .. } => "step_missing",
            Self::NoSource => "no_source",
            Self::NothingUsable { source, .. } => source.code(),
            Self::Config(error) => error.code(),
            Self::NoPhotos { .. } => "export_no_photos",
            Self::Hubness { .. } => "hubness_damaged",
        }
    }
}

#[cfg(test)]
mod tests;
