//! Searching only some of the library's instructions, as a match with a filter does.

use std::sync::Arc;

use super::InstructionStore;
use super::live::{Live, QUERIES, SharedLock, StoredInstruction};
use super::read::{MOST_FETCHED, SCAN_STEP, SCAN_UP_TO};
use crate::index::{Among, Ask, Hit, IndexError, VectorSearch};

/// Which instructions are meant: those of one of the categories and with one of the tags. An empty
/// list lets every instruction through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InstructionFilter {
    pub categories: Vec<String>,
    pub tags: Vec<String>,
}

impl InstructionFilter {
    /// Whether every instruction is meant.
    pub fn is_empty(&self) -> bool {
        self.categories.is_empty() && self.tags.is_empty()
    }

    /// Whether this instruction is meant.
    pub fn lets_through(&self, one: &StoredInstruction) -> bool {
        let category = one.category.as_deref();
        let of_category = self.categories.iter().any(|wanted| category == Some(wanted));
        (self.categories.is_empty() || of_category)
            && (self.tags.is_empty() || self.tags.iter().any(|tag| one.tags.contains(tag)))
    }
}

impl InstructionStore {
    /// As [`Self::live_index`], of the instructions that `filter` lets through now. Those created
    /// later are not in it.
    pub fn filtered_index(&self, filter: &InstructionFilter) -> Arc<dyn VectorSearch> {
        if filter.is_empty() {
            return self.live_index();
        }
        let rows = self.live.read().catalog.filtered(filter);
        Arc::new(FilteredIndex { live: Arc::clone(&self.live), rows })
    }
}

/// The index of some instructions. Ids are row numbers, as in the whole index.
struct FilteredIndex {
    live: Arc<SharedLock<Live>>,
    /// In order.
    rows: Vec<u64>,
}

impl FilteredIndex {
    fn holds(&self, id: &str) -> bool {
        id.parse().is_ok_and(|row| self.rows.binary_search(&row).is_ok())
    }

    /// Compares with each of them.
    fn scan(&self, queries: &[&[f32]], k: usize) -> Result<Vec<Vec<Hit>>, IndexError> {
        let mut best: Vec<Vec<Hit>> = vec![Vec::new(); queries.len()];
        for part in self.rows.chunks(SCAN_STEP) {
            let keys: Vec<String> = part.iter().map(u64::to_string).collect();
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            let mut found = Vec::with_capacity(queries.len());
            for some in queries.chunks(QUERIES) {
                found.extend(self.live.read().index.search_many(some, Ask::top(k).among(&keys))?);
            }
            for (best, found) in best.iter_mut().zip(found) {
                best.extend(found);
                best.sort_unstable_by(|a, b| {
                    b.similarity.total_cmp(&a.similarity).then_with(|| a.id.cmp(&b.id))
                });
                best.truncate(k);
            }
        }
        Ok(best)
    }

    /// Fetches more and more hits of the whole index until enough are meant; `None` when that takes
    /// too many.
    fn fetch(&self, query: &[f32], ask: Ask<'_>) -> Result<Option<Vec<Hit>>, IndexError> {
        let live = self.live.read();
        let wanted = ask.k.min(self.rows.len());
        // As if those meant lay evenly among the others, with as much again.
        let spread = live.index.len() / self.rows.len().max(1) + 1;
        let mut fetched = wanted.saturating_mul(2).saturating_mul(spread);
        while fetched <= MOST_FETCHED {
            let hits = live.index.search_many(&[query], ask.first(fetched))?;
            let mut hits = hits.into_iter().next().unwrap_or_default();
            hits.retain(|hit| self.holds(&hit.id));
            if hits.len() >= wanted {
                hits.truncate(ask.k);
                return Ok(Some(hits));
            }
            fetched *= 4;
        }
        Ok(None)
    }
}

impl VectorSearch for FilteredIndex {
    fn dim(&self) -> usize {
        self.live.read().index.dim()
    }

    fn count(&self) -> Result<usize, IndexError> {
        Ok(self.rows.len())
    }

    fn search_many(&self, queries: &[&[f32]], ask: Ask<'_>) -> Result<Vec<Vec<Hit>>, IndexError> {
        if let Among::Ids(ids) = ask.among {
            let meant: Vec<&str> = ids.iter().copied().filter(|id| self.holds(id)).collect();
            return self.live.read().index.search_many(queries, ask.among(&meant));
        }
        if self.rows.len() <= SCAN_UP_TO {
            return self.scan(queries, ask.k);
        }
        let each = |query: &&[f32]| match self.fetch(query, ask)? {
            Some(hits) => Ok(hits),
            None => Ok(self.scan(&[*query], ask.k)?.pop().unwrap_or_default()),
        };
        queries.iter().map(each).collect()
    }

    fn vectors(&self, ids: &[&str]) -> Result<Vec<Option<Vec<f32>>>, IndexError> {
        let live = self.live.read();
        let vector = |id: &&str| self.holds(id).then(|| live.vector(id)).flatten();
        Ok(ids.iter().map(vector).collect())
    }
}
