//! Approximate search over `usearch`'s HNSW graph, its sharp edges covered: capacity is reserved
//! inside `add`, again with the threads after a load (unum-cloud/USearch #507, #458), files are
//! loaded and never viewed (#624), searches wait for a place instead of failing, and a search
//! that the graph leaves short is answered exactly.

use std::path::Path;

use ::usearch::ffi::Matches;
use ::usearch::{Index, IndexOptions, MetricKind, ScalarKind};

use super::container::{Container, Header, IndexSnapshot, StoredKind, inconsistent};
use super::exact::check_k;
use super::gate::Gate;
use super::ids::IdMap;
use super::vector::{check_id, check_many, clamp, unit};
use super::{Hit, IndexConfig, IndexError, IndexKind, Scalar, VectorIndex, VectorSearch, parallel};

/// Places reserved at first.
const MIN_CAPACITY: usize = 64;

/// An HNSW index. The graph depends on the order in which vectors were added, so equal sequences
/// of calls give equal results, as long as none is [`VectorIndex::add_many`].
pub struct UsearchIndex {
    inner: Index,
    config: IndexConfig,
    ids: IdMap,
    gate: Gate,
    /// Whether the graph may hold removed nodes. `usearch` fills those first, by rewriting them,
    /// which is not made for many threads at once.
    holes: bool,
}

impl UsearchIndex {
    /// An empty index of vectors of width `dim`.
    ///
    /// # Errors
    /// A setting is out of range, `dim` is 0, or memory is short.
    pub fn new(dim: usize, config: &IndexConfig) -> Result<Self, IndexError> {
        config.check()?;
        if dim == 0 {
            let problems = vec!["dim: 0 is not a width".to_owned()];
            return Err(IndexError::Config { problems });
        }
        let inner = create(dim, config)?;
        let gate = Gate::new(parallel::threads(config.threads));
        let index =
            Self { inner, config: config.clone(), ids: IdMap::default(), gate, holes: false };
        index.reserve(MIN_CAPACITY)?;
        Ok(index)
    }

    /// Takes over a container whose settings agree with `config`.
    pub(super) fn from_container(
        path: &Path,
        container: &Container,
        keys: &[u64],
        config: &IndexConfig,
    ) -> Result<Self, IndexError> {
        let mut index = Self::new(container.header.dim, config)?;
        let count = container.header.ids.len();
        index.holes = check_payload(path, container.payload(), &index.inner, count)?;
        index.ids = IdMap::restore(&container.header.ids, keys)
            .ok_or_else(|| inconsistent(path, "ids and keys do not pair one to one"))?;
        // Loading resets the graph and forgets what was reserved.
        let loaded = index.inner.load_from_buffer(container.payload());
        loaded.map_err(|error| IndexError::backend("load the graph", error))?;
        index.inner.change_expansion_add(config.expansion_add);
        index.inner.change_expansion_search(config.expansion_search);
        index.reserve(count.max(MIN_CAPACITY))?;
        if index.inner.size() != count {
            return Err(inconsistent(path, "the graph does not hold one vector for each id"));
        }
        Ok(index)
    }

    fn reserve(&self, capacity: usize) -> Result<(), IndexError> {
        self.inner
            .reserve_capacity_and_threads(capacity, self.gate.places())
            .map_err(|error| IndexError::backend("reserve memory", error))
    }

    fn grow(&self) -> Result<(), IndexError> {
        let capacity = self.inner.capacity();
        if self.inner.size() < capacity { Ok(()) } else { self.reserve(capacity * 2) }
    }

    /// Puts checked vectors into the graph under the keys that come next.
    fn link_all(&self, vectors: &[Vec<f32>]) -> Result<(), IndexError> {
        let (first, threads) =
            (self.ids.next_key(), if self.holes { 1 } else { self.gate.places() });
        let link = |at, vector: &Vec<f32>| self.inner.add(first + at as u64, vector);
        let linked = parallel::map(vectors, threads, link);
        linked.map(drop).map_err(|error| IndexError::backend("add vectors", error))
    }

    /// Takes out what a failed [`Self::link_all`] has put in.
    fn unlink_all(&mut self, count: usize) {
        self.holes = true;
        for key in self.ids.next_key()..self.ids.next_key() + count as u64 {
            // The first failure is the one to report; here nothing is left to try.
            let _ = self.inner.remove(key);
        }
    }

    fn nearest(&self, query: &[f32], k: usize) -> Result<Vec<Hit>, IndexError> {
        let wanted = k.min(self.len());
        if wanted == 0 {
            return Ok(Vec::new());
        }
        let failed = |error| IndexError::backend("search", error);
        let _place = self.gate.enter();
        let mut matches = self.inner.search(query, wanted).map_err(failed)?;
        // Around many removed nodes the walk can end early.
        if matches.keys.len() < wanted {
            matches = self.inner.exact_search(query, wanted).map_err(failed)?;
        }
        self.hits(&matches)
    }

    fn hits(&self, matches: &Matches) -> Result<Vec<Hit>, IndexError> {
        let pairs = matches.keys.iter().zip(&matches.distances);
        let mut hits = pairs
            .map(|(&key, &distance)| {
                let id = self
                    .ids
                    .id(key)
                    .ok_or_else(|| IndexError::backend("search", format!("key {key} has no id")))?;
                Ok(Hit { id: id.to_owned(), similarity: clamp(1.0 - distance) })
            })
            .collect::<Result<Vec<_>, IndexError>>()?;
        hits.sort_unstable_by(|a, b| {
            b.similarity.total_cmp(&a.similarity).then_with(|| a.id.cmp(&b.id))
        });
        Ok(hits)
    }
}

impl VectorSearch for UsearchIndex {
    fn dim(&self) -> usize {
        self.inner.dimensions()
    }

    fn len(&self) -> usize {
        self.ids.len()
    }

    fn search(&self, query: &[f32], k: usize) -> Result<Vec<Hit>, IndexError> {
        check_k(k)?;
        let (query, _) = unit(query, self.dim(), || "the query".to_owned())?;
        self.nearest(&query, k)
    }

    fn search_many(&self, queries: &[&[f32]], k: usize) -> Result<Vec<Vec<Hit>>, IndexError> {
        check_k(k)?;
        parallel::map(queries, self.gate.places(), |position, query| {
            let (query, _) = unit(query, self.dim(), || format!("query {position}"))?;
            self.nearest(&query, k)
        })
    }

    fn vector(&self, id: &str) -> Option<Vec<f32>> {
        let mut stored = vec![0f32; self.dim()];
        let found = self.inner.get(self.ids.key(id)?, &mut stored).ok()?;
        if found == 0 {
            return None;
        }
        unit(&stored, self.dim(), || format!("the vector of {id:?}")).ok().map(|(unit, _)| unit)
    }

    fn ids(&self) -> Vec<String> {
        let (mut ids, _) = self.ids.entries();
        ids.sort_unstable();
        ids
    }
}

impl VectorIndex for UsearchIndex {
    fn kind(&self) -> IndexKind {
        IndexKind::Usearch
    }

    fn add(&mut self, id: &str, vector: &[f32]) -> Result<(), IndexError> {
        check_id(id)?;
        if self.ids.key(id).is_some() {
            return Err(IndexError::DuplicateId { id: id.to_owned() });
        }
        let (vector, _) = unit(vector, self.dim(), || format!("the vector of {id:?}"))?;
        self.grow()?;
        self.inner
            .add(self.ids.next_key(), &vector)
            .map_err(|error| IndexError::backend("add a vector", error))?;
        self.ids.push(id);
        Ok(())
    }

    fn add_many(&mut self, items: &[(String, Vec<f32>)]) -> Result<(), IndexError> {
        let known = |id: &str| self.ids.key(id).is_some();
        let vectors = check_many(items, self.dim(), self.gate.places(), known)?;
        let needed = self.inner.size() + items.len();
        if needed > self.inner.capacity() {
            self.reserve(needed.max(self.inner.capacity() * 2))?;
        }
        if let Err(error) = self.link_all(&vectors) {
            self.unlink_all(items.len());
            return Err(error);
        }
        items.iter().for_each(|(id, _)| self.ids.push(id));
        Ok(())
    }

    fn remove(&mut self, id: &str) -> Result<bool, IndexError> {
        let Some(key) = self.ids.key(id) else {
            return Ok(false);
        };
        let removed = self.inner.remove(key);
        removed.map_err(|error| IndexError::backend("remove a vector", error))?;
        self.ids.remove(id);
        self.holes = true;
        Ok(true)
    }

    fn snapshot(&self, model_hash: &str) -> Result<IndexSnapshot, IndexError> {
        let mut payload = vec![0; self.inner.serialized_length()];
        let saved = self.inner.save_to_buffer(&mut payload);
        saved.map_err(|error| IndexError::backend("write out the graph", error))?;
        let (ids, keys) = self.ids.entries();
        let IndexConfig { connectivity, expansion_add, scalar, .. } = self.config;
        let kind = StoredKind::Usearch { keys, connectivity, expansion_add, scalar };
        let model_hash = model_hash.to_owned();
        Ok(IndexSnapshot::new(Header { model_hash, dim: self.dim(), ids, kind }, payload))
    }
}

fn create(dim: usize, config: &IndexConfig) -> Result<Index, IndexError> {
    let options = IndexOptions {
        dimensions: dim,
        metric: MetricKind::Cos,
        quantization: match config.scalar {
            Scalar::F32 => ScalarKind::F32,
            Scalar::F16 => ScalarKind::F16,
            Scalar::Bf16 => ScalarKind::BF16,
            Scalar::I8 => ScalarKind::I8,
        },
        connectivity: config.connectivity,
        expansion_add: config.expansion_add,
        expansion_search: config.expansion_search,
        multi: false,
    };
    Index::new(&options).map_err(|error| IndexError::backend("make an index", error))
}

/// Compares the graph's own header with ours before `usearch` reads the rest; whether it holds
/// removed nodes.
fn check_payload(
    path: &Path,
    payload: &[u8],
    index: &Index,
    count: usize,
) -> Result<bool, IndexError> {
    let found = Index::metadata_from_buffer(payload)
        .map_err(|error| inconsistent(path, format!("unreadable graph: {error}")))?;
    let agrees = found.dimensions == index.dimensions() as u64
        && found.quantization == index.scalar_kind()
        && found.metric == MetricKind::Cos
        && found.count_present == count as u64
        && !found.multi;
    if agrees {
        return Ok(found.count_deleted > 0);
    }
    Err(inconsistent(path, format!("the graph holds {found:?}")))
}
