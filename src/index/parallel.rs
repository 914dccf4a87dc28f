//! Work on a slice with several threads, results in the slice's order.

use std::num::NonZero;
use std::thread;

use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::ParallelSlice;

/// Fewer items than this are not worth a thread.
const MIN_SHARE: usize = 4;

/// `threads`, or the number of cores when it is 0.
pub(super) fn threads(threads: usize) -> usize {
    match threads {
        0 => thread::available_parallelism().map_or(1, NonZero::get),
        set => set,
    }
}

/// `work` on each item and its position, on at most `threads` threads. The error given is that of
/// the first item that failed, so it does not depend on how the threads ran.
pub(super) fn map<T: Sync, R: Send, E: Send>(
    items: &[T],
    threads: usize,
    work: impl Fn(usize, &T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let share = items.len().div_ceil(threads.max(1)).max(MIN_SHARE);
    let run = |(chunk, items): (usize, &[T])| -> Result<Vec<R>, E> {
        items.iter().enumerate().map(|(at, item)| work(chunk * share + at, item)).collect()
    };
    if items.len() <= share {
        return run((0, items));
    }
    let mut chunks = Vec::new();
    items.par_chunks(share).enumerate().map(run).collect_into_vec(&mut chunks);
    let chunks = chunks.into_iter().collect::<Result<Vec<_>, E>>()?;
    Ok(chunks.into_iter().flatten().collect())
}
