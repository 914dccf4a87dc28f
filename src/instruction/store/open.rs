//! Opening a library, whatever the last process left, and vectors from the encoder for one that
//! another model embedded.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex};

use super::error::LibraryStoreError;
use super::given::{self, Opening};
use super::live::{Catalog, Live, SharedLock};
use super::rows::{self, Rows};
use super::upkeep::Aligner;
use super::{InstructionStore, SNAPSHOT_FILE};
use crate::base::lock::{FolderLock, LockFile};
use crate::base::{durable, hash};
use crate::encoder::EncoderError;
use crate::index::{self, IndexConfig, IndexError, LocalIndex, unit};

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
    /// are embedded anew by `embed`, batch by batch; an interrupted open goes on where it was.
    /// Vectors that callers supplied are never replaced: with one of another model, the library is
    /// refused. The index comes from its snapshot as far as that goes, the rest from the library: after any
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
        Self::open_with(folder, model_hash, dim, config, &given::refusing(embed))
    }

    /// As [`Self::open`], with a say in what becomes of vectors that callers supplied, and in when
    /// to give up.
    ///
    /// # Errors
    /// As [`Self::open`], and [`LibraryStoreError::Stopped`].
    pub fn open_with(
        folder: &Path,
        model_hash: &str,
        dim: usize,
        config: &IndexConfig,
        opening: &Opening<'_>,
    ) -> Result<Self, LibraryStoreError> {
        let lock = FolderLock::take(folder, &LOCK)?;
        let writer = Rows::open(&folder.join(LIBRARY_FILE))?;
        let model = writer.model(model_hash)?;
        let library_id = writer.library_id()?;
        let snapshot = Snapshot {
            path: folder.join(SNAPSHOT_FILE),
            key: hash::key(&["instructions", &library_id, model_hash]),
        };
        let mut stale = writer.count_stale(model)?;
        if stale > 0 {
            opening.settle(&writer, model, dim)?;
            stale = writer.count_stale(model)?;
        }
        if stale > 0 {
            // Once a vector is replaced the saved index holds another one for that row. Whoever
            // goes back to the earlier model before this one is through would take it for sound.
            snapshot.remove()?;
            refresh(&writer, model, dim, stale, opening)?;
        }
        let catalog = writer.catalog()?;
        let (index, changes) = ready_index(&writer, &catalog, &snapshot, dim, (config, opening))?;
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
        self.remove()?;
        Ok(None)
    }

    /// Removes the file if it is there.
    fn remove(&self) -> Result<(), LibraryStoreError> {
        durable::remove(&self.path)
            .map_err(|source| LibraryStoreError::Io { path: self.path.clone(), source })
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
    (config, opening): (&IndexConfig, &Opening<'_>),
) -> Result<(Box<dyn LocalIndex>, usize), LibraryStoreError> {
    let len = catalog.len(None);
    let loaded = snapshot.load(rows, dim, config)?;
    let loaded = loaded.filter(|index| config.kind_for(index.kind(), len) == index.kind());
    let mut index = loaded.map_or_else(|| index::build(config, dim, len), Ok)?;
    let aligner = Aligner { rows, dim, stop: opening.stop };
    let changes = aligner.align(&mut *index, &catalog.rows(None))?;
    if index.len() != len {
        opening.go_on()?;
    }
    if index.len() != len {
        let what = format!("{len} instructions have {} vectors", index.len());
        return Err(rows.damaged(what).into());
    }
    Ok((index, changes))
}

/// Texts embedded in one call, and rows changed in one transaction.
const BATCH: usize = 256;

/// Embeds texts: one vector each, in order, of the library's width.
pub type EmbedTexts<'a> = &'a dyn Fn(&[&str]) -> Result<Vec<Vec<f32>>, EncoderError>;

/// Vectors of length 1 for all texts.
pub(super) fn embed_all(
    texts: &[&str],
    dim: usize,
    embed: EmbedTexts<'_>,
) -> Result<Vec<Vec<f32>>, LibraryStoreError> {
    let mut vectors = Vec::with_capacity(texts.len());
    for part in texts.chunks(BATCH) {
        vectors.extend(batch(part, dim, embed)?);
    }
    Ok(vectors)
}

fn batch(
    texts: &[&str],
    dim: usize,
    embed: EmbedTexts<'_>,
) -> Result<Vec<Vec<f32>>, LibraryStoreError> {
    let vectors = embed(texts)?;
    if vectors.len() != texts.len() {
        let (tower, found) = ("text", format!("{} vectors", vectors.len()));
        return Err(EncoderError::Shape { tower, found, rows: texts.len(), dim }.into());
    }
    let unit = |(vector, text): (&Vec<f32>, &&str)| {
        unit(vector, dim, || format!("the vector of {text:?}")).map(|(unit, _)| unit)
    };
    Ok(vectors.iter().zip(texts).map(unit).collect::<Result<_, _>>()?)
}

/// Embeds anew the `of` rows that another model than `model` embedded. Each batch is kept, so an
/// interrupted pass goes on where it was.
fn refresh(
    rows: &Rows,
    model: i64,
    dim: usize,
    of: u64,
    opening: &Opening<'_>,
) -> Result<(), LibraryStoreError> {
    let (mut done, mut last) = (0, 0);
    tracing::info!(of, "another model embedded these instructions: embedding them anew");
    loop {
        let stale = rows.stale(model, last, BATCH)?;
        let Some((row, _)) = stale.last() else {
            return Ok(());
        };
        opening.go_on()?;
        last = *row;
        let texts: Vec<&str> = stale.iter().map(|(_, text)| text.as_str()).collect();
        let vectors = batch(&texts, dim, opening.embed)?;
        rows.write(|transaction| {
            for ((row, _), vector) in stale.iter().zip(&vectors) {
                rows::replace_vector(transaction, *row, model, vector)?;
            }
            rows::raise_revision(transaction)
        })?;
        done += stale.len() as u64;
        tracing::info!(done, of, "embedded anew");
    }
}
