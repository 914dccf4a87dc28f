//! Opening a library, whatever the last process left.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex};

use super::align::Aligner;
use super::catalog::Catalog;
use super::error::LibraryStoreError;
use super::live::Live;
use super::lock::SharedLock;
use super::rows::Rows;
use super::{EmbedTexts, InstructionStore, SNAPSHOT_FILE, embed};
use crate::base::hash;
use crate::base::lock::{FolderLock, LockFile};
use crate::index::{self, IndexConfig, IndexError, LocalIndex};

const LIBRARY_FILE: &str = "library.sqlite";

static LOCK: LockFile = LockFile {
    name: "library.lock",
    held: ": another process works in this folder",
    held_code: "library_busy",
    io_code: "library_io",
};

impl InstructionStore {
    /// Opens the library in `folder`, making both if they are not there, and holds it until
    /// dropped.
    ///
    /// `model_hash` names the encoder and `dim` is its width. Rows that another encoder embedded
    /// are embedded anew by `embed`, batch by batch; an interrupted open goes on where it was. The
    /// index comes from its snapshot as far as that goes, the rest from the library: after any
    /// crash both hold the same rows. Without a snapshot, building takes minutes for a million.
    ///
    /// # Errors
    /// Another process holds the folder; the library is damaged or of a later version; embedding,
    /// the disk, SQLite or the settings of the index failed.
    pub fn open(
        folder: &Path,
        model_hash: &str,
        dim: usize,
        config: &IndexConfig,
        embed: EmbedTexts<'_>,
    ) -> Result<Self, LibraryStoreError> {
        let lock = FolderLock::take(folder, &LOCK)?;
        let writer = Rows::open(&folder.join(LIBRARY_FILE))?;
        let model = writer.model(model_hash)?;
        embed::refresh(&writer, model, dim, embed)?;
        let catalog = writer.catalog()?;
        let library_id = writer.library_id()?;
        let snapshot = Snapshot {
            path: folder.join(SNAPSHOT_FILE),
            key: hash::key(&["instructions", &library_id, model_hash]),
        };
        let (index, changes) = ready_index(&writer, &catalog, &snapshot, dim, config)?;
        let (instructions, kind) = (catalog.len(None), index.kind());
        tracing::info!(instructions, ?kind, brought_up = changes, "instruction library open");
        Ok(Self {
            revision: AtomicU64::new(writer.revision()?),
            live: Arc::new(SharedLock::new(Live::new(catalog, index))),
            writer: Mutex::new(writer),
            maintaining: Mutex::new(()),
            saving: Mutex::new(()),
            changes: AtomicUsize::new(changes),
            behind: AtomicBool::new(false),
            config: config.clone(),
            library_id,
            snapshot,
            model,
            dim,
            _lock: lock,
        })
    }
}

/// The saved index: where it is, and what it must say of itself.
pub(super) struct Snapshot {
    pub path: std::path::PathBuf,
    /// Stands for the library and the model.
    pub key: String,
}

impl Snapshot {
    /// The index in the file if it can be used; a useless file is removed. Left in place, one from
    /// before a restored backup could later pass for the library's own.
    fn load(
        &self,
        rows: &Rows,
        dim: usize,
        config: &IndexConfig,
    ) -> Result<Option<Box<dyn LocalIndex>>, LibraryStoreError> {
        let reason = match index::load(&self.path, &self.key, config) {
            Ok(index) if !fits(&*index, dim, rows.last_row()?) => "not of this library".to_owned(),
            Ok(index) => return Ok(Some(index)),
            Err(IndexError::Io(error)) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error @ (IndexError::Config { .. } | IndexError::Io(_))) => {
                return Err(error.into());
            }
            Err(error) => error.to_string(),
        };
        tracing::warn!(reason, "the saved instruction index is of no use: building it anew");
        fs_err::remove_file(&self.path)
            .map_err(|source| LibraryStoreError::Io { path: self.path.clone(), source })?;
        Ok(None)
    }
}

/// Whether the index can be the library's: it knows no row that the library has not given yet.
fn fits(index: &dyn LocalIndex, dim: usize, last_row: u64) -> bool {
    let given = |key: String| key.parse().is_ok_and(|row: u64| row <= last_row);
    index.dim() == dim && index.ids().into_iter().all(given)
}

/// The index of all rows, and how many vectors the snapshot was off.
fn ready_index(
    rows: &Rows,
    catalog: &Catalog,
    snapshot: &Snapshot,
    dim: usize,
    config: &IndexConfig,
) -> Result<(Box<dyn LocalIndex>, usize), LibraryStoreError> {
    let len = catalog.len(None);
    let loaded = snapshot.load(rows, dim, config)?;
    let loaded = loaded.filter(|index| config.kind_for(index.kind(), len) == index.kind());
    let mut index = loaded.map_or_else(|| index::build(config, dim, len), Ok)?;
    let aligner = Aligner { rows, dim, stop: &|| false };
    let changes = aligner.align(&mut *index, &catalog.rows(None))?;
    if index.len() != len {
        let what = format!("{len} instructions have {} vectors", index.len());
        return Err(rows.damaged(what).into());
    }
    Ok((index, changes))
}
