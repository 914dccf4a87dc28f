//! The library as a file, for a job that must not see later changes.

use std::path::Path;

use serde::Serialize;

use super::catalog::StoredInstruction;
use super::error::LibraryStoreError;
use super::{InstructionStore, locked};
use crate::dataset::sink::{SinkError, StagedFile};
use crate::instruction::library;

/// What was exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LibraryExport {
    /// What [`Library::read`](crate::instruction::Library::read) will find as the library's hash.
    pub hash: String,
    pub instructions: usize,
    /// The library's revision that the file shows.
    pub revision: u64,
}

/// A line, as `Library::read` takes it.
#[derive(Serialize)]
struct Line<'a> {
    id: &'a str,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<&'a str>,
}

impl InstructionStore {
    /// Writes the library to `path` in the form that
    /// [`Library::read`](crate::instruction::Library::read) reads (`.jsonl`), in the order in which
    /// the instructions were created: equal libraries give equal bytes. The file is there
    /// completely or not at all.
    ///
    /// # Errors
    /// The library is empty, which `Library::read` would refuse, or writing failed.
    pub fn export_jsonl(&self, path: &Path) -> Result<LibraryExport, LibraryStoreError> {
        let (all, revision) = self.all();
        if all.is_empty() {
            return Err(LibraryStoreError::Empty);
        }
        let mut file = StagedFile::create(path)?;
        for one in &all {
            file.put(&line(one, path)?)?;
        }
        file.commit(all.len() as u64)?;
        let fields = all.iter().map(|one| (&*one.id, &*one.text, one.category.as_deref()));
        Ok(LibraryExport { hash: library::hash_of(fields), instructions: all.len(), revision })
    }

    /// Every instruction at one revision.
    fn all(&self) -> (Vec<StoredInstruction>, u64) {
        // Without a writer at work, nobody waits for this reader.
        let _writer = locked(&self.writer);
        (self.live.read().catalog.after(0, None).cloned().collect(), self.revision())
    }
}

fn line(one: &StoredInstruction, path: &Path) -> Result<Vec<u8>, SinkError> {
    let line = Line { id: &one.id, text: &one.text, category: one.category.as_deref() };
    let encoded = serde_json::to_vec(&line)
        .map_err(|error| SinkError::Encode { path: path.to_owned(), detail: error.to_string() });
    encoded.map(|mut line| {
        line.push(b'\n');
        line
    })
}
