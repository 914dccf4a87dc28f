//! Settings of an index, checked once.

use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use crate::base::check::{Checks, Settings};

/// Which implementation to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum IndexKind {
    /// `exact` up to [`IndexConfig::exact_up_to`] vectors, `usearch` above.
    #[default]
    Auto,
    /// Compare with every vector.
    Exact,
    /// HNSW graph: approximate, and fast for large sets.
    Usearch,
}

impl IndexKind {
    /// The name used in settings.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// How the graph of `usearch` holds the values of a vector, beside their exact form in f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Scalar {
    /// 4 bytes a value.
    F32,
    /// 2 bytes, 11 bits of mantissa.
    F16,
    /// 2 bytes, 8 bits of mantissa: 2.5 times as quick as `f32` where the processor multiplies
    /// it, half the memory, and as good, because what is found is compared anew in f32.
    #[default]
    Bf16,
    /// 1 byte.
    I8,
}

impl Scalar {
    /// The name used in the settings and in the file.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Settings of an index.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IndexConfig {
    /// Which implementation to use.
    pub kind: IndexKind,
    /// With `kind = "auto"`: the largest number of vectors that are searched exactly. At width
    /// 384 (f32, one thread of an AMD EPYC) one exact query took 0.4 ms of CPU time over 8,000
    /// vectors, 0.8 ms over 12,000 and 1.3 ms over 16,000; `usearch` took 0.5, 0.8 and 0.8 ms,
    /// and seconds to build. Below the crossing the exact index wins in every way.
    pub exact_up_to: usize,
    /// Links of a node in the HNSW graph, 2 to 512 (`usearch`).
    pub connectivity: usize,
    /// Candidates kept while adding, 1 to 4096 (`usearch`): more gives a better graph, slower.
    pub expansion_add: usize,
    /// Candidates kept while searching, 1 to 4096 (`usearch`): more gives better recall, slower.
    /// Unset takes the narrowest search that reaches [`IndexConfig::target_recall`] as the index
    /// measured it, and compares all where that is sooner done; 512 until it has measured.
    pub expansion_search: Option<usize>,
    /// Recall@10 against exact search that the width of searches is chosen for, 0.5 to 1
    /// (`usearch`).
    pub target_recall: f64,
    /// How values are stored (`usearch`).
    pub scalar: Scalar,
    /// Threads that search at once, 0 to 1024; 0 takes as many as the machine has cores.
    pub threads: usize,
}

impl Default for IndexConfig {
    fn default() -> Self {
        Self {
            kind: IndexKind::Auto,
            exact_up_to: 10_000,
            connectivity: 16,
            expansion_add: 128,
            expansion_search: None,
            target_recall: 0.98,
            scalar: Scalar::Bf16,
            threads: 0,
        }
    }
}

impl Settings for IndexConfig {
    fn check(&self, checks: &mut Checks) {
        checks.at_least("exact_up_to", self.exact_up_to, 0);
        checks.range("connectivity", self.connectivity, 2, 512);
        checks.range("expansion_add", self.expansion_add, 1, 4096);
        checks.range("expansion_search", self.expansion_search, 1, 4096);
        checks.range("target_recall", self.target_recall, 0.5, 1.0);
        checks.range("threads", self.threads, 0, 1024);
    }
}

impl IndexConfig {
    /// The kind used for `expected` vectors: never [`IndexKind::Auto`].
    pub fn resolve(&self, expected: usize) -> IndexKind {
        match self.kind {
            IndexKind::Auto if expected <= self.exact_up_to => IndexKind::Exact,
            IndexKind::Auto => IndexKind::Usearch,
            kind => kind,
        }
    }

    /// The kind that `len` vectors should be in when they are in `current`. An index that has become
    /// a graph stays one until it is half as large as the limit, so that vectors that come and go
    /// near the limit do not build it again and again.
    pub fn kind_for(&self, current: IndexKind, len: usize) -> IndexKind {
        match self.resolve(len) {
            IndexKind::Exact if current == IndexKind::Usearch => {
                self.resolve(len.saturating_mul(2))
            }
            wanted => wanted,
        }
    }
}
