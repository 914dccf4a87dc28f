//! What is searched: the instructions and the index of their vectors, always changed together.

use std::collections::VecDeque;
use std::sync::Arc;

use super::catalog::{Catalog, StoredInstruction};
use super::lock::SharedLock;
use crate::index::{Among, Hit, IndexError, LocalIndex, VectorSearch, unit};

/// Deleted instructions remembered. A match that found one just before it was deleted can then
/// still compare and name it.
const REMEMBERED: usize = 1000;

/// Queries answered in one holding of the lock: bounds how long a writer waits, and behind it new
/// readers.
const QUERIES: usize = 32;

/// Instructions and their index. Ids in the index are row numbers.
pub(super) struct Live {
    pub catalog: Catalog,
    pub index: Box<dyn LocalIndex>,
    departed: VecDeque<(StoredInstruction, Vec<f32>)>,
}

impl Live {
    pub fn new(catalog: Catalog, index: Box<dyn LocalIndex>) -> Self {
        Self { catalog, index, departed: VecDeque::new() }
    }

    /// Adds an instruction. It is listed even when the index fails.
    pub fn insert(&mut self, new: StoredInstruction, vector: &[f32]) -> Result<(), IndexError> {
        let added = self.index.add(&new.row.to_string(), vector);
        self.catalog.insert(new);
        added
    }

    /// Removes an instruction. It is no longer listed even when the index fails.
    pub fn remove(&mut self, row: u64) -> Result<(), IndexError> {
        let key = row.to_string();
        if let (Some(removed), Some(vector)) = (self.catalog.remove(row), self.index.vector(&key)) {
            self.departed.truncate(REMEMBERED - 1);
            self.departed.push_front((removed, vector));
        }
        self.index.remove(&key).map(drop)
    }

    /// The instruction of a hit, also when it was deleted a moment ago.
    pub fn instruction(&self, key: &str) -> Option<&StoredInstruction> {
        let row = key.parse().ok()?;
        self.catalog.row(row).or_else(|| self.departed(row).map(|(one, _)| one))
    }

    /// The vector of a row, also when it was deleted a moment ago.
    pub fn vector(&self, key: &str) -> Option<Vec<f32>> {
        let departed = |row| self.departed(row).map(|(_, vector)| vector.clone());
        self.index.vector(key).or_else(|| key.parse().ok().and_then(departed))
    }

    fn departed(&self, row: u64) -> Option<&(StoredInstruction, Vec<f32>)> {
        self.departed.iter().find(|(one, _)| one.row == row)
    }
}

/// The index of a library that goes on changing, for a [`Matcher`](crate::matching::Matcher). The
/// ids are row numbers: [`InstructionStore::by_key`](super::InstructionStore::by_key) names the
/// instruction.
pub(super) struct LiveIndex(pub Arc<SharedLock<Live>>);

impl VectorSearch for LiveIndex {
    fn dim(&self) -> usize {
        self.0.read().index.dim()
    }

    fn count(&self) -> Result<usize, IndexError> {
        self.0.read().index.count()
    }

    fn search_many(
        &self,
        queries: &[&[f32]],
        k: usize,
        among: Among<'_>,
    ) -> Result<Vec<Vec<Hit>>, IndexError> {
        let dim = self.dim();
        // Here, because the index would count positions anew in each part.
        for (position, query) in queries.iter().enumerate() {
            unit(query, dim, || format!("query {position}"))?;
        }
        let mut found = Vec::with_capacity(queries.len());
        for part in queries.chunks(QUERIES) {
            found.extend(self.0.read().index.search_many(part, k, among)?);
        }
        Ok(found)
    }

    fn vectors(&self, ids: &[&str]) -> Result<Vec<Option<Vec<f32>>>, IndexError> {
        let live = self.0.read();
        Ok(ids.iter().map(|id| live.vector(id)).collect())
    }
}
