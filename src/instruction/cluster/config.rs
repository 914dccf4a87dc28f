//! Settings of the clustering.

use serde::{Deserialize, Serialize};

use super::KMeans;

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

impl ClusterConfig {
    /// Every setting that is out of range: its name, its value and the range.
    pub fn validate(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut range = |name: &str, value: usize, low: usize, high: usize| {
            if !(low..=high).contains(&value) {
                problems.push(format!("cluster.{name} is {value}, must be {low} to {high}"));
            }
        };
        range("k", self.k.unwrap_or(1), 1, 1_000_000);
        range("k_min", self.k_min.unwrap_or(2), 2, 1_000_000);
        range("k_max", self.k_max.unwrap_or(1_000_000), self.k_min.unwrap_or(2), 1_000_000);
        range("restarts", self.restarts, 1, 100);
        range("max_iterations", self.max_iterations, 1, 10_000);
        range("silhouette_sample", self.silhouette_sample, 10, 20_000);
        range("choose_sample", self.choose_sample, 100, 1_000_000);
        range("threads", self.threads, 0, 1024);
        if !(0.0..=1.0).contains(&self.tolerance) {
            problems.push(format!("cluster.tolerance is {}, must be 0 to 1", self.tolerance));
        }
        problems
    }

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
