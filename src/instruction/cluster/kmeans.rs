//! K-means by Lloyd's iterations from greedy k-means++ starts. Our own, because the crates that
//! run on stable Rust compute each distance by itself, where these come from matrix products
//! (docs/instructions.md: which crates, and the figures beside scikit-learn).

use ndarray::{Array2, ArrayView2, Axis};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::ClusterError;
use super::assign::{assign, squared_norms};
use super::seeding::first_centres;
use super::threads::in_shares;
use crate::base::hash;

/// How K-means runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KMeans {
    /// Clusters, 1 to the number of points.
    pub k: usize,
    /// Starts, at least 1; the one with the lowest inertia counts.
    pub restarts: usize,
    /// Iterations of each start, at least 1.
    pub max_iterations: usize,
    /// A start has converged when its centres' squared moves add up to less than this share of
    /// the points' mean variance per dimension.
    pub tolerance: f64,
    /// Seed of the starts.
    pub seed: u64,
    /// Threads; 0 takes one per core. Results do not depend on it.
    pub threads: usize,
}

/// Points with their clusters.
#[derive(Debug, Clone, PartialEq)]
pub struct Partition {
    /// [k, D].
    pub centres: Array2<f32>,
    /// For each point, its cluster's number, below k.
    pub labels: Vec<u32>,
    /// For each point, the squared distance to its centre.
    pub distances: Vec<f32>,
    /// Sum of the squared distances.
    pub inertia: f64,
    /// Iterations of the start that counts.
    pub iterations: usize,
    /// The start that counts, from 0.
    pub restart: usize,
}

impl KMeans {
    /// Clusters the rows of `points`, [N, D]. `stopped` is asked between iterations.
    ///
    /// # Errors
    /// `k` is 0 or above N, or the user stopped.
    pub fn fit(
        &self,
        points: ArrayView2<'_, f32>,
        stopped: &(dyn Fn() -> bool + Sync),
    ) -> Result<Partition, ClusterError> {
        let found = points.nrows();
        if self.k == 0 || self.k > found {
            return Err(ClusterError::K { k: self.k, found });
        }
        let norms = squared_norms(points);
        let tolerance = self.tolerance * mean_variance(points);
        let mut best: Option<Partition> = None;
        for restart in 0..self.restarts.max(1) {
            let seed = hash::seed(self.seed, &["kmeans", &restart.to_string()]);
            let random = &mut ChaCha8Rng::seed_from_u64(seed);
            let centres = first_centres(points, self.k, random, self.threads);
            let mut run = Lloyd::new(self, points, &norms, centres);
            run.iterate(tolerance, stopped)?;
            let partition = run.finish(restart);
            if best.as_ref().is_none_or(|best| partition.inertia < best.inertia) {
                best = Some(partition);
            }
        }
        best.ok_or(ClusterError::K { k: self.k, found })
    }
}

/// Variance per dimension, averaged over the dimensions.
fn mean_variance(points: ArrayView2<'_, f32>) -> f64 {
    let (rows, columns) = points.dim();
    let mut sums = vec![(0.0, 0.0); columns];
    for row in points.rows() {
        for (sums, value) in sums.iter_mut().zip(row) {
            let value = f64::from(*value);
            *sums = (sums.0 + value, sums.1 + value * value);
        }
    }
    let rows = rows as f64;
    let variance = |(sum, squares): &(f64, f64)| (squares / rows - (sum / rows).powi(2)).max(0.0);
    sums.iter().map(variance).sum::<f64>() / columns.max(1) as f64
}

/// One start.
struct Lloyd<'a> {
    settings: &'a KMeans,
    points: ArrayView2<'a, f32>,
    norms: &'a [f32],
    centres: Array2<f32>,
    labels: Vec<u32>,
    distances: Vec<f32>,
    iterations: usize,
}

impl<'a> Lloyd<'a> {
    fn new(
        settings: &'a KMeans,
        points: ArrayView2<'a, f32>,
        norms: &'a [f32],
        centres: Array2<f32>,
    ) -> Self {
        let labels = vec![u32::MAX; points.nrows()];
        let distances = vec![0.0; points.nrows()];
        Self { settings, points, norms, centres, labels, distances, iterations: 0 }
    }

    fn iterate(
        &mut self,
        tolerance: f64,
        stopped: &(dyn Fn() -> bool + Sync),
    ) -> Result<(), ClusterError> {
        for _ in 0..self.settings.max_iterations.max(1) {
            if stopped() {
                return Err(ClusterError::Stopped);
            }
            self.iterations += 1;
            if self.assign() == 0 {
                return Ok(());
            }
            self.fill_empty();
            if self.move_centres() <= tolerance {
                break;
            }
        }
        // The centres moved after the last look: labels must be those of the final centres.
        self.assign();
        Ok(())
    }

    fn assign(&mut self) -> usize {
        let (labels, distances) = (&mut self.labels, &mut self.distances);
        let threads = self.settings.threads;
        assign(self.points, self.norms, self.centres.view(), labels, distances, threads)
    }

    fn counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.settings.k];
        self.labels.iter().for_each(|label| counts[*label as usize] += 1);
        counts
    }

    /// Gives each empty cluster the point that lies farthest from its own centre.
    fn fill_empty(&mut self) {
        let mut counts = self.counts();
        let empty: Vec<usize> = (0..counts.len()).filter(|place| counts[*place] == 0).collect();
        if empty.is_empty() {
            return;
        }
        let mut far: Vec<usize> = (0..self.labels.len()).collect();
        far.sort_by(|a, b| self.distances[*b].total_cmp(&self.distances[*a]).then(a.cmp(b)));
        let mut far = far.into_iter();
        for place in empty {
            let spare = |at: &usize| counts[self.labels[*at] as usize] > 1;
            let Some(at) = far.find(spare) else { return };
            counts[self.labels[at] as usize] -= 1;
            counts[place] = 1;
            self.labels[at] = place as u32;
            self.distances[at] = 0.0;
        }
    }

    /// Moves each centre to its members' mean; returns the sum of the squared moves.
    fn move_centres(&mut self) -> f64 {
        let (points, labels) = (self.points, &self.labels);
        let mut centres: Vec<_> = self.centres.axis_iter_mut(Axis(0)).collect();
        let mut moves = vec![0.0; centres.len()];
        in_shares(&mut centres, &mut moves, 1, self.settings.threads, |first, (centres, moves)| {
            let mut sums = Array2::<f64>::zeros((centres.len(), points.ncols()));
            let mut counts = vec![0u64; centres.len()];
            for (row, label) in points.rows().into_iter().zip(labels) {
                let Some(place) = (*label as usize).checked_sub(first) else { continue };
                if place >= centres.len() {
                    continue;
                }
                counts[place] += 1;
                let sum = sums.row_mut(place);
                sum.into_iter().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
            }
            for (place, centre) in centres.iter_mut().enumerate().filter(|at| counts[at.0] > 0) {
                for (value, sum) in centre.iter_mut().zip(sums.row(place)) {
                    let mean = (sum / counts[place] as f64) as f32;
                    moves[place] += f64::from(mean - *value).powi(2);
                    *value = mean;
                }
            }
        });
        moves.iter().sum()
    }

    /// With exact distances: those of the search are differences of large numbers.
    fn finish(mut self, restart: usize) -> Partition {
        for ((row, label), distance) in
            self.points.rows().into_iter().zip(&self.labels).zip(&mut self.distances)
        {
            let centre = self.centres.row(*label as usize);
            *distance = row.iter().zip(centre).map(|(x, c)| (x - c) * (x - c)).sum();
        }
        let inertia = self.distances.iter().map(|value| f64::from(*value)).sum();
        let Self { centres, labels, distances, iterations, .. } = self;
        Partition { centres, labels, distances, inertia, iterations, restart }
    }
}
