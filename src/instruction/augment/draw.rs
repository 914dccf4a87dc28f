//! Which seeds a prompt shows.

use rand::SeedableRng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use super::super::seeds::Seeds;

/// An instruction that may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolEntry {
    /// A seed's id, or `raw:KEY` of an accepted instruction.
    pub id: String,
    pub text: String,
}

/// What prompts draw from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeedPool {
    entries: Vec<PoolEntry>,
}

impl SeedPool {
    /// The seeds.
    pub fn new(seeds: &Seeds) -> Self {
        let entry = |id: &str, text: &str| PoolEntry { id: id.into(), text: text.into() };
        Self { entries: seeds.seeds.iter().map(|seed| entry(&seed.id, &seed.text)).collect() }
    }

    /// Adds an accepted instruction.
    pub fn add(&mut self, entry: PoolEntry) {
        self.entries.push(entry);
    }

    /// `count` different entries in drawn order; equal seeds over equal pools draw alike.
    pub fn draw(&self, count: usize, seed: u64) -> Vec<&PoolEntry> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        self.entries.sample(&mut random, count).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_follow_the_seed_and_hold_no_entry_twice() {
        let pool = SeedPool::new(&Seeds::read(None).expect("built in"));
        let ids =
            |seed| -> Vec<&str> { pool.draw(5, seed).iter().map(|one| one.id.as_str()).collect() };
        assert_eq!(ids(3), ids(3));
        let draws: std::collections::HashSet<_> = (0..20).map(ids).collect();
        assert!(draws.len() > 15);
        let one: std::collections::HashSet<_> = ids(3).into_iter().collect();
        assert_eq!(one.len(), 5);
    }
}
