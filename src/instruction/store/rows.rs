//! `library.sqlite`: the truth. Everything in memory is made from it.

use std::path::Path;

use rusqlite::{OptionalExtension, Transaction, params};

use super::live::{Catalog, StoredInstruction};
use crate::base::db::{
    Database, DbError, Migration, Schema, json_text, optional_json, vector_bytes, vector_column,
};

static SCHEMA: Schema = Schema {
    name: "instruction library",
    made_by: "pairwright serve --data DIR",
    code: "library_sqlite",
    when_full: "nothing of this call was kept",
    when_other_version: "",
    readable_from: 2,
    migrations: || {
        vec![
            Migration::up(include_str!("schema.sql")),
            Migration::up(include_str!("requires.sql")),
            Migration::up(include_str!("given.sql")),
        ]
    },
};

/// One connection to the library.
pub(super) struct Rows {
    db: Database,
}

impl Rows {
    /// Opens the library at `path`, making it if it is not there.
    pub fn open(path: &Path) -> Result<Self, DbError> {
        Ok(Self { db: Database::create(path, &SCHEMA)? })
    }

    /// Another connection, which reads beside the writer.
    pub fn reader(&self) -> Result<Self, DbError> {
        Ok(Self { db: Database::open_to_read(self.db.path(), &SCHEMA)? })
    }

    /// Runs `work` in one write transaction: all of it is kept, or nothing.
    pub fn write<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, DbError> {
        self.db.write(work)
    }

    pub fn library_id(&self) -> Result<String, DbError> {
        self.db.value("SELECT value FROM meta WHERE name = 'library_id'", [])
    }

    pub fn revision(&self) -> Result<u64, DbError> {
        self.db.value("SELECT value FROM meta WHERE name = 'revision'", [])
    }

    /// The highest row ever given, 0 before the first.
    pub fn last_row(&self) -> Result<u64, DbError> {
        self.db.value(
            "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'instructions'",
            [],
        )
    }

    /// The number of an encoder, given at its first use.
    pub fn model(&self, hash: &str) -> Result<i64, DbError> {
        self.write(|transaction| {
            transaction.execute("INSERT OR IGNORE INTO models (hash) VALUES (?1)", [hash])?;
            let sql = "SELECT model FROM models WHERE hash = ?1";
            transaction.query_row(sql, [hash], |row| row.get(0))
        })
    }

    /// Every instruction.
    pub fn catalog(&self) -> Result<Catalog, DbError> {
        let mut catalog = Catalog::default();
        let sql = "SELECT row, id, text, category, create_time, requires, tags FROM instructions";
        self.db.each(sql, [], stored, |one| {
            catalog.insert(one);
            Ok::<_, DbError>(())
        })?;
        Ok(catalog)
    }

    /// How many rows have a vector of another model than `model`.
    pub fn count_stale(&self, model: i64) -> Result<u64, DbError> {
        self.db.value("SELECT count(*) FROM instructions WHERE model <> ?1", [model])
    }

    /// How many rows have a vector of another model than `model` that a caller supplied, and of how
    /// many that is not known.
    pub fn count_given(&self, model: i64) -> Result<(u64, u64), DbError> {
        let sql = "SELECT coalesce(sum(given = 1), 0), coalesce(sum(given IS NULL), 0)
                   FROM instructions WHERE model <> ?1";
        let counts = self.db.row(sql, [model], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(counts.unwrap_or_default())
    }

    /// An instruction with a supplied vector of another model and of another width than `dim`: its
    /// id and the width.
    pub fn given_of_another_width(
        &self,
        model: i64,
        dim: usize,
    ) -> Result<Option<(String, usize)>, DbError> {
        let sql = "SELECT id, length(vector) / 4 FROM instructions JOIN embeddings USING (row)
                   WHERE given = 1 AND model <> ?1 AND length(vector) / 4 <> ?2 ORDER BY row LIMIT 1";
        self.db.row(sql, params![model, dim], |row| Ok((row.get(0)?, row.get(1)?)))
    }

    /// The first `limit` rows above `after` with a vector of another model, and their texts.
    pub fn stale(
        &self,
        model: i64,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, String)>, DbError> {
        let sql = "SELECT row, text FROM instructions WHERE model <> ?1 AND row > ?2
                   ORDER BY row LIMIT ?3";
        self.db.rows(sql, params![model, after, limit], |row| Ok((row.get(0)?, row.get(1)?)))
    }

    /// The vector of a row, or `None` when the row is gone.
    pub fn vector(&self, row: u64, dim: usize) -> Result<Option<Vec<f32>>, DbError> {
        let sql = "SELECT vector FROM embeddings WHERE row = ?1";
        let vector = self.db.row(sql, [row], |row| vector_column(row, 0))?;
        if let Some(found) = vector.as_ref().map(Vec::len).filter(|found| *found != dim) {
            let what = format!("the vector of row {row} has {found} values, not {dim}");
            return Err(self.damaged(what));
        }
        Ok(vector)
    }

    pub fn damaged(&self, what: String) -> DbError {
        self.db.damaged(what)
    }
}

fn stored(row: &rusqlite::Row<'_>) -> rusqlite::Result<StoredInstruction> {
    Ok(StoredInstruction {
        row: row.get(0)?,
        id: row.get(1)?,
        text: row.get(2)?,
        category: row.get(3)?,
        create_time: row.get(4)?,
        requires: optional_json::<Vec<String>>(row, 5)?.map(Into::into),
        tags: optional_json::<Vec<String>>(row, 6)?.unwrap_or_default().into(),
    })
}

/// What an instruction is stored from.
pub(super) struct NewRow<'a> {
    pub id: &'a str,
    pub text: &'a str,
    pub category: Option<&'a str>,
    pub requires: Option<&'a Vec<String>>,
    pub tags: &'a Vec<String>,
    pub create_time: i64,
    pub model: i64,
    /// Length 1.
    pub vector: &'a [f32],
    /// Whether the caller supplied it.
    pub given: bool,
}

/// The id of the instruction with this text.
pub(super) fn id_of_text(
    transaction: &Transaction<'_>,
    text: &str,
) -> rusqlite::Result<Option<String>> {
    let mut statement =
        transaction.prepare_cached("SELECT id FROM instructions WHERE text = ?1")?;
    statement.query_row([text], |row| row.get(0)).optional()
}

/// Whether an instruction has this id.
pub(super) fn has_id(transaction: &Transaction<'_>, id: &str) -> rusqlite::Result<bool> {
    transaction.prepare_cached("SELECT 1 FROM instructions WHERE id = ?1")?.exists([id])
}

/// Stores an instruction whose id and text are free; its row.
pub(super) fn insert(transaction: &Transaction<'_>, new: &NewRow<'_>) -> rusqlite::Result<u64> {
    let NewRow { id, text, category, requires, tags, create_time, model, vector, given } = new;
    let sql = "INSERT INTO instructions
               (id, text, category, create_time, model, requires, tags, given)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) RETURNING row";
    let (requires, tags) = (json_text(*requires), json_text(Some(*tags)));
    let values = params![id, text, category, create_time, model, requires, tags, given];
    let row: u64 = transaction.prepare_cached(sql)?.query_row(values, |row| row.get(0))?;
    let mut statement = transaction.prepare_cached("INSERT INTO embeddings VALUES (?1, ?2)")?;
    statement.execute(params![row, vector_bytes(vector)])?;
    Ok(row)
}

pub(super) fn remove(transaction: &Transaction<'_>, row: u64) -> rusqlite::Result<()> {
    transaction.prepare_cached("DELETE FROM embeddings WHERE row = ?1")?.execute([row])?;
    transaction.prepare_cached("DELETE FROM instructions WHERE row = ?1")?.execute([row])?;
    Ok(())
}

/// Replaces the vector of a row by its text's own by another model.
pub(super) fn replace_vector(
    transaction: &Transaction<'_>,
    row: u64,
    model: i64,
    vector: &[f32],
) -> rusqlite::Result<()> {
    let sql = "UPDATE embeddings SET vector = ?2 WHERE row = ?1";
    transaction.prepare_cached(sql)?.execute(params![row, vector_bytes(vector)])?;
    let sql = "UPDATE instructions SET model = ?2, given = 0 WHERE row = ?1";
    transaction.prepare_cached(sql)?.execute(params![row, model])?;
    Ok(())
}

/// Counts every supplied vector as one of `model`.
pub(super) fn keep_given(transaction: &Transaction<'_>, model: i64) -> rusqlite::Result<()> {
    let sql = "UPDATE instructions SET model = ?1 WHERE given = 1 AND model <> ?1";
    transaction.execute(sql, [model])?;
    Ok(())
}

/// Raises the revision; the new one.
pub(super) fn raise_revision(transaction: &Transaction<'_>) -> rusqlite::Result<u64> {
    let sql = "UPDATE meta SET value = value + 1 WHERE name = 'revision' RETURNING value";
    transaction.query_row(sql, [], |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_reaches_the_disk_before_it_returns() {
        let folder = tempfile::tempdir().expect("temp dir");
        let rows = Rows::open(&folder.path().join("library.sqlite")).expect("made");
        let full = 2;
        assert_eq!(rows.db.value::<u8>("PRAGMA synchronous", []).expect("set"), full);
    }
}
