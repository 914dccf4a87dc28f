//! Settings of the clustering.

use serde::{Deserialize, Serialize};

use super::KMeans;
use crate::base::check::{Checks, Settings};

/// How raw instructions are clustered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterConfig {
    /// Clusters, 1 to the number of accepted raw instructions. Unset: the best silhouette between
    /// `k_min` and `k_max`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub k: Option<usize>,
    /// Smallest k tried, at least 2. Unset: √n / 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub k_min: Option<usize>,
    /// Largest k tried. Unset: n / 3, at most 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub k_max: Option<usize>,
    /// Starts of K-means, 1 to 100; the best counts.
    pub restarts: usize,
    /// Iterations of each start, 1 to 10000.
    pub max_iterations: usize,
    /// Convergence, 0 to 1: see [`KMeans::tolerance`].
    pub tolerance: f64,
    /// Instructions in the silhouette, 10 to 20000; takes 4 bytes for each pair of them.
    pub silhouette_sample: usize,
    /// Instructions clustered for each k that is tried, 100 to 1000000; all of them are clustered
    /// once k is known.
    pub choose_sample: usize,
    /// Threads, 0 to 1024; 0 takes one per core. The result does not depend on it.
    pub threads: usize,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self {
            k: None,
            k_min: None,
            k_max: None,
            restarts: 4,
            max_iterations: 300,
            tolerance: 1e-4,
            silhouette_sample: 2000,
            choose_sample: 20_000,
            threads: 0,
        }
    }
}

impl Settings for ClusterConfig {
    fn check(&self, checks: &mut Checks) {
        const MOST: usize = 1_000_000;
        checks.range("k", self.k, 1, MOST);
        checks.range("k_min", self.k_min, 2, MOST);
        checks.range("k_max", self.k_max, 2, MOST);
        let (least, most) = (self.k_min.unwrap_or(2), self.k_max.unwrap_or(MOST));
        checks.require(least <= most, "k_max", most, format!("k_min, {least}, or more"));
        checks.range("restarts", self.restarts, 1, 100);
        checks.range("max_iterations", self.max_iterations, 1, 10_000);
        checks.range("silhouette_sample", self.silhouette_sample, 10, 20_000);
        checks.range("choose_sample", self.choose_sample, 100, MOST);
        checks.range("threads", self.threads, 0, 1024);
        checks.range("tolerance", self.tolerance, 0.0, 1.0);
    }
}

impl ClusterConfig {
    /// The range of k tried for `found` instructions, within 2 and `found` - 1: with as many
    /// clusters as instructions a silhouette says nothing.
    pub(super) fn range(&self, found: usize) -> (usize, usize) {
        let most = found.saturating_sub(1).max(1);
        let low = self.k_min.unwrap_or((found as f64).sqrt() as usize / 2).max(2).min(most);
        let high = self.k_max.unwrap_or((found / 3).min(1000)).min(most);
        (low, high.max(low))
    }

    /// K-means with these settings.
    pub fn kmeans(&self, k: usize, seed: u64) -> KMeans {
        let Self { restarts, max_iterations, tolerance, threads, .. } = *self;
        KMeans { k, restarts, max_iterations, tolerance, seed, threads }
    }
}
