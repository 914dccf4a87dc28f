//! Choosing the number of clusters by the mean silhouette of a sample.

use ndarray::{Array2, ArrayView2, Axis};
use rand::SeedableRng;
use rand::seq::index::sample;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{ClusterConfig, ClusterError};
use crate::base::hash;

/// Points drawn once, with all distances between them.
pub struct SilhouetteSample {
    /// Which points were drawn.
    rows: Vec<usize>,
    /// [S, S], Euclidean.
    distances: Array2<f32>,
}

impl SilhouetteSample {
    /// Takes `rows` of `points`. Holds 4 S² bytes.
    pub fn new(points: ArrayView2<'_, f32>, rows: Vec<usize>) -> Self {
        let some = points.select(Axis(0), &rows);
        let norms: Vec<f32> = some.rows().into_iter().map(|row| row.dot(&row)).collect();
        let mut distances = some.dot(&some.t());
        for ((a, b), value) in distances.indexed_iter_mut() {
            let squared = if a == b { 0.0 } else { norms[a] + norms[b] - 2.0 * *value };
            *value = squared.max(0.0).sqrt();
        }
        Self { rows, distances }
    }

    /// Mean silhouette in [-1, 1] of the sampled points, each among the sampled members of the
    /// clusters; a point alone in its cluster counts 0, as its inventor wants it. 0 for one
    /// cluster.
    pub fn score(&self, labels: &[u32], k: usize) -> f64 {
        let labels: Vec<usize> = self.rows.iter().map(|row| labels[*row] as usize).collect();
        let mut sizes = vec![0usize; k];
        labels.iter().for_each(|label| sizes[*label] += 1);
        let rows = self.distances.rows().into_iter().zip(&labels);
        let values = rows.map(|(row, own)| {
            let mut sums = vec![0.0f64; k];
            row.iter().zip(&labels).for_each(|(d, label)| sums[*label] += f64::from(*d));
            one(&sums, &sizes, *own)
        });
        values.sum::<f64>() / labels.len().max(1) as f64
    }
}

/// Silhouette of one point of cluster `own`, from its distances' sums per cluster.
fn one(sums: &[f64], sizes: &[usize], own: usize) -> f64 {
    if sizes[own] < 2 {
        return 0.0;
    }
    let inside = sums[own] / (sizes[own] - 1) as f64;
    let means = sums.iter().zip(sizes).enumerate();
    let outside = means
        .filter(|(place, (_, size))| *place != own && **size > 0)
        .map(|(_, (sum, size))| sum / *size as f64)
        .fold(f64::INFINITY, f64::min);
    let larger = inside.max(outside);
    if !outside.is_finite() || larger <= 0.0 { 0.0 } else { (outside - inside) / larger }
}

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

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn a_hand_worked_example() {
        // Points 0, 1 | 4, 6 on a line. By hand: a(0) = 1, b(0) = 5, s = 4/5; a(1) = 1, b(1) = 4,
        // s = 3/4; a(4) = 2, b(4) = 3.5, s = 3/7; a(6) = 2, b(6) = 5.5, s = 7/11.
        let points = array![[0.0f32], [1.0], [4.0], [6.0]];
        let sample = SilhouetteSample::new(points.view(), vec![0, 1, 2, 3]);
        let expected = (0.8 + 0.75 + 3.0 / 7.0 + 7.0 / 11.0) / 4.0;
        assert!((sample.score(&[0, 0, 1, 1], 2) - expected).abs() < 1e-6);
        assert!(sample.score(&[0, 1, 0, 1], 2) < 0.0, "a wrong clustering scores below zero");
    }

    #[test]
    fn single_members_and_a_single_cluster_count_nothing() {
        let points = array![[0.0f32], [1.0], [4.0]];
        let sample = SilhouetteSample::new(points.view(), vec![0, 1, 2]);
        assert_eq!(sample.score(&[0, 1, 2], 3), 0.0);
        assert_eq!(sample.score(&[0, 0, 0], 1), 0.0);
    }
}
