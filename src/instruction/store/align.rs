//! Bringing an index into agreement with the library's rows.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::error::LibraryStoreError;
use super::rows::Rows;
use crate::index::LocalIndex;

/// Vectors added in one step; 1,536 bytes each at width 384.
const CHUNK: usize = 4096;

/// From this many vectors on, they are added by many threads. Below, the graph is the same each
/// time.
const PARALLEL_FROM: usize = 20_000;

/// Removed vectors that are never worth a build.
const REMOVED_KEPT: usize = 256;

/// How often a long build says how far it is.
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// What a change of the index needs to know.
pub(super) struct Aligner<'a> {
    /// Where vectors come from.
    pub rows: &'a Rows,
    pub dim: usize,
    /// Asked between steps; true gives up.
    pub stop: &'a dyn Fn() -> bool,
}

impl Aligner<'_> {
    /// Removes from `index` what is not among `wanted`, in rising order, and adds what is missing.
    /// How many vectors that were. A row that has gone from the library meanwhile is left out.
    pub fn align(
        &self,
        index: &mut dyn LocalIndex,
        wanted: &[u64],
    ) -> Result<usize, LibraryStoreError> {
        let mut present = HashSet::new();
        let mut removed = 0;
        for key in index.ids() {
            match key.parse() {
                Ok(row) if wanted.binary_search(&row).is_ok() => {
                    present.insert(row);
                }
                _ => removed += usize::from(index.remove(&key)?),
            }
        }
        let missing = wanted.iter().copied().filter(|row| !present.contains(row)).collect();
        Ok(removed + self.add(index, missing)?)
    }

    fn add(
        &self,
        index: &mut dyn LocalIndex,
        missing: Vec<u64>,
    ) -> Result<usize, LibraryStoreError> {
        let (before, mut reported) = (index.len(), Instant::now());
        let parallel = missing.len() > PARALLEL_FROM;
        for part in missing.chunks(CHUNK) {
            if (self.stop)() {
                break;
            }
            let items = self.read(part)?;
            if parallel {
                index.add_many(&items)?;
            } else {
                items.iter().try_for_each(|(key, vector)| index.add(key, vector))?;
            }
            if reported.elapsed() >= REPORT_EVERY {
                reported = Instant::now();
                let (done, of) = (index.len() - before, missing.len());
                tracing::info!(done, of, "building the instruction index");
            }
        }
        Ok(index.len() - before)
    }

    fn read(&self, rows: &[u64]) -> Result<Vec<(String, Vec<f32>)>, LibraryStoreError> {
        let mut items = Vec::with_capacity(rows.len());
        for &row in rows {
            if let Some(vector) = self.rows.vector(row, self.dim)? {
                items.push((row.to_string(), vector));
            }
        }
        Ok(items)
    }
}

/// Whether so much of the index is removed vectors that it should be built anew.
pub(super) fn is_worn(index: &dyn LocalIndex) -> bool {
    let removed = index.removed();
    removed > REMOVED_KEPT && removed > (index.len() + removed) / 4
}
