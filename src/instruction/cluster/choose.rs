//! Choosing k: the best sampled silhouette over a ladder of values.

use ndarray::{ArrayView2, Axis};
use rand::SeedableRng;
use rand::seq::index::sample;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::silhouette::SilhouetteSample;
use super::{ClusterConfig, ClusterError};
use crate::base::hash;

/// Values of k tried at most: each costs a K-means.
const RUNGS: usize = 10;

/// One value of k that was tried.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Tried {
    pub k: usize,
    /// Mean sampled silhouette, in [-1, 1].
    pub silhouette: f64,
    pub inertia: f64,
}

/// Values of k from `low` to `high`, both included, about evenly spread on a logarithmic scale.
pub fn ladder(low: usize, high: usize) -> Vec<usize> {
    let (low, high) = (low.max(1), high.max(low).max(1));
    let ratio = (high as f64 / low as f64).powf(1.0 / (RUNGS - 1) as f64);
    let mut rungs: Vec<usize> =
        (0..RUNGS).map(|rung| (low as f64 * ratio.powi(rung as i32)).round() as usize).collect();
    rungs.push(high);
    rungs.retain(|rung| (low..=high).contains(rung));
    rungs.dedup();
    rungs
}

/// Tries the configured range of k and returns the best with all that were tried. Works on at
/// most `config.choose_sample` points, so the cost stops growing with the set.
///
/// # Errors
/// The user stopped, or there are fewer than three points, of which nothing can be chosen.
pub fn choose(
    points: ArrayView2<'_, f32>,
    config: &ClusterConfig,
    seed: u64,
    stopped: &(dyn Fn() -> bool + Sync),
) -> Result<(usize, Vec<Tried>), ClusterError> {
    let found = points.nrows();
    let (low, high) = config.range(found);
    let random = &mut ChaCha8Rng::seed_from_u64(hash::seed(seed, &["choose"]));
    let rows = drawn(random, found, config.choose_sample);
    let some = points.select(Axis(0), &rows);
    let shown = drawn(random, some.nrows(), config.silhouette_sample);
    let silhouette = SilhouetteSample::new(some.view(), shown);
    let mut tried = Vec::new();
    for k in ladder(low, high.min(some.nrows())) {
        let partition = config.kmeans(k, seed).fit(some.view(), stopped)?;
        let score = silhouette.score(&partition.labels, k);
        tried.push(Tried { k, silhouette: score, inertia: partition.inertia });
    }
    // The smaller k among equals: fewer LLM calls for as good a clustering.
    let best =
        tried.iter().max_by(|a, b| a.silhouette.total_cmp(&b.silhouette).then(b.k.cmp(&a.k)));
    best.map(|best| best.k).map(|k| (k, tried)).ok_or(ClusterError::TooFew { found })
}

fn drawn(random: &mut ChaCha8Rng, of: usize, most: usize) -> Vec<usize> {
    let mut rows = sample(random, of, most.min(of)).into_vec();
    rows.sort_unstable();
    rows
}
