//! Search by comparing with every vector: exact, for small sets and for checking recall.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::container::{Container, Header, IndexSnapshot, StoredKind, inconsistent};
use super::vector::{check_id, check_many, clamp, dot, unit};
use super::{Among, Hit, IndexError, IndexKind, LocalIndex, VectorSearch, VectorStore, parallel};
use crate::base::check::{Problem, Problems};

/// All vectors in one row-major f32 matrix.
#[derive(Debug)]
pub struct ExactIndex {
    dim: usize,
    threads: usize,
    ids: Vec<Arc<str>>,
    rows: HashMap<Arc<str>, usize>,
    values: Vec<f32>,
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
        let threads = parallel::threads(threads);
        Ok(Self { dim, threads, ids: Vec::new(), rows: HashMap::new(), values: Vec::new() })
    }

    pub(super) fn from_container(
        path: &Path,
        container: &Container,
        threads: usize,
    ) -> Result<Self, IndexError> {
        let mut index = Self::new(container.header.dim, threads)?;
        index.values = container
            .payload()
            .chunks_exact(4)
            .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
            .collect();
        index.ids = container.header.ids.iter().map(|id| id.as_str().into()).collect();
        index.rows = index.ids.iter().cloned().zip(0..).collect();
        if index.rows.len() != index.ids.len() {
            return Err(inconsistent(path, "an id comes twice"));
        }
        if Some(index.values.len()) != index.ids.len().checked_mul(index.dim) {
            return Err(inconsistent(path, "not one vector for each id"));
        }
        Ok(index)
    }

    /// Adds a checked vector.
    fn push(&mut self, id: &str, vector: Vec<f32>) {
        let id: Arc<str> = id.into();
        self.rows.insert(Arc::clone(&id), self.ids.len());
        self.ids.push(id);
        self.values.extend(vector);
    }

    fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.dim..(row + 1) * self.dim]
    }

    /// Most similar first, equal ones by id.
    fn order(&self, a: &(f32, usize), b: &(f32, usize)) -> Ordering {
        b.0.total_cmp(&a.0).then_with(|| self.ids[a.1].cmp(&self.ids[b.1]))
    }

    fn nearest(&self, query: &[f32], k: usize, rows: Option<&[usize]>) -> Vec<Hit> {
        let score = |row: &[f32]| clamp(dot(row, query));
        let mut scored: Vec<_> = match rows {
            None => self.values.chunks_exact(self.dim).map(score).zip(0..).collect(),
            Some(rows) => rows.iter().map(|&row| (score(self.row(row)), row)).collect(),
        };
        if k < scored.len() {
            scored.select_nth_unstable_by(k, |a, b| self.order(a, b));
            scored.truncate(k);
        }
        scored.sort_unstable_by(|a, b| self.order(a, b));
        let hit =
            |(similarity, row): (f32, usize)| Hit { id: self.ids[row].to_string(), similarity };
        scored.into_iter().map(hit).collect()
    }
}

impl VectorSearch for ExactIndex {
    fn dim(&self) -> usize {
        self.dim
    }

    fn count(&self) -> Result<usize, IndexError> {
        Ok(self.len())
    }

    fn search_many(
        &self,
        queries: &[&[f32]],
        k: usize,
        among: Among<'_>,
    ) -> Result<Vec<Vec<Hit>>, IndexError> {
        check_k(k)?;
        let rows = distinct(among, |id| self.rows.get(id).copied());
        parallel::map(queries, self.threads, |position, query| {
            let (query, _) = unit(query, self.dim, || format!("query {position}"))?;
            Ok(self.nearest(&query, k, rows.as_deref()))
        })
    }

    fn vectors(&self, ids: &[&str]) -> Result<Vec<Option<Vec<f32>>>, IndexError> {
        Ok(ids.iter().map(|id| self.vector(id)).collect())
    }
}

impl VectorStore for ExactIndex {
    fn add(&mut self, id: &str, vector: &[f32]) -> Result<(), IndexError> {
        check_id(id)?;
        if self.rows.contains_key(id) {
            return Err(IndexError::DuplicateId { id: id.to_owned() });
        }
        let (vector, _) = unit(vector, self.dim, || format!("the vector of {id:?}"))?;
        self.push(id, vector);
        Ok(())
    }

    fn add_many(&mut self, items: &[(String, Vec<f32>)]) -> Result<(), IndexError> {
        let known = |id: &str| self.rows.contains_key(id);
        let vectors = check_many(items, self.dim, self.threads, known)?;
        items.iter().zip(vectors).for_each(|((id, _), vector)| self.push(id, vector));
        Ok(())
    }

    fn remove(&mut self, id: &str) -> Result<bool, IndexError> {
        let Some(row) = self.rows.remove(id) else {
            return Ok(false);
        };
        let last = self.ids.len() - 1;
        self.ids.swap_remove(row);
        self.values.copy_within(last * self.dim.., row * self.dim);
        self.values.truncate(last * self.dim);
        if let Some(moved) = self.ids.get(row) {
            self.rows.insert(Arc::clone(moved), row);
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
        self.rows.get(id).map(|&row| self.row(row).to_vec())
    }

    fn removed(&self) -> usize {
        0
    }

    fn snapshot(&self, model_hash: &str) -> Result<IndexSnapshot, IndexError> {
        let header = Header {
            model_hash: model_hash.to_owned(),
            dim: self.dim,
            ids: self.ids.iter().map(ToString::to_string).collect(),
            kind: StoredKind::Exact,
        };
        let payload = self.values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Ok(IndexSnapshot::new(header, payload))
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
