//! How much of what exact search finds a walk through a graph finds, by the width of the walk. The
//! width in force follows from it, because no constant fits every set of vectors.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::ask::Modality;
use super::config::IndexKind;

/// The most queries measured with: 2,560 results, a standard error of 0.003 at a recall of 0.98.
pub const SAMPLE: usize = 256;

/// Fewer queries say little.
pub const LEAST: usize = 64;

/// The widest search.
pub(super) const MOST: usize = 4096;

/// The width of a search of which nothing was measured.
pub(super) const UNMEASURED: usize = 512;

/// Recall@10 of an index as it was measured, by the width of the search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recall {
    /// What the queries were embedded from.
    pub of: Modality,
    /// Queries measured with.
    pub queries: usize,
    /// Vectors in the index at that time, those held back among them.
    pub vectors: usize,
    /// Widths, rising, and the recall@10 in [0, 1] found with each; at least one.
    pub curve: Vec<(usize, f64)>,
}

impl Recall {
    /// The narrowest width measured that reaches `target`, else the best one, and its recall.
    pub fn reaching(&self, target: f64) -> (usize, f64) {
        let best = || self.curve.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1));
        let reaches = self.curve.iter().copied().find(|(_, recall)| *recall >= target);
        reaches.or_else(best).unwrap_or((UNMEASURED, 0.0))
    }

    /// The recall measured with the widest search that is no wider than `width`; 0 where all are.
    pub fn at(&self, width: usize) -> f64 {
        let widest = self.curve.iter().rfind(|(measured, _)| *measured <= width);
        widest.map_or(0.0, |(_, recall)| *recall)
    }

    /// Whether an index of `len` vectors is another one than was measured: it has grown by a
    /// quarter, or shrunk to half.
    pub fn is_stale(&self, len: usize) -> bool {
        len > self.vectors + self.vectors / 4 || len < self.vectors / 2
    }
}

/// How an index searches now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SearchFacts {
    pub kind: IndexKind,
    /// Vectors in it.
    pub vectors: usize,
    /// One for each modality that was measured; none for an exact index, which misses nothing.
    pub recall: Vec<RecallFacts>,
}

impl fmt::Display for SearchFacts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} over {} vectors", self.kind.name(), self.vectors)?;
        for one in &self.recall {
            let RecallFacts { of, width, recall, queries, .. } = one;
            let of = of.name();
            write!(
                formatter,
                "; {of} queries: recall@10 {recall:.3} with {width} candidates (measured with \
                 {queries})"
            )?;
        }
        Ok(())
    }
}

/// The width in force for one kind of query, and what was measured with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecallFacts {
    pub of: Modality,
    /// Candidates kept while searching: all there are, where comparing them all is sooner done than
    /// a walk that finds as much as is wished for.
    pub width: usize,
    /// Recall@10 with that width, in [0, 1].
    pub recall: f64,
    /// Queries it was measured with.
    pub queries: usize,
    /// Vectors in the index when it was measured.
    pub vectors: usize,
}
