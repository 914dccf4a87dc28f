//! K-means by Lloyd's algorithm with k-means++ starts, on many threads; results never depend on how
//! many.

use std::num::NonZero;
use std::thread;

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, Axis, s};
use rand::seq::index::sample;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;

use super::ClusterError;
use crate::base::hash;

/// `threads`, or the number of cores when it is 0.
pub(super) fn resolved(threads: usize) -> usize {
    match threads {
        0 => thread::available_parallelism().map_or(1, NonZero::get),
        set => set,
    }
}

/// Rows of each thread's share: whole blocks, so that blocks are the same for any thread count.
fn share(rows: usize, block: usize, threads: usize) -> usize {
    rows.div_ceil(resolved(threads)).next_multiple_of(block)
}

/// Runs `work(first row, its share of both slices)` on each share; results in row order.
pub(super) fn in_shares<A: Send, B: Send, R: Send>(
    first: &mut [A],
    second: &mut [B],
    block: usize,
    threads: usize,
    work: impl Fn(usize, (&mut [A], &mut [B])) -> R + Sync,
) -> Vec<R> {
    let share = share(first.len().max(1), block, threads);
    let parts = first.par_chunks_mut(share).zip(second.par_chunks_mut(share)).enumerate();
    parts.map(|(number, parts)| work(number * share, parts)).collect()
}

/// Rows multiplied at once: 256 × 384 floats stay in the second-level cache.
pub(super) const BLOCK: usize = 256;

/// Squared length of every row.
pub(super) fn squared_norms(rows: ArrayView2<'_, f32>) -> Vec<f32> {
    rows.rows().into_iter().map(|row| row.dot(&row)).collect()
}

/// Writes each point's nearest centre (the lowest number among equals) and its squared distance.
/// Returns how many labels changed.
pub(super) fn assign(
    points: ArrayView2<'_, f32>,
    norms: &[f32],
    centres: ArrayView2<'_, f32>,
    labels: &mut [u32],
    distances: &mut [f32],
    threads: usize,
) -> usize {
    let centre_norms = squared_norms(centres);
    let work = |first: usize, (labels, distances): (&mut [u32], &mut [f32])| {
        let mut products = Array2::zeros((BLOCK.min(labels.len()), centres.nrows()));
        let mut changed = 0;
        for start in (0..labels.len()).step_by(BLOCK) {
            let end = labels.len().min(start + BLOCK);
            let rows = points.slice(s![first + start..first + end, ..]);
            let mut products = products.slice_mut(s![..end - start, ..]);
            general_mat_mul(-2.0, &rows, &centres.t(), 0.0, &mut products);
            for (row, at) in products.rows().into_iter().zip(start..end) {
                let (nearest, partial) = lowest(row.as_slice().unwrap_or_default(), &centre_norms);
                changed += usize::from(labels[at] != nearest);
                labels[at] = nearest;
                distances[at] = (norms[first + at] + partial).max(0.0);
            }
        }
        changed
    };
    in_shares(labels, distances, BLOCK, threads, work).into_iter().sum()
}

/// Place and value of the smallest sum of the two.
fn lowest(products: &[f32], norms: &[f32]) -> (u32, f32) {
    let mut best = (0, f32::INFINITY);
    for (place, (product, norm)) in products.iter().zip(norms).enumerate() {
        let value = product + norm;
        if value < best.1 {
            best = (place as u32, value);
        }
    }
    best
}

/// Points looked at for each centre: beyond this many, a drawn sample finds as good a start.
const POINTS_PER_CENTRE: usize = 64;
/// And never fewer than this.
const MIN_POINTS: usize = 20_000;

/// First centres, [k, D].
pub(super) fn first_centres(
    points: ArrayView2<'_, f32>,
    k: usize,
    random: &mut ChaCha8Rng,
    threads: usize,
) -> Array2<f32> {
    let enough = (POINTS_PER_CENTRE * k).max(MIN_POINTS);
    if points.nrows() <= enough {
        return Seeding::new(points, threads).run(k, random);
    }
    let mut drawn = sample(random, points.nrows(), enough).into_vec();
    drawn.sort_unstable();
    let some = points.select(Axis(0), &drawn);
    Seeding::new(some.view(), threads).run(k, random)
}

struct Seeding<'a> {
    points: ArrayView2<'a, f32>,
    norms: Vec<f32>,
    /// Squared distance of each point to the nearest centre chosen so far.
    closest: Vec<f32>,
    chosen: Vec<usize>,
    threads: usize,
}

impl<'a> Seeding<'a> {
    fn new(points: ArrayView2<'a, f32>, threads: usize) -> Self {
        let closest = vec![f32::INFINITY; points.nrows()];
        Self { points, norms: squared_norms(points), closest, chosen: Vec::new(), threads }
    }

    fn run(mut self, k: usize, random: &mut ChaCha8Rng) -> Array2<f32> {
        let trials = 2 + (k as f64).ln() as usize;
        let first = random.random_range(0..self.points.nrows());
        self.choose(&[first]);
        while self.chosen.len() < k {
            let candidates = self.draw(trials, random);
            self.choose(&candidates);
        }
        self.points.select(Axis(0), &self.chosen)
    }

    /// Points drawn with a probability proportional to their squared distance.
    fn draw(&self, trials: usize, random: &mut ChaCha8Rng) -> Vec<usize> {
        let mut sums = Vec::with_capacity(self.closest.len());
        let mut total = 0.0;
        for value in &self.closest {
            total += f64::from(*value);
            sums.push(total);
        }
        if total <= 0.0 {
            // Every point lies on a centre: any that is not one yet.
            let unused = (0..self.closest.len()).find(|at| !self.chosen.contains(at));
            return vec![unused.unwrap_or(0)];
        }
        let last = self.closest.len() - 1;
        let pick = |draw: f64| sums.partition_point(|sum| *sum <= draw * total).min(last);
        (0..trials).map(|_| pick(random.random_range(0.0..1.0))).collect()
    }

    /// Takes the best of the candidates as a centre.
    fn choose(&mut self, candidates: &[usize]) {
        let centres = self.points.select(Axis(0), candidates);
        let sums = self.potentials(&centres);
        let best = (0..candidates.len()).min_by(|a, b| sums[*a].total_cmp(&sums[*b])).unwrap_or(0);
        let centre = centres.slice(s![best..best + 1, ..]).to_owned();
        self.lower(&centre);
        self.chosen.push(candidates[best]);
    }

    /// For each candidate, what the sum of squared distances would become.
    fn potentials(&self, centres: &Array2<f32>) -> Vec<f64> {
        if centres.nrows() == 1 {
            return vec![0.0];
        }
        let mut blocks = vec![vec![0.0; centres.nrows()]; self.closest.len().div_ceil(BLOCK)];
        let mut numbers: Vec<usize> = (0..blocks.len()).collect();
        in_shares(&mut blocks, &mut numbers, 1, self.threads, |_, (blocks, numbers)| {
            for (sums, block) in blocks.iter_mut().zip(numbers.iter()) {
                self.each_distance(*block, centres, |column, at, distance| {
                    sums[column] += f64::from(distance.min(self.closest[at]));
                });
            }
        });
        // Block by block, so that the sums do not depend on the number of threads.
        let add = |mut total: Vec<f64>, block: &Vec<f64>| {
            total.iter_mut().zip(block).for_each(|(total, value)| *total += value);
            total
        };
        blocks.iter().fold(vec![0.0; centres.nrows()], add)
    }

    fn lower(&mut self, centre: &Array2<f32>) {
        let mut closest = std::mem::take(&mut self.closest);
        let mut blocks: Vec<&mut [f32]> = closest.chunks_mut(BLOCK).collect();
        let mut numbers: Vec<usize> = (0..blocks.len()).collect();
        in_shares(&mut blocks, &mut numbers, 1, self.threads, |_, (blocks, numbers)| {
            for (values, block) in blocks.iter_mut().zip(numbers.iter()) {
                self.each_distance(*block, centre, |_, at, distance| {
                    let value = &mut values[at - block * BLOCK];
                    *value = value.min(distance);
                });
            }
        });
        self.closest = closest;
    }

    /// Squared distances of a block's points to every centre: (centre, point, distance).
    fn each_distance(
        &self,
        block: usize,
        centres: &Array2<f32>,
        mut take: impl FnMut(usize, usize, f32),
    ) {
        let (start, end) = (block * BLOCK, ((block + 1) * BLOCK).min(self.points.nrows()));
        let mut products = Array2::zeros((end - start, centres.nrows()));
        let rows = self.points.slice(s![start..end, ..]);
        general_mat_mul(-2.0, &rows, &centres.t(), 0.0, &mut products);
        let norms = squared_norms(centres.view());
        for ((row, column), product) in products.indexed_iter() {
            let at = start + row;
            take(column, at, (self.norms[at] + norms[column] + product).max(0.0));
        }
    }
}

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
