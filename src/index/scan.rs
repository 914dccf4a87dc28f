//! Comparing queries with every row. Products in 16 bits find what may be among the nearest: one
//! by one for few queries, as matrix products for many. How far they can be off is known, so
//! whatever could belong to the nearest is compared once more exactly. The answer is that of a
//! plain comparison with every row, bit for bit, on every processor and however the queries came
//! together.

use std::borrow::Cow;
use std::ops::Range;

use numkong::{Dot, PackedMatrix, Tensor, TensorError, available, bf16, cap, configure_thread};

use super::rows::{Rows, shortened};

/// From this many queries on, a matrix product is quicker.
const MANY: usize = 4;

/// Rows of one matrix product: they and the products stay in the processor's second-level cache.
const TILE: usize = 256;

/// Queries of one matrix product.
const QUERIES: usize = 256;

/// Candidates kept beyond those wanted before the weaker ones are dropped.
const SLACK: usize = 64;

/// A value in 16 bits has 8 binary places: it is off by half a unit in the last one at most.
const HALF_UNIT: f32 = 1.0 / 256.0;

/// How far a product of two vectors of length 1 and width `dim` in 16 bits can be from the exact
/// one. A change of one vector changes the product by no more than its length (Cauchy and
/// Schwarz), and each of the two sums rounds once for each value.
fn off(dim: usize) -> f32 {
    HALF_UNIT * (2.0 + HALF_UNIT) + f32::EPSILON * dim as f32
}

/// Of these rows, the `k` with the highest similarity to each query of length 1, in no order;
/// more where others are as similar as the last of them. Only rows that are `there` count.
pub(super) fn nearest(
    rows: &Rows,
    range: Range<usize>,
    queries: &[&[f32]],
    k: usize,
    there: &dyn Fn(usize) -> bool,
) -> Vec<Vec<(f32, usize)>> {
    let part = |queries: &[&[f32]]| {
        let mut best: Vec<Best> = queries.iter().map(|_| Best::new(k, off(rows.dim()))).collect();
        let mut start = range.start;
        let scan = Scan::new(queries, rows.dim());
        while start < range.end {
            let tile = start..range.end.min(start + TILE);
            scan.offer(&short(rows, tile.clone()), start, &mut best, there);
            start = tile.end;
        }
        let settled = best.into_iter().zip(queries);
        settled.map(|(best, query)| best.settled(rows, query)).collect::<Vec<_>>()
    };
    queries.chunks(QUERIES).flat_map(part).collect()
}

/// Rows in 16 bits.
fn short(rows: &Rows, range: Range<usize>) -> Cow<'_, [bf16]> {
    rows.short(range.clone()).map_or_else(|| shortened(rows.values(range)).into(), Cow::Borrowed)
}

/// Queries to be compared with tiles of rows.
struct Scan {
    dim: usize,
    queries: Vec<bf16>,
    /// The queries as one side of matrix products, where they are many and this thread may make
    /// them.
    packed: Option<PackedMatrix<bf16>>,
}

impl Scan {
    fn new(queries: &[&[f32]], dim: usize) -> Self {
        let short = shortened(&queries.concat());
        let packed = (queries.len() >= MANY && may_multiply()).then(|| {
            let matrix = Tensor::<bf16>::try_from_slice(&short, &[queries.len(), dim]);
            matrix.and_then(|matrix| PackedMatrix::try_pack(&matrix)).ok()
        });
        Self { dim, queries: short, packed: packed.flatten() }
    }

    /// Offers the products of these rows, the first of which is row `start`, with every query.
    fn offer(&self, tile: &[bf16], start: usize, best: &mut [Best], there: &dyn Fn(usize) -> bool) {
        if let Some(products) = self.products(tile) {
            for (at, products) in products.as_slice().chunks_exact(best.len()).enumerate() {
                if there(start + at) {
                    let offers = best.iter_mut().zip(products);
                    offers.for_each(|(best, product)| best.offer(*product, start + at));
                }
            }
            return;
        }
        for (at, row) in tile.chunks_exact(self.dim).enumerate() {
            if there(start + at) {
                let queries = self.queries.chunks_exact(self.dim);
                for (best, query) in best.iter_mut().zip(queries) {
                    // Both have the same width, so there is a product.
                    best.offer(bf16::dot(row, query).unwrap_or(f32::INFINITY), start + at);
                }
            }
        }
    }

    fn products(&self, tile: &[bf16]) -> Option<Tensor<f32>> {
        let packed = self.packed.as_ref()?;
        let product = || -> Result<Tensor<f32>, TensorError> {
            let shape = [tile.len() / self.dim, self.dim];
            Tensor::<bf16>::try_from_slice(tile, &shape)?.try_dots_packed(packed)
        };
        product().ok()
    }
}

/// Whether this thread may make matrix products: the kernel lets it use a processor's matrix unit
/// only when asked, and a product on one would end the process otherwise.
fn may_multiply() -> bool {
    available() & (cap::SAPPHIREAMX | cap::GRANITEAMX) == 0 || configure_thread()
}

/// What may be among the `k` nearest of one query.
struct Best {
    k: usize,
    /// How far below the last of the `k` a product may lie and still belong to them.
    margin: f32,
    /// Whatever lies below does not belong to them.
    least: f32,
    kept: Vec<(f32, usize)>,
    /// So many are kept before the weaker ones are dropped.
    room: usize,
}

impl Best {
    /// `off`: how far a product can be from the exact similarity.
    fn new(k: usize, off: f32) -> Self {
        let room = k.saturating_mul(2).saturating_add(SLACK);
        Self { k, margin: 2.0 * off, least: f32::NEG_INFINITY, kept: Vec::new(), room }
    }

    fn offer(&mut self, product: f32, row: usize) {
        if product < self.least {
            return;
        }
        self.kept.push((product, row));
        if self.kept.len() >= self.room {
            self.tighten();
            self.room = self.room.max(2 * self.kept.len());
        }
    }

    fn tighten(&mut self) {
        if let Some(last) = last_of(self.k, &mut self.kept) {
            self.least = last - self.margin;
            self.kept.retain(|(product, _)| *product >= self.least);
        }
    }

    /// The nearest by their exact similarities.
    fn settled(mut self, rows: &Rows, query: &[f32]) -> Vec<(f32, usize)> {
        self.tighten();
        let exact = |(_, row)| (rows.similarity(row, query), row);
        let mut near: Vec<_> = self.kept.into_iter().map(exact).collect();
        if let Some(last) = last_of(self.k, &mut near) {
            near.retain(|(similarity, _)| *similarity >= last);
        }
        near
    }
}

/// The `k`th highest value; `None` where there are fewer.
fn last_of(k: usize, scored: &mut [(f32, usize)]) -> Option<f32> {
    let at = k.checked_sub(1).filter(|at| *at < scored.len())?;
    let (_, last, _) = scored.select_nth_unstable_by(at, |a, b| b.0.total_cmp(&a.0));
    Some(last.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::vector::{clamp, dot, unit};
    use super::*;

    /// Everything that is as similar as the `k`th, by plain comparison.
    fn plain(rows: &Rows, query: &[f32], k: usize, leave_out: usize) -> Vec<(f32, usize)> {
        let there = (0..rows.len()).filter(|row| row % 5 != leave_out);
        let mut all: Vec<_> = there.map(|row| (clamp(dot(rows.row(row), query)), row)).collect();
        all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let last = all.get(k.saturating_sub(1)).map_or(f32::NEG_INFINITY, |last| last.0);
        all.retain(|(similarity, _)| *similarity >= last);
        all
    }

    /// Vectors close to each other, so that 16 bits do not tell them apart.
    fn vectors(count: usize, dim: usize, spread: f32) -> impl Strategy<Value = Vec<Vec<f32>>> {
        let value = -1f32..1.0;
        let one = prop::collection::vec(value, dim);
        prop::collection::vec(one, count).prop_map(move |vectors| {
            let near = |vector: Vec<f32>| {
                let vector: Vec<f32> = vector.iter().map(|value| 0.5 + spread * value).collect();
                unit(&vector, dim, String::new).expect("has a direction").0
            };
            vectors.into_iter().map(near).collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn the_answer_is_that_of_a_plain_comparison_however_queries_come_together(
            (dim, spread, vectors) in (1..70usize, prop::sample::select(vec![1e-3f32, 0.05, 2.0]))
                .prop_flat_map(|(dim, spread)| (Just(dim), Just(spread), vectors(340, dim, spread))),
            k in 1..40usize,
            together in 1..9usize,
            short in any::<bool>(),
        ) {
            prop_assert!(spread > 0.0);
            let (queries, given) = vectors.split_at(20);
            let mut rows = Rows::new(dim);
            given.iter().for_each(|row| rows.push(row));
            let rows = if short { rows.shortened() } else { rows };
            let there = |row: usize| row % 5 != 3;
            let queries: Vec<&[f32]> = queries.iter().map(Vec::as_slice).collect();
            for part in queries.chunks(together) {
                let found = nearest(&rows, 0..rows.len(), part, k, &there);
                for (mut found, query) in found.into_iter().zip(part) {
                    found.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
                    prop_assert_eq!(&found, &plain(&rows, query, k, 3));
                }
            }
        }
    }

    #[test]
    fn sixteen_bits_are_off_by_half_a_unit_at_most() {
        let values: Vec<f32> = (1..200_000).map(|at| 1.0 / 7.0 + at as f32 * 3.3e-6).collect();
        for (value, short) in values.iter().zip(shortened(&values)) {
            assert!((value - short.to_f32()).abs() <= HALF_UNIT * value, "{value}");
        }
    }
}
