use std::sync::{Mutex, PoisonError};

/// Readers of compressed files kept open where each stopped, since whoever reads photos reads them
/// nearly in their order, and beginning anew means unpacking all that stands before. Several may
/// stand in one file: stages follow each other at some distance. One is used at a time.
pub(super) struct Pool<C> {
    /// The one that was used last at the end.
    held: Mutex<Vec<C>>,
    most: usize,
}

impl<C> Pool<C> {
    pub const fn new(most: usize) -> Self {
        Self { held: Mutex::new(Vec::new()), most }
    }

    /// Uses the reader that is nearest, as `distance` says of each that is of use at all, else the
    /// one that `open` makes. One that failed is not kept.
    pub fn with<T, E>(
        &self,
        distance: impl Fn(&C) -> Option<u64>,
        open: impl FnOnce() -> Result<C, E>,
        act: impl FnOnce(&mut C) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let near = held.iter().enumerate().filter_map(|(at, one)| Some((distance(one)?, at)));
        let mut one = match near.min() {
            Some((_, at)) => held.remove(at),
            None => open()?,
        };
        let found = act(&mut one)?;
        if held.len() >= self.most {
            held.remove(0);
        }
        held.push(one);
        Ok(found)
    }
}
