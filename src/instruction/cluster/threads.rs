//! Work on shares of rows with several threads. Which rows share a block never depends on the
//! number of threads, so neither do the results.

use std::num::NonZero;
use std::thread;

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
    let parts = first.chunks_mut(share).zip(second.chunks_mut(share)).enumerate();
    thread::scope(|scope| {
        let work = &work;
        let running: Vec<_> =
            parts.map(|(number, parts)| scope.spawn(move || work(number * share, parts))).collect();
        running
            .into_iter()
            .map(|part| part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}
