//! k-means++ (Arthur and Vassilvitskii 2007), the greedy form: of several draws at each step the
//! one that lowers the sum of squared distances most.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, Axis, s};
use rand::RngExt;
use rand::seq::index::sample;
use rand_chacha::ChaCha8Rng;

use super::assign::{BLOCK, squared_norms};
use super::threads::in_shares;

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
