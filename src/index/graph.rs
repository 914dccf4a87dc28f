//! `usearch`'s own part of an index: how it is made, and what of its bytes is checked.

use std::path::Path;

use ::usearch::{Index, IndexOptions, MetricKind, ScalarKind};

use super::config::{IndexConfig, Scalar};
use super::container::inconsistent;
use super::error::IndexError;
use super::rows::Rows;

/// An empty graph.
pub(super) fn create(dim: usize, config: &IndexConfig) -> Result<Index, IndexError> {
    let options = IndexOptions {
        dimensions: dim,
        metric: metric(config.scalar),
        quantization: match config.scalar {
            Scalar::F32 => ScalarKind::F32,
            Scalar::F16 => ScalarKind::F16,
            Scalar::Bf16 => ScalarKind::BF16,
            Scalar::I8 => ScalarKind::I8,
        },
        connectivity: config.connectivity,
        expansion_add: config.expansion_add,
        // Each search says how wide it is.
        expansion_search: 1,
        multi: false,
    };
    Index::new(&options).map_err(|error| IndexError::backend("make an index", error))
}

/// Of vectors of length 1 the inner product is the cosine, without the division. In 8 bits their
/// length is lost.
fn metric(scalar: Scalar) -> MetricKind {
    match scalar {
        Scalar::F32 | Scalar::F16 | Scalar::Bf16 => MetricKind::IP,
        Scalar::I8 => MetricKind::Cos,
    }
}

/// The vectors of `next_key` keys, and the graph behind them.
pub(super) fn split_payload(payload: &[u8], dim: usize, next_key: u64) -> Option<(Rows, &[u8])> {
    let count = usize::try_from(next_key).ok()?;
    let (rows, graph) = payload.split_at_checked(Rows::size(dim, count)?)?;
    Some((Rows::from_bytes(dim, count, rows)?, graph))
}

/// Compares the graph's own header with ours before `usearch` reads the rest.
pub(super) fn check_payload(
    path: &Path,
    payload: &[u8],
    index: &Index,
    nodes: usize,
) -> Result<(), IndexError> {
    let found = Index::metadata_from_buffer(payload)
        .map_err(|error| inconsistent(path, format!("unreadable graph: {error}")))?;
    let agrees = found.dimensions == index.dimensions() as u64
        && found.quantization == index.scalar_kind()
        && found.metric == index.metric_kind()
        && found.count_present == nodes as u64
        && found.count_deleted == 0
        && !found.multi;
    if agrees { Ok(()) } else { Err(inconsistent(path, format!("the graph holds {found:?}"))) }
}
