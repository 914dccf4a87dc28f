//! The service's instruction library: durable, changed and searched while it is used.
//!
//! `library.sqlite` is the truth. In memory lie the instructions (about 300 bytes each
//! beside the text) and the index of their vectors, derived from it. `instructions.index` is the
//! index as it was some time ago, so that a start need not build it anew; what it lacks or has too
//! much is found by comparing row numbers, which are never used again.
//!
//! A change is committed to the disk first and then made in memory, so a process killed at any
//! moment leaves nothing to repair that the next start does not repair. One writer works at a
//! time; searches go on beside it.

mod error;
mod filter;
mod given;
mod live;
mod open;
mod read;
mod rows;
mod upkeep;
mod write;

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use error::{CreateError, LibraryStoreError, NoInstruction};
pub use filter::InstructionFilter;
pub use given::{GivenVectors, Opening};
pub use live::StoredInstruction;
pub use open::EmbedTexts;
pub use read::{Found, InstructionPage, LibraryExport};
pub use write::{MAX_CATEGORY_BYTES, MAX_ID_BYTES, NewInstruction};

use crate::base::lock::FolderLock;
use crate::index::{IndexConfig, IndexKind, SearchFacts, VectorSearch};
use live::SharedLock;
use live::{Live, LiveIndex};
use open::Snapshot;
use rows::Rows;

/// The saved index, in the library's folder.
pub const SNAPSHOT_FILE: &str = "instructions.index";

/// The library in one folder. All calls block: an asynchronous caller makes them on a thread for
/// blocking work.
pub struct InstructionStore {
    live: Arc<SharedLock<Live>>,
    /// Held by whoever changes the library. Taken before `live`.
    writer: Mutex<Rows>,
    /// Held by whoever maintains. Taken before `saving`.
    maintaining: Mutex<()>,
    /// Held by whoever writes the snapshot. Taken before `writer`.
    saving: Mutex<()>,
    /// Changes since the snapshot.
    changes: AtomicUsize,
    /// Whether the index failed a change that the library took.
    behind: AtomicBool,
    revision: AtomicU64,
    config: IndexConfig,
    library_id: String,
    snapshot: Snapshot,
    /// The number of the model in the library.
    model: i64,
    dim: usize,
    _lock: FolderLock,
}

impl InstructionStore {
    /// Width of the vectors.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Number of instructions.
    pub fn len(&self) -> usize {
        self.live.read().catalog.len(None)
    }

    /// Whether there is no instruction.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Raised by every call that changed something; kept across restarts.
    pub fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    /// The instruction with this id.
    pub fn get(&self, id: &str) -> Option<StoredInstruction> {
        self.live.read().catalog.id(id).cloned()
    }

    /// The instruction of a key that [`Self::live_index`] gave. Of those deleted since, the last
    /// thousand are remembered, so that a match under way can end.
    pub fn by_key(&self, key: &str) -> Option<StoredInstruction> {
        self.live.read().instruction(key).cloned()
    }

    /// The vector of the instruction with this id, of length 1.
    pub fn vector(&self, id: &str) -> Option<Vec<f32>> {
        let live = self.live.read();
        live.vector(&live.catalog.id(id)?.row.to_string())
    }

    /// The keys of all vectors in the index, sorted as strings.
    pub fn index_keys(&self) -> Vec<String> {
        self.live.read().index.ids()
    }

    /// Each category and how many instructions it has, by name.
    pub fn categories(&self) -> Vec<(Arc<str>, usize)> {
        self.live.read().catalog.categories()
    }

    /// The kind of index in use: never [`IndexKind::Auto`].
    pub fn index_kind(&self) -> IndexKind {
        self.live.read().index.kind()
    }

    /// How the index searches now, and how much that finds.
    pub fn search_facts(&self) -> SearchFacts {
        self.live.read().facts()
    }

    /// The index as it is at each call, for a [`Matcher`](crate::matching::Matcher) as long-lived
    /// as the service. Its ids are keys for [`Self::by_key`].
    pub fn live_index(&self) -> Arc<dyn VectorSearch> {
        Arc::new(LiveIndex(Arc::clone(&self.live)))
    }
}

/// The lock, also when another thread panicked with it: what it guards is changed as a whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
