//! Clustering of instructions by their sentence embeddings: K-means with k-means++ starts, k
//! given or chosen (paper, section 3.1).

mod choose;
mod config;
mod kmeans;

#[cfg(test)]
mod tests;

use crate::ErrorKind;
use crate::base::failure::Failure;

pub use choose::{SilhouetteSample, Tried, choose, ladder};
pub use config::ClusterConfig;
pub use kmeans::{KMeans, Partition};

/// Why nothing could be clustered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClusterError {
    #[error("k is {k}, must be 1 to {found}, the number of distinct instructions")]
    K { k: usize, found: usize },
    #[error("{found} distinct instructions are left; clustering needs at least 2")]
    TooFew { found: usize },
    #[error("stopped as asked")]
    Stopped,
}

impl Failure for ClusterError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::K { .. } => ErrorKind::InvalidInput,
            Self::TooFew { .. } => ErrorKind::FailedPrecondition,
            Self::Stopped => ErrorKind::Cancelled,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::K { .. } => "cluster_k_out_of_range",
            Self::TooFew { .. } => "too_few_instructions",
            Self::Stopped => "stopped",
        }
    }
}
