//! Work that is done beside the calls: another kind of index, snapshots, mending.

use std::mem;
use std::sync::atomic::Ordering;

use super::align::{Aligner, is_worn};
use super::error::LibraryStoreError;
use super::rows::Rows;
use super::{InstructionStore, locked};
use crate::index::{self, LocalIndex};

/// Changes after which the index is saved: so many vectors at most are added one by one at the
/// next start.
const SAVE_AFTER: usize = 1000;

/// A new index this close to the library is brought up to it while writers wait.
const CLOSE: usize = 200;

impl InstructionStore {
    /// Mends an index that fell behind, builds the other kind of index when the library has grown
    /// or shrunk past [`IndexConfig::exact_up_to`](crate::index::IndexConfig), builds a graph anew
    /// of which more than a quarter has been deleted, and saves a snapshot when enough has changed.
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

    fn needs_another_index(&self) -> bool {
        let live = self.live.read();
        let kind = live.index.kind();
        self.behind.load(Ordering::Acquire)
            || self.config.kind_for(kind, live.catalog.len(None)) != kind
            || is_worn(&*live.index)
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
