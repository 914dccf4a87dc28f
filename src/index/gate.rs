//! A bound on how many threads are inside `usearch` at once.

use std::sync::{Condvar, Mutex, PoisonError};

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
