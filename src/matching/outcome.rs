//! What matching one photo comes to.

use serde::{Deserialize, Serialize};

/// An instruction that may be drawn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// The instruction's id.
    pub id: String,
    /// Caption-weighted cosine similarity, in [-1, 1].
    pub similarity: f64,
    /// What the draw goes by: the similarity after the correction for hubs.
    pub score: f64,
}

/// An instruction that was drawn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pick {
    /// The instruction's id.
    pub id: String,
    /// Caption-weighted cosine similarity, in [-1, 1].
    pub similarity: f64,
    /// What the draw went by.
    pub score: f64,
    /// Probability of this draw among what was left at its step, in (0, 1]; `None` where the
    /// strategy is not random.
    pub probability: Option<f64>,
    /// 1 for the first drawn.
    pub rank: u32,
}

/// How many candidates were not eligible, by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Refused {
    /// Less similar than the floor.
    pub below_floor: usize,
    /// Similar enough, but the instruction has had its share of all pairs.
    pub over_quota: usize,
}

/// Why a photo got no instruction.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum NoMatch {
    /// The index gave nothing.
    #[error("there is no instruction to choose from")]
    NoCandidates,
    /// No candidate is similar enough.
    #[error("the best similarity is {best:.4}, the floor is {floor:.4}")]
    BelowSimilarityFloor { best: f64, floor: f64 },
    /// All that are similar enough have had their share.
    #[error("all {candidates} instructions above the floor have their {cap} pairs already")]
    AllOverQuota { candidates: usize, cap: u64 },
}

impl NoMatch {
    /// The stable, snake_case reason.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoCandidates => "no_candidates",
            Self::BelowSimilarityFloor { .. } => "below_similarity_floor",
            Self::AllOverQuota { .. } => "all_over_quota",
        }
    }
}

/// What matching one photo comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The instructions drawn, in the order of the draws; empty exactly when `no_match` is set.
    pub picks: Vec<Pick>,
    /// The best eligible candidates, best score first, and any that were picked beyond them.
    pub considered: Vec<Candidate>,
    /// Candidates that were not eligible.
    pub refused: Refused,
    /// Why nothing was drawn.
    pub no_match: Option<NoMatch>,
}
