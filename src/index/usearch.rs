//! Approximate search over `usearch`'s HNSW graph, its sharp edges covered: capacity is reserved
//! inside `add`, again with the threads after a load (unum-cloud/USearch #507, #458), files are
//! loaded and never viewed (#624), searches wait for a place instead of failing, and a search
//! that the graph leaves short goes on from other places, within a bound.
//!
//! A removed vector stays in the graph, passed through by searches and never given. `usearch`
//! would put the next vector in its place and drop that node's links, which now and then cuts a
//! neighbour off for good. So the graph only grows, until [`LocalIndex::removed`] says that it
//! should be built anew. Threads that add at once also cut off a vector now and then, because a
//! node under way may drop the links that others give it: what they added is looked for, and added
//! again if it is not found.

use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use ::usearch::ffi::Matches;
use ::usearch::{Index, IndexOptions, MetricKind, ScalarKind};

use super::container::{Container, Header, IndexSnapshot, StoredGraph, StoredKind, inconsistent};
use super::exact::{check_k, distinct};
use super::gate::Gate;
use super::ids::IdMap;
use super::vector::{check_id, check_many, clamp, dot, unit};
use super::{
    Among, Hit, IndexConfig, IndexError, IndexKind, LocalIndex, Scalar, VectorSearch, VectorStore,
    parallel,
};
use crate::base::check::{Problem, Problems, Settings};

/// Places reserved at first.
const MIN_CAPACITY: usize = 64;

/// Neighbours of a vector among which it, or one that is the same, is looked for.
const NEIGHBOURS: usize = 8;

/// Vectors compared one by one when a walk comes back short: some 10 ms at width 384.
pub(super) const COMPARED: usize = 16_384;

/// Walks begun elsewhere when a walk comes back short.
pub(super) const STARTS: usize = 8;

/// Candidates kept while looking for vectors just added: all but a few are found by that, in a
/// fifth of the time that adding takes.
const NARROW: usize = 16;

/// Cosine distance of two vectors that are stored alike: 0 but for rounding.
const ALIKE: f32 = 1e-6;

/// Euclidean distance from which on two f32 vectors of length 1 are not one. An encoder may give a
/// text again with a rounding error that depends on the batch; similarities show no more than this.
const SAME: f32 = 1e-5;

/// An HNSW index. The graph depends on the order in which vectors were added, so equal sequences
/// of calls give equal results, as long as none is [`VectorStore::add_many`].
pub struct UsearchIndex {
    inner: Index,
    config: IndexConfig,
    ids: IdMap,
    gate: Gate,
    compared_beside: AtomicU64,
}

impl UsearchIndex {
    /// An empty index of vectors of width `dim`.
    ///
    /// # Errors
    /// A setting is out of range, `dim` is 0, or memory is short.
    pub fn new(dim: usize, config: &IndexConfig) -> Result<Self, IndexError> {
        config.validate_as("index")?;
        if dim == 0 {
            return Err(IndexError::Config(Problems(vec![Problem::new("dim", 0, "1 or more")])));
        }
        let inner = create(dim, config)?;
        let gate = Gate::new(parallel::threads(config.threads));
        let (config, ids, compared_beside) = (config.clone(), IdMap::default(), AtomicU64::new(0));
        let index = Self { inner, config, ids, gate, compared_beside };
        index.reserve(MIN_CAPACITY)?;
        Ok(index)
    }

    /// Vectors compared one by one so far, because walks through the graph came back short. A
    /// number that grows says that many vectors are alike.
    pub fn compared_beside(&self) -> u64 {
        self.compared_beside.load(Ordering::Relaxed)
    }

    /// Takes over a container whose settings agree with `config`.
    pub(super) fn from_container(
        path: &Path,
        container: &Container,
        stored: &StoredGraph,
        config: &IndexConfig,
    ) -> Result<Self, IndexError> {
        let StoredGraph { keys, next_key, removed, .. } = stored;
        let mut index = Self::new(container.header.dim, config)?;
        let nodes = container.header.ids.len().saturating_add(*removed);
        check_payload(path, container.payload(), &index.inner, nodes)?;
        index.ids = IdMap::restore(&container.header.ids, keys, *next_key)
            .ok_or_else(|| inconsistent(path, "ids and keys do not pair one to one"))?;
        // Loading resets the graph and forgets what was reserved.
        let loaded = index.inner.load_from_buffer(container.payload());
        loaded.map_err(|error| IndexError::backend("load the graph", error))?;
        index.inner.change_expansion_add(config.expansion_add);
        index.inner.change_expansion_search(config.expansion_search);
        index.reserve(nodes.max(MIN_CAPACITY))?;
        let there = |key: &u64| index.inner.contains(*key);
        if index.inner.size() != nodes || !keys.iter().all(there) {
            return Err(inconsistent(path, "the graph does not hold one vector for each id"));
        }
        Ok(index)
    }

    fn reserve(&self, capacity: usize) -> Result<(), IndexError> {
        self.inner
            .reserve_capacity_and_threads(capacity, self.gate.places())
            .map_err(|error| IndexError::backend("reserve memory", error))
    }

    fn make_room(&self, more: usize) -> Result<(), IndexError> {
        let (needed, capacity) = (self.inner.size() + more, self.inner.capacity());
        if needed <= capacity { Ok(()) } else { self.reserve(needed.max(capacity * 2)) }
    }

    /// Puts checked vectors into the graph under the keys that come next.
    fn link(&mut self, vectors: &[Vec<f32>]) -> Result<(), IndexError> {
        self.make_room(vectors.len())?;
        let first = self.ids.next_key();
        let link = |at, vector: &Vec<f32>| self.inner.add(first + at as u64, vector);
        let linked = parallel::map(vectors, self.gate.places(), link);
        linked.map(drop).map_err(|error| {
            // Some may be in the graph by now.
            self.ids.skip(vectors.len());
            IndexError::backend("add vectors", error)
        })
    }

    /// Adds once more, one by one, which of the vectors under the keys from `first` on are lost.
    fn mend(
        &mut self,
        first: u64,
        items: &[(String, Vec<f32>)],
        vectors: &[Vec<f32>],
    ) -> Result<(), IndexError> {
        for at in self.lost(first, vectors)? {
            self.ids.remove(&items[at].0);
            self.link(&vectors[at..=at])?;
            self.ids.push(&items[at].0);
        }
        Ok(())
    }

    /// Positions of the vectors, added under the keys from `first` on, that no search finds.
    fn lost(&self, first: u64, vectors: &[Vec<f32>]) -> Result<Vec<usize>, IndexError> {
        let all: Vec<usize> = (0..vectors.len()).collect();
        self.inner.change_expansion_search(NARROW);
        let suspects = self.unfound(first, vectors, &all);
        self.inner.change_expansion_search(self.config.expansion_search);
        self.unfound(first, vectors, &suspects?)
    }

    fn unfound(
        &self,
        first: u64,
        vectors: &[Vec<f32>],
        positions: &[usize],
    ) -> Result<Vec<usize>, IndexError> {
        let find = |_, at: &usize| {
            let near = self.inner.search(&vectors[*at], NEIGHBOURS);
            let near = near.map_err(|error| IndexError::backend("search", error))?;
            let mut near = near.keys.iter().zip(&near.distances);
            // A twin in its place answers as well.
            let twin = |key, away| away <= ALIKE && self.ids.id(key).is_some();
            Ok::<_, IndexError>(
                near.any(|(&key, &away)| key == first + *at as u64 || twin(key, away)),
            )
        };
        let found = parallel::map(positions, self.gate.places(), find)?;
        let unfound = positions.iter().zip(found).filter(|(_, found)| !found);
        Ok(unfound.map(|(at, _)| *at).collect())
    }

    /// The key of a removed vector that is the same as `vector`. Taking it up again keeps the graph
    /// sound: many equal nodes would fill each other's lists of links, and what lies behind them
    /// would not be found.
    fn same_removed(&self, vector: &[f32]) -> Option<u64> {
        if self.removed() == 0 {
            return None;
        }
        let near = self.inner.search(vector, NEIGHBOURS).ok()?;
        let alike = near.keys.iter().zip(&near.distances).filter(|(_, away)| **away <= ALIKE);
        let mut removed = alike.map(|(key, _)| *key).filter(|key| self.ids.is_removed(*key));
        removed.find(|key| self.config.scalar != Scalar::F32 || self.lies_at(*key, vector))
    }

    fn lies_at(&self, key: u64, vector: &[f32]) -> bool {
        self.stored(key).is_some_and(|stored| {
            let squares = stored.iter().zip(vector).map(|(a, b)| (a - b).powi(2));
            squares.sum::<f32>() <= SAME * SAME
        })
    }

    /// The vector of a key, of length 1.
    fn stored(&self, key: u64) -> Option<Vec<f32>> {
        let mut stored = vec![0f32; self.dim()];
        if self.inner.get(key, &mut stored).ok()? == 0 {
            return None;
        }
        unit(&stored, self.dim(), || format!("the vector of key {key}")).ok().map(|(unit, _)| unit)
    }

    fn nearest(&self, query: &[f32], k: usize) -> Result<Vec<Hit>, IndexError> {
        let wanted = k.min(self.len());
        if wanted == 0 {
            return Ok(Vec::new());
        }
        let _place = self.gate.enter();
        let matches = self.walk(query, wanted)?;
        // Where many vectors are alike, the walk can end among them.
        if matches.keys.len() < wanted {
            return self.widened(query, wanted, &matches);
        }
        let similarities = matches.distances.iter().map(|distance| clamp(1.0 - distance));
        Ok(self.best(matches.keys.iter().copied().zip(similarities).collect(), wanted))
    }

    fn walk(&self, query: &[f32], wanted: usize) -> Result<Matches, IndexError> {
        let found = if self.removed() == 0 {
            self.inner.search(query, wanted)
        } else {
            self.inner.filtered_search(query, wanted, |key| self.ids.id(key).is_some())
        };
        found.map_err(|error| IndexError::backend("search", error))
    }

    /// Answers a search whose walk was shut in among vectors that are alike. A wider walk from the
    /// same place would find nothing more, so it goes on from others: vectors from everywhere
    /// are compared with the query, then walks begin at the nearest of them. The work is bounded by
    /// [`COMPARED`] and [`STARTS`], however large the index; up to [`COMPARED`] vectors the answer
    /// is exact.
    fn widened(
        &self,
        query: &[f32],
        wanted: usize,
        shut_in: &Matches,
    ) -> Result<Vec<Hit>, IndexError> {
        let every = self.len().div_ceil(COMPARED).max(1);
        let sample = self.ids.entries().step_by(every).map(|(_, key)| key);
        let mut scored = self.compared(query, sample);
        if every > 1 {
            scored.sort_unstable_by(|a, b| b.1.total_cmp(&a.1));
            let mut keys: HashSet<u64> = shut_in.keys.iter().copied().collect();
            for (start, _) in scored.iter().take(STARTS) {
                let Some(start) = self.stored(*start) else { continue };
                keys.extend(self.walk(&start, wanted)?.keys);
            }
            for (key, _) in &scored {
                keys.remove(key);
            }
            scored.extend(self.compared(query, keys));
        }
        self.compared_beside.fetch_add(scored.len() as u64, Ordering::Relaxed);
        Ok(self.best(scored, wanted))
    }

    /// The similarity of each key's vector with a query of length 1.
    fn compared(&self, query: &[f32], keys: impl IntoIterator<Item = u64>) -> Vec<(u64, f32)> {
        let similarity = |key| Some((key, clamp(dot(&self.stored(key)?, query))));
        keys.into_iter().filter_map(similarity).collect()
    }

    /// The first `k`, most similar first, equal ones by id.
    fn best(&self, scored: Vec<(u64, f32)>, k: usize) -> Vec<Hit> {
        let hit = |(key, similarity)| Some(Hit { id: self.ids.id(key)?.to_owned(), similarity });
        let mut hits: Vec<_> = scored.into_iter().filter_map(hit).collect();
        hits.sort_unstable_by(|a, b| {
            b.similarity.total_cmp(&a.similarity).then_with(|| a.id.cmp(&b.id))
        });
        hits.truncate(k);
        hits
    }
}

impl VectorSearch for UsearchIndex {
    fn dim(&self) -> usize {
        self.inner.dimensions()
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
        let keys = distinct(among, |id| self.ids.key(id));
        parallel::map(queries, self.gate.places(), |position, query| {
            let (query, _) = unit(query, self.dim(), || format!("query {position}"))?;
            match &keys {
                None => self.nearest(&query, k),
                Some(keys) => Ok(self.best(self.compared(&query, keys.iter().copied()), k)),
            }
        })
    }

    fn vectors(&self, ids: &[&str]) -> Result<Vec<Option<Vec<f32>>>, IndexError> {
        Ok(ids.iter().map(|id| self.vector(id)).collect())
    }
}

impl VectorStore for UsearchIndex {
    fn add(&mut self, id: &str, vector: &[f32]) -> Result<(), IndexError> {
        check_id(id)?;
        if self.ids.key(id).is_some() {
            return Err(IndexError::DuplicateId { id: id.to_owned() });
        }
        let (vector, _) = unit(vector, self.dim(), || format!("the vector of {id:?}"))?;
        if let Some(key) = self.same_removed(&vector) {
            self.ids.put(id, key);
            return Ok(());
        }
        self.link(&[vector])?;
        self.ids.push(id);
        Ok(())
    }

    fn add_many(&mut self, items: &[(String, Vec<f32>)]) -> Result<(), IndexError> {
        let known = |id: &str| self.ids.key(id).is_some();
        let vectors = check_many(items, self.dim(), self.gate.places(), known)?;
        let first = self.ids.next_key();
        self.link(&vectors)?;
        items.iter().for_each(|(id, _)| self.ids.push(id));
        self.mend(first, items, &vectors).inspect_err(|_| {
            for (id, _) in items {
                self.ids.remove(id);
            }
        })
    }

    fn remove(&mut self, id: &str) -> Result<bool, IndexError> {
        Ok(self.ids.remove(id))
    }
}

impl LocalIndex for UsearchIndex {
    fn kind(&self) -> IndexKind {
        IndexKind::Usearch
    }

    fn len(&self) -> usize {
        self.ids.len()
    }

    fn ids(&self) -> Vec<String> {
        let mut ids: Vec<_> = self.ids.entries().map(|(id, _)| id.to_owned()).collect();
        ids.sort_unstable();
        ids
    }

    fn vector(&self, id: &str) -> Option<Vec<f32>> {
        self.stored(self.ids.key(id)?)
    }

    fn removed(&self) -> usize {
        self.inner.size() - self.ids.len()
    }

    fn snapshot(&self, model_hash: &str) -> Result<IndexSnapshot, IndexError> {
        let mut payload = vec![0; self.inner.serialized_length()];
        let saved = self.inner.save_to_buffer(&mut payload);
        saved.map_err(|error| IndexError::backend("write out the graph", error))?;
        let (ids, keys) = self.ids.entries().map(|(id, key)| (id.to_owned(), key)).unzip();
        let IndexConfig { connectivity, expansion_add, scalar, .. } = self.config;
        let (next_key, removed) = (self.ids.next_key(), self.removed());
        let kind = StoredKind::Usearch(StoredGraph {
            keys,
            next_key,
            removed,
            connectivity,
            expansion_add,
            scalar,
        });
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

/// Compares the graph's own header with ours before `usearch` reads the rest.
fn check_payload(
    path: &Path,
    payload: &[u8],
    index: &Index,
    nodes: usize,
) -> Result<(), IndexError> {
    let found = Index::metadata_from_buffer(payload)
        .map_err(|error| inconsistent(path, format!("unreadable graph: {error}")))?;
    let agrees = found.dimensions == index.dimensions() as u64
        && found.quantization == index.scalar_kind()
        && found.metric == MetricKind::Cos
        && found.count_present == nodes as u64
        && found.count_deleted == 0
        && !found.multi;
    if agrees { Ok(()) } else { Err(inconsistent(path, format!("the graph holds {found:?}"))) }
}
