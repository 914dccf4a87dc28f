//! What matching refuses, and why.

use crate::ErrorKind;
use crate::base::check::Problems;
use crate::base::failure::Failure;
use crate::encoder::EncoderError;
use crate::index::IndexError;

/// A failure of matching. An image that merely finds no instruction is not one: see
/// [`NoMatch`](super::NoMatch).
#[derive(Debug, thiserror::Error)]
pub enum MatchError {
    #[error("matching settings refused: {0}")]
    Config(#[from] Problems),
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error("what an instruction requires could not be embedded: {0}")]
    Check(#[from] EncoderError),
    #[error(
        "image and caption point in opposite directions (combined length {length:.1e} at \
         caption_weight {caption_weight}): nothing is left to search for"
    )]
    OppositeCaption { length: f64, caption_weight: f64 },
    #[error("no vector for the candidate {id:?}, which mmr needs to compare")]
    NoVector { id: String },
    #[error("hubness correction is on, but no statistics were fitted")]
    NoHubnessStats,
    #[error("the hubness statistics do not know the instruction {id:?}; fit them anew")]
    UnknownInstruction { id: String },
    #[error("hubness statistics need at least {least} calibration photos, got {found}")]
    TooFewCalibration { least: u64, found: u64 },
    #[error("the photos of run {run:?} were embedded by another model than this one")]
    OtherEncoder { run: String },
}

impl Failure for MatchError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Config(_) | Self::OppositeCaption { .. } => ErrorKind::InvalidInput,
            Self::Index(error) => error.kind(),
            Self::Check(error) => error.kind(),
            Self::NoVector { .. } => ErrorKind::Internal,
            Self::NoHubnessStats
            | Self::UnknownInstruction { .. }
            | Self::TooFewCalibration { .. }
            | Self::OtherEncoder { .. } => ErrorKind::FailedPrecondition,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Config(_) => "bad_matching_settings",
            Self::Index(error) => error.code(),
            Self::Check(error) => error.code(),
            Self::OppositeCaption { .. } => "caption_opposite_to_image",
            Self::NoVector { .. } => "candidate_without_vector",
            Self::NoHubnessStats => "no_hubness_statistics",
            Self::UnknownInstruction { .. } => "hubness_statistics_outdated",
            Self::TooFewCalibration { .. } => "too_few_calibration_photos",
            Self::OtherEncoder { .. } => "other_model",
        }
    }
}
