//! Work on shares of rows with several threads. Which rows share a block never depends on the
//! number of threads, so neither do the results.

use std::num::NonZero;
use std::thread;

use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;

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
