//! Search by comparing with every vector: exact, for small sets and for checking recall.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::ask::{Among, Ask};
use super::container::{Container, Header, IndexSnapshot, StoredKind, inconsistent};
use super::rows::Rows;
use super::vector::{check_id, check_many, unit, units};
use super::{Hit, IndexError, IndexKind, LocalIndex, VectorSearch, VectorStore, scan, threads};
use crate::base::check::{Problem, Problems};

/// All vectors in one row-major f32 matrix.
#[derive(Debug)]
pub struct ExactIndex {
    threads: usize,
    ids: Vec<Arc<str>>,
    by_id: HashMap<Arc<str>, usize>,
    rows: Rows,
}

impl ExactIndex {
    /// An empty index of vectors of width `dim`; `threads` search at once (0: one per core).
    ///
    /// # Errors
    /// `dim` is 0.
    pub fn new(dim: usize, threads: usize) -> Result<Self, IndexError> {
        if dim == 0 {
            return Err(IndexError::Config(Problems(vec![Problem::new("dim", 0, "1 or more")])));
        }
        let threads = threads::threads(threads);
        Ok(Self {
            threads,
            ids: Vec::new(),
            by_id: HashMap::new(),
            rows: Rows::new(dim).shortened(),
        })
    }

    pub(super) fn from_container(
        path: &Path,
        container: &Container,
        threads: usize,
    ) -> Result<Self, IndexError> {
        let (ids, dim) = (&container.header.ids, container.header.dim);
        let mut index = Self::new(dim, threads)?;
        index.rows = Rows::from_bytes(dim, ids.len(), container.payload())
            .ok_or_else(|| inconsistent(path, "not one vector for each id"))?
            .shortened();
        index.ids = ids.iter().map(|id| id.as_str().into()).collect();
        index.by_id = index.ids.iter().cloned().zip(0..).collect();
        if index.by_id.len() != index.ids.len() {
            return Err(inconsistent(path, "an id comes twice"));
        }
        Ok(index)
    }

    /// Adds a checked vector.
    fn push(&mut self, id: &str, vector: &[f32]) {
        let id: Arc<str> = id.into();
        self.by_id.insert(Arc::clone(&id), self.ids.len());
        self.ids.push(id);
        self.rows.push(vector);
    }

    /// The first `k`, most similar first, equal ones by id.
    fn best(&self, mut scored: Vec<(f32, usize)>, k: usize) -> Vec<Hit> {
        scored.sort_unstable_by(|a, b| {
            b.0.total_cmp(&a.0).then_with(|| self.ids[a.1].cmp(&self.ids[b.1]))
        });
        scored.truncate(k);
        let hit =
            |(similarity, row): (f32, usize)| Hit { id: self.ids[row].to_string(), similarity };
        scored.into_iter().map(hit).collect()
    }

    fn nearest(&self, queries: &[Vec<f32>], k: usize) -> Vec<Vec<Hit>> {
        let queries: Vec<&[f32]> = queries.iter().map(Vec::as_slice).collect();
        let near = scan::nearest(&self.rows, 0..self.len(), &queries, k, &|_| true);
        near.into_iter().map(|near| self.best(near, k)).collect()
    }

    fn nearest_of(&self, query: &[f32], k: usize, rows: &[usize]) -> Vec<Hit> {
        let score = |&row: &usize| (self.rows.similarity(row, query), row);
        self.best(rows.iter().map(score).collect(), k)
    }
}

impl VectorSearch for ExactIndex {
    fn dim(&self) -> usize {
        self.rows.dim()
    }

    fn count(&self) -> Result<usize, IndexError> {
        Ok(self.len())
    }

    fn search_many(&self, queries: &[&[f32]], ask: Ask<'_>) -> Result<Vec<Vec<Hit>>, IndexError> {
        check_k(ask.k)?;
        let queries = units(queries, self.dim(), self.threads)?;
        if let Some(rows) = distinct(ask.among, |id| self.by_id.get(id).copied()) {
            return threads::map(&queries, self.threads, |_, query| {
                Ok(self.nearest_of(query, ask.k, &rows))
            });
        }
        Ok(threads::parts(&queries, self.threads, |part| self.nearest(part, ask.k)))
    }

    fn vectors(&self, ids: &[&str]) -> Result<Vec<Option<Vec<f32>>>, IndexError> {
        Ok(ids.iter().map(|id| self.vector(id)).collect())
    }
}

impl VectorStore for ExactIndex {
    fn add(&mut self, id: &str, vector: &[f32]) -> Result<(), IndexError> {
        check_id(id)?;
        if self.by_id.contains_key(id) {
            return Err(IndexError::DuplicateId { id: id.to_owned() });
        }
        let (vector, _) = unit(vector, self.dim(), || format!("the vector of {id:?}"))?;
        self.push(id, &vector);
        Ok(())
    }

    fn add_many(&mut self, items: &[(String, Vec<f32>)]) -> Result<(), IndexError> {
        let known = |id: &str| self.by_id.contains_key(id);
        let vectors = check_many(items, self.dim(), self.threads, known)?;
        items.iter().zip(&vectors).for_each(|((id, _), vector)| self.push(id, vector));
        Ok(())
    }

    fn remove(&mut self, id: &str) -> Result<bool, IndexError> {
        let Some(row) = self.by_id.remove(id) else {
            return Ok(false);
        };
        self.ids.swap_remove(row);
        self.rows.swap_remove(row);
        if let Some(moved) = self.ids.get(row) {
            self.by_id.insert(Arc::clone(moved), row);
        }
        Ok(true)
    }
}

impl LocalIndex for ExactIndex {
    fn kind(&self) -> IndexKind {
        IndexKind::Exact
    }

    fn len(&self) -> usize {
        self.ids.len()
    }

    fn ids(&self) -> Vec<String> {
        let mut ids: Vec<_> = self.ids.iter().map(ToString::to_string).collect();
        ids.sort_unstable();
        ids
    }

    fn vector(&self, id: &str) -> Option<Vec<f32>> {
        self.by_id.get(id).map(|&row| self.rows.row(row).to_vec())
    }

    fn removed(&self) -> usize {
        0
    }

    fn snapshot(&self, model_hash: &str) -> Result<IndexSnapshot, IndexError> {
        let header = Header {
            model_hash: model_hash.to_owned(),
            dim: self.dim(),
            ids: self.ids.iter().map(ToString::to_string).collect(),
            kind: StoredKind::Exact,
        };
        Ok(IndexSnapshot::new(header, self.rows.bytes().collect()))
    }
}

/// The places of the ids that a search is limited to, each once; `None` where it is not.
pub(super) fn distinct<T: Ord>(
    among: Among<'_>,
    place: impl Fn(&str) -> Option<T>,
) -> Option<Vec<T>> {
    let Among::Ids(ids) = among else { return None };
    let mut places: Vec<T> = ids.iter().filter_map(|id| place(id)).collect();
    places.sort_unstable();
    places.dedup();
    Some(places)
}

pub(super) fn check_k(k: usize) -> Result<(), IndexError> {
    if k == 0 { Err(IndexError::ZeroK) } else { Ok(()) }
}
