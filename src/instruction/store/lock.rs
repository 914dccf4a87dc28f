//! A lock whose writer does not keep readers waiting.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread;
use std::time::{Duration, Instant};

/// How long a writer works before it lets readers in.
const SLICE: Duration = Duration::from_millis(5);

/// How long it then waits for them to come in. They only need to be woken.
const PATIENCE: Duration = Duration::from_millis(5);

/// `std`'s lock may give itself back to the writer that has just left it; this one counts who
/// waits to read.
#[derive(Debug)]
pub(super) struct SharedLock<T> {
    inner: RwLock<T>,
    waiting: AtomicUsize,
}

impl<T> SharedLock<T> {
    pub fn new(value: T) -> Self {
        Self { inner: RwLock::new(value), waiting: AtomicUsize::new(0) }
    }

    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let held = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        held
    }

    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does `work` for each item, letting readers in between.
    pub fn write_each<I>(
        &self,
        items: impl IntoIterator<Item = I>,
        mut work: impl FnMut(&mut T, I),
    ) {
        let mut items = items.into_iter().peekable();
        while items.peek().is_some() {
            let (mut held, begun) = (self.write(), Instant::now());
            while let Some(item) = items.next_if(|_| begun.elapsed() < SLICE) {
                work(&mut held, item);
            }
            drop(held);
            self.let_readers_in();
        }
    }

    fn let_readers_in(&self) {
        let begun = Instant::now();
        while self.waiting.load(Ordering::Relaxed) > 0 && begun.elapsed() < PATIENCE {
            thread::sleep(Duration::from_micros(50));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_come_in_between_the_slices_of_a_long_write() {
        let lock = SharedLock::new(0u32);
        thread::scope(|scope| {
            let writer = scope.spawn(|| {
                lock.write_each(0..400, |value, _| {
                    thread::sleep(Duration::from_millis(1));
                    *value += 1;
                });
            });
            let mut seen = Vec::new();
            while !writer.is_finished() {
                seen.push(*lock.read());
                thread::sleep(Duration::from_micros(200));
            }
            let between = seen.iter().filter(|&&value| value > 0 && value < 400).count();
            assert!(between > 5, "{between} reads came in while it wrote");
        });
        assert_eq!(*lock.read(), 400);
    }
}
