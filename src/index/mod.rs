//! Nearest-neighbour search by cosine similarity, with the users' own strings as ids.
//!
//! Who searches needs [`VectorSearch`], who also changes what is searched [`VectorStore`]; both
//! could be a database. Two implementations live in this process, behind [`LocalIndex`]:
//! [`ExactIndex`] compares with every vector, [`UsearchIndex`] walks an HNSW graph (Malkov and
//! Yashunin 2018, library `usearch`). [`build`] chooses by [`IndexConfig`], [`load`] by what the
//! file holds.

mod ask;
mod config;
mod container;
mod error;
mod exact;
mod graph;
mod ids;
mod measure;
mod recall;
mod rows;
mod scan;
mod threads;
mod usearch;
mod vector;

#[cfg(test)]
mod tests;

use std::path::Path;

pub use ask::{Among, Ask, Modality};
pub use config::{IndexConfig, IndexKind, Scalar};
pub use container::IndexSnapshot;
pub use error::IndexError;
pub use exact::ExactIndex;
pub use measure::{HeldBack, Measurement};
pub use recall::{LEAST, Recall, RecallFacts, SAMPLE, SearchFacts};
pub use usearch::UsearchIndex;
pub(crate) use vector::{dot, unit};

use container::{Container, StoredKind};

use crate::base::check::Settings;

/// One search result.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// The id under which the vector was added.
    pub id: String,
    /// Cosine similarity with the query, in [-1, 1].
    pub similarity: f32,
}

/// A set of vectors of one width, searched by cosine similarity: no more than an engine in
/// another process can do, so that one may stand behind it.
///
/// Queries need not be of length 1: every implementation brings them to it.
pub trait VectorSearch: Send + Sync {
    /// Width of the vectors.
    fn dim(&self) -> usize;

    /// Number of vectors.
    ///
    /// # Errors
    /// The engine failed.
    fn count(&self) -> Result<usize, IndexError>;

    /// For each query, in order, the nearest vectors that `ask` is for, most similar first, equal
    /// ones by id; fewer where fewer are found. Which come does not depend on what other queries
    /// are asked with them.
    ///
    /// # Errors
    /// `ask.k` is 0, the engine failed, or a query is refused as [`VectorStore::add`] refuses vectors:
    /// the first one, named by its position.
    fn search_many(&self, queries: &[&[f32]], ask: Ask<'_>) -> Result<Vec<Vec<Hit>>, IndexError>;

    /// [`Self::search_many`] for the `k` of all vectors nearest to one query, embedded from a text.
    ///
    /// # Errors
    /// As [`Self::search_many`].
    fn search(&self, query: &[f32], k: usize) -> Result<Vec<Hit>, IndexError> {
        Ok(self.search_many(&[query], Ask::top(k))?.pop().unwrap_or_default())
    }

    /// The vectors of ids, in their order, of length 1; `None`
    /// for an id that is not there.
    ///
    /// # Errors
    /// The engine failed.
    fn vectors(&self, ids: &[&str]) -> Result<Vec<Option<Vec<f32>>>, IndexError>;
}

/// Vectors that can be changed.
///
/// Vectors need not be of length 1. An id is any string that is not empty and holds no NUL.
pub trait VectorStore: VectorSearch {
    /// Adds one vector.
    ///
    /// # Errors
    /// The id is unusable or already there; the vector has the wrong width, a value that is not
    /// finite, or length zero. The store is unchanged then.
    fn add(&mut self, id: &str, vector: &[f32]) -> Result<(), IndexError> {
        self.add_many(&[(id.to_owned(), vector.to_vec())])
    }

    /// Adds many vectors; `usearch` on all allowed threads. Its graph then depends on how the
    /// threads ran: equal calls may give slightly different results, as good on average.
    ///
    /// # Errors
    /// As [`Self::add`], for the first item refused. The store holds none of the items then.
    fn add_many(&mut self, items: &[(String, Vec<f32>)]) -> Result<(), IndexError>;

    /// Removes one vector; `false` when the id is not there.
    ///
    /// # Errors
    /// The engine failed.
    fn remove(&mut self, id: &str) -> Result<bool, IndexError>;
}

/// An index in this process's memory: listed, measured and saved to a file.
pub trait LocalIndex: VectorStore {
    /// The implementation: never [`IndexKind::Auto`].
    fn kind(&self) -> IndexKind;

    /// Number of vectors.
    fn len(&self) -> usize;

    /// Whether there is no vector.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All ids, sorted.
    fn ids(&self) -> Vec<String>;

    /// The vector of an id, of length 1.
    fn vector(&self, id: &str) -> Option<Vec<f32>>;

    /// Number of removed vectors that still take as much memory and search time as those that are
    /// there. Building the index anew gives that back.
    fn removed(&self) -> usize;

    /// The graph, where this is one: what [`Measurement`] measures.
    fn graph(&self) -> Option<&UsearchIndex> {
        None
    }

    /// How it searches now.
    fn facts(&self) -> SearchFacts {
        SearchFacts { kind: self.kind(), vectors: self.len(), recall: Vec::new() }
    }

    /// The index as bytes, to be written when no lock is held any more. Takes as much memory as
    /// the vectors and links do.
    ///
    /// `model_hash` names the encoder that made the vectors: [`load`] refuses another one.
    ///
    /// # Errors
    /// The engine failed.
    fn snapshot(&self, model_hash: &str) -> Result<IndexSnapshot, IndexError>;

    /// Takes a [`Self::snapshot`] and writes it.
    ///
    /// # Errors
    /// As [`IndexSnapshot::write`].
    fn save(&self, path: &Path, model_hash: &str) -> Result<(), IndexError> {
        self.snapshot(model_hash)?.write(path)
    }
}

/// An empty index of width `dim`, of the kind that `config` asks for; `auto` decides by the
/// number of vectors `expected`.
///
/// # Errors
/// The configuration or the width is out of range.
pub fn build(
    config: &IndexConfig,
    dim: usize,
    expected: usize,
) -> Result<Box<dyn LocalIndex>, IndexError> {
    config.validate_as("index")?;
    Ok(match config.resolve(expected) {
        IndexKind::Usearch => Box::new(UsearchIndex::new(dim, config)?),
        IndexKind::Auto | IndexKind::Exact => Box::new(ExactIndex::new(dim, config.threads)?),
    })
}

/// Reads an index that [`LocalIndex::save`] wrote, of whichever kind.
///
/// `expansion_search`, `target_recall` and `threads` come from `config`. The file must otherwise agree with what
/// `config` asks for (`auto` takes either kind), so that a changed setting is never ignored.
///
/// # Errors
/// The file is missing, cut short, damaged, not an index, of another format, built with another
/// model or with other settings.
pub fn load(
    path: &Path,
    model_hash: &str,
    config: &IndexConfig,
) -> Result<Box<dyn LocalIndex>, IndexError> {
    config.validate_as("index")?;
    let container = Container::read(path, model_hash)?;
    container.header.kind.check(path, config)?;
    Ok(match &container.header.kind {
        StoredKind::Exact => {
            Box::new(ExactIndex::from_container(path, &container, config.threads)?)
        }
        StoredKind::Usearch(graph) => {
            Box::new(UsearchIndex::from_container(path, &container, graph, config)?)
        }
    })
}
