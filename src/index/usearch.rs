//! Approximate search over `usearch`'s HNSW graph, its sharp edges covered: capacity is reserved
//! inside `add`, again with the threads after a load (unum-cloud/USearch #507, #458), files are
//! loaded and never viewed (#624), searches wait for a place instead of failing, and a search
//! that the graph leaves short goes on from other places, within a bound.
//!
//! The graph holds vectors of length 1 and compares them by their inner product, in a narrow form
//! where the settings say so. It only proposes: what it finds is compared once more with the
//! vectors as they were given, which lie beside it in f32, so that every similarity given is the
//! one that exact search gives. That takes 4 bytes a value beside the 1 to 4 of the graph and its
//! links: 2.5 KiB a vector at width 384 with `bf16`.
//!
//! A removed vector stays in the graph, passed through by searches and never given. `usearch`
//! would put the next vector in its place and drop that node's links, which now and then cuts a
//! neighbour off for good. So the graph only grows, until [`LocalIndex::removed`] says that it
//! should be built anew. Threads that add at once also cut off a vector now and then, because a
//! node under way may drop the links that others give it: what they added is looked for, and added
//! again if it is not found.

use std::collections::HashSet;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use ::usearch::Index;
use ::usearch::ffi::Matches;

use super::ask::{Ask, Modality};
use super::container::{Container, Header, IndexSnapshot, StoredGraph, StoredKind, inconsistent};
use super::exact::{check_k, distinct};
use super::graph::{check_payload, create, split_payload};
use super::ids::IdMap;
use super::recall::{Recall, RecallFacts, SearchFacts, UNMEASURED};
use super::rows::Rows;
use super::threads::{self, Gate};
use super::vector::{check_id, check_many, unit, units};
use super::{Hit, IndexConfig, IndexError, IndexKind, LocalIndex, VectorSearch, VectorStore, scan};
use crate::base::check::{Problem, Problems, Settings};

/// Places reserved at first.
const MIN_CAPACITY: usize = 64;

/// Candidates among which a vector, or one that is the same, is looked for while it is added. All
/// but a few are found by that, in a fifth of the time that adding takes.
const NARROW: usize = 16;

/// Candidates kept in a search that is to find a vector if any search does.
const THOROUGH: usize = 512;

/// Vectors compared one by one when a walk comes back short: some 10 ms at width 384.
pub(super) const COMPARED: usize = 16_384;

/// Walks begun elsewhere when a walk comes back short.
pub(super) const STARTS: usize = 8;

/// Of what a walk found, how much more than the results wanted is compared with the vectors as
/// they were given: the graph's own order errs by the rounding of its narrow form.
const SPARE: usize = 16;

/// Vectors compared one after the other in less time than a walk takes for each candidate that it
/// keeps. At width 384 on one core with AVX-512 a walk over 12,000 vectors that kept 1,024 took
/// 0.51 ms; all were compared in 0.09 ms where many queries came together, and in 0.2 to 0.4 where
/// one came alone. Over 100,000 a walk takes five times as long for each.
const SCANNED: usize = 12;

/// Euclidean distance from which on two vectors of length 1 are not one. An encoder may give a
/// text again with a rounding error that depends on the batch; similarities show no more than this.
const SAME: f32 = 1e-5;

/// An HNSW index. The graph depends on the order in which vectors were added, so equal sequences
/// of calls give equal results, as long as none is [`VectorStore::add_many`].
pub struct UsearchIndex {
    inner: Index,
    config: IndexConfig,
    ids: IdMap,
    /// The vectors as they were given, by key, of length 1. Zeros where a key was skipped.
    rows: Rows,
    /// What was measured, one at most for each modality.
    recall: RwLock<Vec<Recall>>,
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
        let index = Self {
            inner: create(dim, config)?,
            config: config.clone(),
            ids: IdMap::default(),
            rows: Rows::new(dim),
            recall: RwLock::default(),
            gate: Gate::new(threads::threads(config.threads)),
            compared_beside: AtomicU64::new(0),
        };
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
        let StoredGraph { keys, next_key, removed, recall, .. } = stored;
        let mut index = Self::new(container.header.dim, config)?;
        let nodes = container.header.ids.len().saturating_add(*removed);
        let (rows, graph) = split_payload(container.payload(), index.dim(), *next_key)
            .ok_or_else(|| inconsistent(path, "not one vector for each key"))?;
        check_payload(path, graph, &index.inner, nodes)?;
        index.ids = IdMap::restore(&container.header.ids, keys, *next_key)
            .ok_or_else(|| inconsistent(path, "ids and keys do not pair one to one"))?;
        index.rows = rows;
        index.recall = RwLock::new(recall.clone());
        // Loading resets the graph and forgets what was reserved.
        let loaded = index.inner.load_from_buffer(graph);
        loaded.map_err(|error| IndexError::backend("load the graph", error))?;
        index.inner.change_expansion_add(config.expansion_add);
        index.inner.change_expansion_search(1);
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
        vectors.iter().for_each(|vector| self.rows.push(vector));
        let link = |at, vector: &Vec<f32>| self.inner.add(first + at as u64, vector);
        let linked = threads::map(vectors, self.gate.places(), link);
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
        let suspects = self.unfound(first, vectors, &all, NARROW)?;
        self.unfound(first, vectors, &suspects, THOROUGH)
    }

    fn unfound(
        &self,
        first: u64,
        vectors: &[Vec<f32>],
        positions: &[usize],
        width: usize,
    ) -> Result<Vec<usize>, IndexError> {
        let find = |_, at: &usize| {
            let own = first + *at as u64;
            let near = self.inner.search(&vectors[*at], width);
            let near = near.map_err(|error| IndexError::backend("search", error))?;
            // A twin in its place answers as well.
            let twin = |key: u64| self.ids.id(key).is_some() && self.linked_alike(own, key);
            let mut nearest = near.keys.iter().take(NARROW);
            Ok::<_, IndexError>(near.keys.contains(&own) || nearest.any(|&key| twin(key)))
        };
        let found = threads::map(positions, self.gate.places(), find)?;
        let unfound = positions.iter().zip(found).filter(|(_, found)| !found);
        Ok(unfound.map(|(at, _)| *at).collect())
    }

    /// Whether the graph holds two keys' vectors in the same form.
    fn linked_alike(&self, a: u64, b: u64) -> bool {
        let form = |key| {
            let mut form = vec![0f32; self.rows.dim()];
            self.inner.get(key, &mut form).is_ok_and(|count| count > 0).then_some(form)
        };
        form(a).zip(form(b)).is_some_and(|(a, b)| apart(&a, &b) <= SAME * SAME)
    }

    /// The key of a removed vector that is the same as `vector`. Taking it up again keeps the graph
    /// sound: many equal nodes would fill each other's lists of links, and what lies behind them
    /// would not be found.
    fn same_removed(&self, vector: &[f32]) -> Option<u64> {
        if self.removed() == 0 {
            return None;
        }
        let near = self.inner.search(vector, THOROUGH).ok()?;
        let mut removed = near.keys.iter().take(NARROW).filter(|key| self.ids.is_removed(**key));
        let same = |key: &&u64| apart(self.row(**key), vector) <= SAME * SAME;
        removed.find(same).copied()
    }

    /// The vector of a key that was given.
    fn row(&self, key: u64) -> &[f32] {
        self.rows.row(key as usize)
    }

    /// Candidates kept in a search; `None` where it compares every vector.
    fn width(&self, ask: &Ask<'_>) -> Option<usize> {
        if let (None, Some(set)) = (ask.recall, self.set_width()) {
            return Some(set);
        }
        let target = ask.recall.unwrap_or(self.config.target_recall);
        let recall = self.recall.read().unwrap_or_else(PoisonError::into_inner);
        match recall.iter().find(|recall| recall.of == ask.of) {
            Some(recall) => self.walk_reaching(recall, target).map(|(width, _)| width),
            None => Some(UNMEASURED),
        }
    }

    /// The walk that finds so much, and what it finds; `None` where comparing every vector finds
    /// all, and sooner.
    fn walk_reaching(&self, measured: &Recall, target: f64) -> Option<(usize, f64)> {
        let walk = measured.reaching(target);
        (walk.0.saturating_mul(SCANNED) < self.rows.len()).then_some(walk)
    }

    /// The width of the search that the settings name.
    pub(super) fn set_width(&self) -> Option<usize> {
        self.config.expansion_search
    }

    /// What was measured with queries of this kind.
    pub fn recall(&self, of: Modality) -> Option<Recall> {
        let recall = self.recall.read().unwrap_or_else(PoisonError::into_inner);
        recall.iter().find(|recall| recall.of == of).cloned()
    }

    /// Takes over what was measured, in place of what was before.
    pub fn keep(&self, measured: Recall) {
        let mut recall = self.recall.write().unwrap_or_else(PoisonError::into_inner);
        recall.retain(|recall| recall.of != measured.of);
        recall.push(measured);
        recall.sort_by_key(|recall| recall.of.name());
    }

    /// Rows there are, removed ones included.
    pub(super) fn rows_end(&self) -> usize {
        self.rows.len()
    }

    /// The `k` nearest of these rows for each query of length 1, with their similarities, those that
    /// were removed left out; in no order, and more where others are as similar as the last of them.
    pub(super) fn near_rows(
        &self,
        queries: &[&[f32]],
        rows: Range<usize>,
        k: usize,
    ) -> Vec<Vec<(u64, f32)>> {
        let there = |row: usize| self.ids.id(row as u64).is_some();
        let near = scan::nearest(&self.rows, rows, queries, k, &there);
        let keyed = |near: Vec<(f32, usize)>| near.into_iter().map(|(s, row)| (row as u64, s));
        near.into_iter().map(|near| keyed(near).collect()).collect()
    }

    /// Compares every vector with each query of length 1.
    fn scan(&self, queries: &[Vec<f32>], k: usize) -> Vec<Vec<Hit>> {
        let _place = self.gate.enter();
        let queries: Vec<&[f32]> = queries.iter().map(Vec::as_slice).collect();
        let near = self.near_rows(&queries, 0..self.rows_end(), k);
        near.into_iter().map(|near| self.best(near, k)).collect()
    }

    /// [`VectorSearch::search`] with so many candidates kept, whatever was measured.
    ///
    /// # Errors
    /// As [`VectorSearch::search`].
    pub fn search_width(
        &self,
        query: &[f32],
        k: usize,
        width: usize,
    ) -> Result<Vec<Hit>, IndexError> {
        check_k(k)?;
        let (query, _) = unit(query, self.dim(), || "the query".to_owned())?;
        self.nearest(&query, k, width)
    }

    fn nearest(&self, query: &[f32], k: usize, width: usize) -> Result<Vec<Hit>, IndexError> {
        let wanted = k.min(self.len());
        if wanted == 0 {
            return Ok(Vec::new());
        }
        let _place = self.gate.enter();
        // The graph keeps as many candidates as it is to give.
        let matches = self.walk(query, (wanted + SPARE.min(wanted)).max(width))?;
        // Where many vectors are alike, the walk can end among them.
        if matches.keys.len() < wanted {
            return self.widened(query, wanted, &matches);
        }
        let near = matches.keys.iter().take(wanted + wanted.max(SPARE)).copied();
        Ok(self.best(self.compared(query, near), wanted))
    }

    fn walk(&self, query: &[f32], width: usize) -> Result<Matches, IndexError> {
        let found = if self.removed() == 0 {
            self.inner.search(query, width)
        } else {
            self.inner.filtered_search(query, width, |key| self.ids.id(key).is_some())
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
                keys.extend(self.walk(self.row(*start), wanted)?.keys);
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
        let similarity = |key| (key, self.rows.similarity(key as usize, query));
        keys.into_iter().map(similarity).collect()
    }

    /// The first `k`, most similar first, equal ones by id.
    fn best(&self, scored: Vec<(u64, f32)>, k: usize) -> Vec<Hit> {
        let named = |(key, similarity)| Some((self.ids.id(key)?, similarity));
        let mut hits: Vec<(&str, f32)> = scored.into_iter().filter_map(named).collect();
        hits.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        hits.truncate(k);
        let hit = |(id, similarity): (&str, f32)| Hit { id: id.to_owned(), similarity };
        hits.into_iter().map(hit).collect()
    }
}

impl VectorSearch for UsearchIndex {
    fn dim(&self) -> usize {
        self.inner.dimensions()
    }

    fn count(&self) -> Result<usize, IndexError> {
        Ok(self.len())
    }

    fn search_many(&self, queries: &[&[f32]], ask: Ask<'_>) -> Result<Vec<Vec<Hit>>, IndexError> {
        check_k(ask.k)?;
        let keys = distinct(ask.among, |id| self.ids.key(id));
        let places = self.gate.places();
        let queries = units(queries, self.dim(), places)?;
        match (&keys, self.width(&ask)) {
            (None, None) => Ok(threads::parts(&queries, places, |part| self.scan(part, ask.k))),
            (None, Some(width)) => {
                threads::map(&queries, places, |_, query| self.nearest(query, ask.k, width))
            }
            (Some(keys), _) => threads::map(&queries, places, |_, query| {
                Ok(self.best(self.compared(query, keys.iter().copied()), ask.k))
            }),
        }
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
            self.rows.set(key as usize, &vector);
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
        Some(self.row(self.ids.key(id)?).to_vec())
    }

    fn removed(&self) -> usize {
        self.inner.size() - self.ids.len()
    }

    fn graph(&self) -> Option<&UsearchIndex> {
        Some(self)
    }

    fn facts(&self) -> SearchFacts {
        let recall = self.recall.read().unwrap_or_else(PoisonError::into_inner);
        let facts = |measured: &Recall| {
            let chosen = || {
                let walk = self.walk_reaching(measured, self.config.target_recall);
                walk.unwrap_or((self.len(), 1.0))
            };
            let set = self.set_width().map(|width| (width, measured.at(width)));
            let (width, recall) = set.unwrap_or_else(chosen);
            let Recall { of, queries, vectors, .. } = *measured;
            RecallFacts { of, width, recall, queries, vectors }
        };
        let recall = recall.iter().map(facts).collect();
        SearchFacts { kind: self.kind(), vectors: self.len(), recall }
    }

    fn snapshot(&self, model_hash: &str) -> Result<IndexSnapshot, IndexError> {
        let mut payload: Vec<u8> = self.rows.bytes().collect();
        let graph = payload.len();
        payload.resize(graph + self.inner.serialized_length(), 0);
        let saved = self.inner.save_to_buffer(&mut payload[graph..]);
        saved.map_err(|error| IndexError::backend("write out the graph", error))?;
        let (ids, keys) = self.ids.entries().map(|(id, key)| (id.to_owned(), key)).unzip();
        let IndexConfig { connectivity, expansion_add, scalar, .. } = self.config;
        let (next_key, removed) = (self.ids.next_key(), self.removed());
        let recall = self.recall.read().unwrap_or_else(PoisonError::into_inner).clone();
        let kind = StoredKind::Usearch(StoredGraph {
            keys,
            next_key,
            removed,
            connectivity,
            expansion_add,
            scalar,
            recall,
        });
        let model_hash = model_hash.to_owned();
        Ok(IndexSnapshot::new(Header { model_hash, dim: self.dim(), ids, kind }, payload))
    }
}

/// Squared Euclidean distance.
fn apart(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum()
}
