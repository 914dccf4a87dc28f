//! The instructions nearest to a vector.

use super::InstructionStore;
use super::catalog::StoredInstruction;
use super::error::LibraryStoreError;
use super::live::Live;
use crate::index::{Among, Hit, IndexError, unit};

/// A category of at most this many instructions is compared one by one: some milliseconds at
/// width 384, and exact.
const SCAN_UP_TO: usize = 4096;

/// Rows compared in one holding of the lock.
const SCAN_STEP: usize = 1024;

/// The most hits fetched from the index in the hope of enough from one category.
const MOST_FETCHED: usize = 4096;

/// An instruction and its cosine similarity with the query, in [-1, 1].
pub type Found = (StoredInstruction, f32);

impl InstructionStore {
    /// The `k` instructions nearest to `query`, most similar first, of one category if it is
    /// given. Fewer when there are fewer.
    ///
    /// # Errors
    /// `k` is 0, or the query has the wrong width, a value that is not finite, or length zero.
    pub fn search(
        &self,
        query: &[f32],
        k: usize,
        category: Option<&str>,
    ) -> Result<Vec<Found>, LibraryStoreError> {
        match category {
            None => {
                let live = self.live.read();
                Ok(live.index.search(query, k)?.iter().filter_map(|hit| live.found(hit)).collect())
            }
            Some(category) => Ok(self.search_category(query, k, category)?),
        }
    }

    fn search_category(
        &self,
        query: &[f32],
        k: usize,
        category: &str,
    ) -> Result<Vec<Found>, IndexError> {
        if k == 0 {
            return Err(IndexError::ZeroK);
        }
        let (query, _) = unit(query, self.dim, || "the query".to_owned())?;
        let fetched = {
            let live = self.live.read();
            let many = live.catalog.len(Some(category)) > SCAN_UP_TO;
            if many { live.fetch(&query, k, category)? } else { None }
        };
        fetched.map_or_else(|| self.scan(&query, k, category), Ok)
    }

    /// Compares with every instruction of the category.
    fn scan(&self, query: &[f32], k: usize, category: &str) -> Result<Vec<Found>, IndexError> {
        let rows = self.live.read().catalog.rows(Some(category));
        let mut best: Vec<Found> = Vec::new();
        for part in rows.chunks(SCAN_STEP) {
            let keys: Vec<String> = part.iter().map(u64::to_string).collect();
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            let live = self.live.read();
            let hits = live.index.search_many(&[query], k, Among::Ids(&keys))?.concat();
            best.extend(hits.iter().filter_map(|hit| live.found(hit)));
            drop(live);
            best.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.row.cmp(&b.0.row)));
            best.truncate(k);
        }
        Ok(best)
    }
}

impl Live {
    fn found(&self, hit: &Hit) -> Option<Found> {
        let row = hit.id.parse().ok()?;
        Some((self.catalog.row(row)?.clone(), hit.similarity))
    }

    /// Fetches more and more hits until enough are of the category; `None` when that takes too
    /// many.
    fn fetch(
        &self,
        query: &[f32],
        k: usize,
        category: &str,
    ) -> Result<Option<Vec<Found>>, IndexError> {
        let (all, some) = (self.index.len(), self.catalog.len(Some(category)));
        let wanted = k.min(some);
        // As if the category lay evenly among the others, with as much again.
        let mut fetched = wanted.saturating_mul(2).saturating_mul(all / some.max(1) + 1);
        while fetched <= MOST_FETCHED {
            let hits = self.index.search(query, fetched)?;
            let of_category = |found: &Found| found.0.category.as_deref() == Some(category);
            let found = hits.iter().filter_map(|hit| self.found(hit)).filter(of_category);
            let found: Vec<_> = found.take(k).collect();
            if found.len() >= wanted {
                return Ok(Some(found));
            }
            fetched *= 4;
        }
        Ok(None)
    }
}
