//! Work on many threads, and a bound on how many of them are inside `usearch` at once.

use std::num::NonZero;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;

use rayon::iter::{IndexedParallelIterator, IntoParallelRefIterator, ParallelIterator};
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

/// `work` on about equal parts of the items, as many as `threads`, side by side; the results in the
/// order of the items.
pub(super) fn parts<T: Sync, R: Send>(
    items: &[T],
    threads: usize,
    work: impl Fn(&[T]) -> Vec<R> + Sync,
) -> Vec<R> {
    let share = items.len().div_ceil(threads.max(1)).max(1);
    let parts: Vec<&[T]> = items.chunks(share).collect();
    each(&parts, |part| work(part)).into_iter().flatten().collect()
}

/// `work` on each item, side by side.
pub(super) fn each<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    match items {
        [one] => vec![work(one)],
        items => items.par_iter().map(&work).collect(),
    }
}

/// A counter of free places. `usearch` fails a search, rather than wait, when more threads come
/// than it was told to expect.
#[derive(Debug)]
pub(super) struct Gate {
    places: usize,
    free: Mutex<usize>,
    left: Condvar,
}

impl Gate {
    pub(super) fn new(places: usize) -> Self {
        Self { places, free: Mutex::new(places), left: Condvar::new() }
    }

    pub(super) fn places(&self) -> usize {
        self.places
    }

    /// Waits for a place and keeps it until the guard is dropped.
    pub(super) fn enter(&self) -> Place<'_> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free =
            self.left.wait_while(free, |free| *free == 0).unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Place { gate: self }
    }
}

/// A place inside the gate.
pub(super) struct Place<'a> {
    gate: &'a Gate,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        *self.gate.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.gate.left.notify_one();
    }
}
