//! Creating and deleting: first on disk, then in memory.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::Transaction;

use super::catalog::StoredInstruction;
use super::error::{CreateError, LibraryStoreError, NoInstruction};
use super::new::{Checked, NewInstruction};
use super::rows::{self, NewRow, Rows};
use super::{EmbedTexts, InstructionStore, embed, locked};
use crate::index::IndexError;
use crate::instruction::Library;

type Outcome = Result<(StoredInstruction, Vec<f32>), CreateError>;

impl InstructionStore {
    /// Creates instructions in one transaction, each with its own outcome, in the order given.
    /// When this returns, those created are on disk and found by searches. An earlier item of the
    /// call counts as there for a later one.
    ///
    /// # Errors
    /// The disk or SQLite failed; nothing was created.
    pub fn create(
        &self,
        new: Vec<NewInstruction>,
    ) -> Result<Vec<Result<StoredInstruction, CreateError>>, LibraryStoreError> {
        let checked = new.into_iter().map(|one| Checked::new(one, self.dim)).collect();
        self.store(&locked(&self.writer), checked)
    }

    /// Fills an empty library, with all of `library` or nothing of it. How many were created: 0
    /// when the library was not empty.
    ///
    /// # Errors
    /// An instruction's id or category is not one that this library takes, embedding failed, or
    /// the disk or SQLite failed.
    pub fn seed_if_empty(
        &self,
        library: &Library,
        embed: EmbedTexts<'_>,
    ) -> Result<usize, LibraryStoreError> {
        let writer = locked(&self.writer);
        if !self.is_empty() {
            return Ok(0);
        }
        let texts: Vec<&str> = library.instructions.iter().map(|one| one.text.as_str()).collect();
        let vectors = embed::all(&texts, self.dim, embed)?;
        let new = library.instructions.iter().zip(vectors).map(|(one, vector)| {
            let (id, text) = (Some(one.id.clone()), one.text.clone());
            let new = NewInstruction { id, text, category: one.category.clone(), vector };
            let refused = |source| LibraryStoreError::Seed { id: one.id.clone(), source };
            Checked::new(new, self.dim).map_err(refused)
        });
        let checked = new.collect::<Result<Vec<_>, _>>()?;
        // Ids and texts of a library are unique, so each one is stored.
        Ok(self.store(&writer, checked.into_iter().map(Ok).collect())?.len())
    }

    fn store(
        &self,
        writer: &Rows,
        checked: Vec<Result<Checked, CreateError>>,
    ) -> Result<Vec<Result<StoredInstruction, CreateError>>, LibraryStoreError> {
        let (model, create_time) = (self.model, now());
        let (outcomes, revision) = writer.write(|transaction| {
            let store = |one: Result<Checked, CreateError>| match one {
                Ok(checked) => insert(transaction, checked, model, create_time),
                Err(refused) => Ok(Err(refused)),
            };
            let outcomes: Vec<Outcome> =
                checked.into_iter().map(store).collect::<Result<_, _>>()?;
            let revision = raise_if(transaction, outcomes.iter().any(Result::is_ok))?;
            Ok((outcomes, revision))
        })?;
        let mut created = Vec::with_capacity(outcomes.len());
        self.live.write_each(outcomes, |live, outcome| {
            created.push(outcome.map(|(new, vector)| {
                self.note(live.insert(new.clone(), &vector));
                new
            }));
        });
        self.publish(revision, created.iter().filter(|outcome| outcome.is_ok()).count());
        Ok(created)
    }

    /// Deletes instructions in one transaction, each with its own outcome, in the order given.
    /// When this returns, those deleted are gone from the disk and from searches.
    ///
    /// # Errors
    /// The disk or SQLite failed; nothing was deleted.
    pub fn delete(
        &self,
        ids: &[impl AsRef<str>],
    ) -> Result<Vec<Result<(), NoInstruction>>, LibraryStoreError> {
        let writer = locked(&self.writer);
        let (outcomes, rows) = self.find(ids);
        let revision = writer.write(|transaction| {
            rows.iter().try_for_each(|&row| rows::remove(transaction, row))?;
            raise_if(transaction, !rows.is_empty())
        })?;
        let count = rows.len();
        self.live.write_each(rows, |live, row| self.note(live.remove(row)));
        self.publish(revision, count);
        Ok(outcomes)
    }

    /// Whether each id is there, and the rows of those that are. An id given twice is gone the
    /// second time.
    fn find(&self, ids: &[impl AsRef<str>]) -> (Vec<Result<(), NoInstruction>>, Vec<u64>) {
        let live = self.live.read();
        let (mut rows, mut seen) = (Vec::new(), HashSet::new());
        let find = |id: &str| match live.catalog.id(id) {
            Some(found) if seen.insert(found.row) => {
                rows.push(found.row);
                Ok(())
            }
            _ => Err(NoInstruction { id: id.to_owned() }),
        };
        let outcomes = ids.iter().map(AsRef::as_ref).map(find).collect();
        (outcomes, rows)
    }

    /// The library is stored and listed either way; `maintain` mends the index.
    fn note(&self, changed: Result<(), IndexError>) {
        if let Err(error) = changed {
            tracing::error!(%error, "the instruction index fell behind the library");
            self.behind.store(true, Ordering::Release);
        }
    }

    fn publish(&self, revision: Option<u64>, changes: usize) {
        if let Some(revision) = revision {
            self.revision.store(revision, Ordering::Release);
        }
        self.changes.fetch_add(changes, Ordering::AcqRel);
    }
}

fn insert(
    transaction: &Transaction<'_>,
    checked: Checked,
    model: i64,
    create_time: i64,
) -> rusqlite::Result<Outcome> {
    let Checked { id, text, category, vector } = checked;
    if rows::has_id(transaction, &id)? {
        return Ok(Err(CreateError::IdExists { id }));
    }
    if let Some(id) = rows::id_of_text(transaction, &text)? {
        return Ok(Err(CreateError::TextExists { id }));
    }
    let category = category.as_deref();
    let new = NewRow { id: &id, text: &text, category, create_time, model, vector: &vector };
    let row = rows::insert(transaction, &new)?;
    let (id, text, category) = (id.into(), text.into(), category.map(Into::into));
    Ok(Ok((StoredInstruction { row, id, text, category, create_time }, vector)))
}

/// The new revision, if something changed.
fn raise_if(transaction: &Transaction<'_>, changed: bool) -> rusqlite::Result<Option<u64>> {
    changed.then(|| rows::raise_revision(transaction)).transpose()
}

/// Microseconds since 1970; 0 on a clock set before.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
