//! What each of many has of something.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::ops::{AddAssign, SubAssign};

/// Numbers by key. A key that has nothing left is forgotten: callers and addresses come and go.
#[derive(Debug)]
pub(super) struct Tally<K, N = usize>(HashMap<K, N>);

impl<K, N> Default for Tally<K, N> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Hash + Eq + Copy, N: Copy + Default + Ord + AddAssign + SubAssign> Tally<K, N> {
    /// What `key` has.
    pub fn of(&self, key: &K) -> N {
        self.0.get(key).copied().unwrap_or_default()
    }

    /// Gives `key` so much more.
    pub fn add(&mut self, key: K, more: N) {
        if more > N::default() {
            *self.0.entry(key).or_default() += more;
        }
    }

    /// Takes so much from `key`, which has it.
    pub fn take(&mut self, key: K, less: N) {
        if let Entry::Occupied(mut its) = self.0.entry(key) {
            *its.get_mut() -= less;
            if *its.get() == N::default() {
                its.remove();
            }
        }
    }

    /// Who has the most.
    pub fn most(&self) -> Option<K> {
        self.0.iter().max_by_key(|(_, its)| **its).map(|(key, _)| *key)
    }
}

#[cfg(test)]
impl<K, N: Copy + Ord> Tally<K, N> {
    /// What who has the most has.
    pub fn largest(&self) -> Option<N> {
        self.0.values().copied().max()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
