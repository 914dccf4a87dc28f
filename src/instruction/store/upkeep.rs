//! Work that is done beside the calls: bringing an index into agreement with the library's rows,
//! another kind of index, snapshots, mending.

use std::collections::HashSet;
use std::mem;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::error::LibraryStoreError;
use super::rows::Rows;
use super::{InstructionStore, locked};
use crate::index::{self, HeldBack, LocalIndex, Measurement, Modality, UsearchIndex};

/// Vectors added in one step; 1,536 bytes each at width 384.
const CHUNK: usize = 1024;

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
        let mut held_back = HeldBack::new(index, missing.len());
        for part in missing.chunks(CHUNK) {
            if (self.stop)() {
                return Ok(index.len() - before);
            }
            let items = held_back.sift(self.read(part)?);
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
        held_back.finish(index, Modality::Text)?;
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

/// Whether a graph is so much larger than when it was measured that it should be built anew. Only a
/// build can measure it with texts that it does not hold: those that it holds are found far more
/// often than others.
fn is_outgrown(index: &dyn LocalIndex) -> bool {
    let measured = |graph: &UsearchIndex| graph.recall(Modality::Text).map_or(0, |one| one.vectors);
    index.graph().is_some_and(|graph| {
        HeldBack::can_measure(graph.len()) && graph.len() > 2 * measured(graph)
    })
}

/// Changes after which the index is saved: so many vectors at most are added one by one at the
/// next start.
const SAVE_AFTER: usize = 1000;

/// A new index this close to the library is brought up to it while writers wait.
const CLOSE: usize = 200;

impl InstructionStore {
    /// Mends an index that fell behind, builds the other kind of index when the library has grown
    /// or shrunk past [`IndexConfig::exact_up_to`](crate::index::IndexConfig), builds a graph anew
    /// of which more than a quarter has been deleted or that is twice as large as when it was
    /// measured, measures with photos asked about, and saves a snapshot when enough has changed.
    /// To be called from time to time on a thread of its own: searches and writes go on meanwhile,
    /// over the old index. A second call at the same time waits for the first.
    ///
    /// `stop` is asked between steps of a build; true gives the build up.
    ///
    /// # Errors
    /// The disk, SQLite or the index failed. The library goes on as it was.
    pub fn maintain(&self, stop: &dyn Fn() -> bool) -> Result<(), LibraryStoreError> {
        let _one = locked(&self.maintaining);
        if self.needs_another_index() {
            self.replace_index(stop)?;
        }
        self.measure(stop)?;
        if stop() || self.changes.load(Ordering::Acquire) < SAVE_AFTER {
            return Ok(());
        }
        self.save_snapshot().map(drop)
    }

    /// Saves the index, unless nothing has changed since it was saved or read. Whether it did. To
    /// be called before the process ends, so that the next start is quick. Creating and deleting
    /// wait while the index is copied (memory as large as the index), not while it is written;
    /// searching never waits.
    ///
    /// # Errors
    /// Writing failed; the earlier snapshot is still there.
    pub fn save_snapshot(&self) -> Result<bool, LibraryStoreError> {
        let _one = locked(&self.saving);
        let (form, changes) = {
            let _writer = locked(&self.writer);
            let changes = self.changes.load(Ordering::Acquire);
            if changes == 0 {
                return Ok(false);
            }
            (self.live.read().index.snapshot(&self.snapshot.key)?, changes)
        };
        form.write(&self.snapshot.path)?;
        self.changes.fetch_sub(changes, Ordering::AcqRel);
        Ok(true)
    }

    /// Measures the index with the photos asked about, where it has not been measured with photos
    /// as large as it is. Callers come in between the steps.
    fn measure(&self, stop: &dyn Fn() -> bool) -> Result<(), LibraryStoreError> {
        let Some(photos) = self.live.read().photos_to_measure() else { return Ok(()) };
        let mut measurement = Measurement::new(Modality::Image, photos);
        while !measurement.step(&*self.live.read().index)? {
            if stop() {
                return Ok(());
            }
        }
        // The next snapshot holds what was measured.
        self.changes.fetch_add(1, Ordering::AcqRel);
        tracing::info!(search = %self.live.read().facts(), "measured the instruction index");
        Ok(())
    }

    fn needs_another_index(&self) -> bool {
        let live = self.live.read();
        let kind = live.index.kind();
        self.behind.load(Ordering::Acquire)
            || self.config.kind_for(kind, live.catalog.len(None)) != kind
            || is_worn(&*live.index)
            || is_outgrown(&*live.index)
    }

    /// Builds an index beside the one in use and puts it in its place.
    fn replace_index(&self, stop: &dyn Fn() -> bool) -> Result<(), LibraryStoreError> {
        let reader = locked(&self.writer).reader()?;
        let mut index = index::build(&self.config, self.dim, self.len())?;
        // Each round adds what was created during the one before.
        loop {
            let changed = self.align(&reader, &mut *index, stop)?;
            if stop() {
                return Ok(());
            }
            if changed <= CLOSE {
                break;
            }
        }
        let writer = locked(&self.writer);
        self.align(&writer, &mut *index, &|| false)?;
        // What photos find is measured anew only where the library has grown.
        let recall = self.live.read().index.graph().and_then(|old| old.recall(Modality::Image));
        if let (Some(recall), Some(graph)) = (recall, index.graph()) {
            graph.keep(recall);
        }
        let (kind, len) = (index.kind(), index.len());
        let old = mem::replace(&mut self.live.write().index, index);
        self.behind.store(false, Ordering::Release);
        // What lies in the file is of the other kind, worn or wrong.
        self.changes.fetch_add(SAVE_AFTER, Ordering::AcqRel);
        drop(writer);
        drop(old);
        tracing::info!(?kind, len, "the instruction index was replaced");
        Ok(())
    }

    fn align(
        &self,
        rows: &Rows,
        index: &mut dyn LocalIndex,
        stop: &dyn Fn() -> bool,
    ) -> Result<usize, LibraryStoreError> {
        let wanted = self.live.read().catalog.rows(None);
        Aligner { rows, dim: self.dim, stop }.align(index, &wanted)
    }
}
