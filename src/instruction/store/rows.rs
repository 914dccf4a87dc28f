//! `library.sqlite`: the truth. Everything in memory is made from it.

use std::path::{Path, PathBuf};

use rusqlite::{
    Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params,
};

use super::catalog::{Catalog, StoredInstruction};
use super::error::LibraryStoreError;

/// Version of `schema.sql`; a library of another version is refused.
const SCHEMA_VERSION: i64 = 1;

/// One connection to the library.
pub(super) struct Rows {
    connection: Connection,
    path: PathBuf,
}

impl Rows {
    /// Opens the library at `path`, making it if it is not there.
    pub fn open(path: &Path) -> Result<Self, LibraryStoreError> {
        let connection = Connection::open(path).map_err(|source| sqlite(path, source))?;
        let rows = Self { connection, path: path.to_owned() };
        rows.prepare()?;
        Ok(rows)
    }

    /// Another connection, which reads beside the writer.
    pub fn reader(&self) -> Result<Self, LibraryStoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags);
        let connection = connection.map_err(|source| self.fail(source))?;
        Ok(Self { connection, path: self.path.clone() })
    }

    /// With `synchronous = FULL` a commit has reached the disk when it returns.
    fn prepare(&self) -> Result<(), LibraryStoreError> {
        let settings = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
                        PRAGMA foreign_keys = ON; PRAGMA cache_size = -16384;";
        self.connection.execute_batch(settings).map_err(|source| self.fail(source))?;
        let found = self.write(|transaction| {
            let found = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
            if found == 0 {
                transaction.execute_batch(include_str!("schema.sql"))?;
                transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
            }
            Ok(found)
        })?;
        if [0, SCHEMA_VERSION].contains(&found) {
            return Ok(());
        }
        Err(LibraryStoreError::Version { path: self.path.clone(), found, wanted: SCHEMA_VERSION })
    }

    /// Runs `work` in one write transaction: all of it is kept, or nothing.
    pub fn write<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, LibraryStoreError> {
        let run = || {
            let behavior = TransactionBehavior::Immediate;
            let transaction = Transaction::new_unchecked(&self.connection, behavior)?;
            let value = work(&transaction)?;
            transaction.commit()?;
            Ok(value)
        };
        run().map_err(|source| self.fail(source))
    }

    fn one<T: rusqlite::types::FromSql>(
        &self,
        sql: &str,
        values: impl rusqlite::Params,
    ) -> Result<T, LibraryStoreError> {
        self.connection.query_row(sql, values, |row| row.get(0)).map_err(|source| self.fail(source))
    }

    pub fn library_id(&self) -> Result<String, LibraryStoreError> {
        self.one("SELECT value FROM meta WHERE name = 'library_id'", [])
    }

    pub fn revision(&self) -> Result<u64, LibraryStoreError> {
        self.one("SELECT value FROM meta WHERE name = 'revision'", [])
    }

    /// The highest row ever given, 0 before the first.
    pub fn last_row(&self) -> Result<u64, LibraryStoreError> {
        self.one(
            "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'instructions'",
            [],
        )
    }

    /// The number of an encoder, given at its first use.
    pub fn model(&self, hash: &str) -> Result<i64, LibraryStoreError> {
        self.write(|transaction| {
            transaction.execute("INSERT OR IGNORE INTO models (hash) VALUES (?1)", [hash])?;
            let sql = "SELECT model FROM models WHERE hash = ?1";
            transaction.query_row(sql, [hash], |row| row.get(0))
        })
    }

    /// Every instruction.
    pub fn catalog(&self) -> Result<Catalog, LibraryStoreError> {
        let read = || {
            let sql = "SELECT row, id, text, category, create_time FROM instructions";
            let mut statement = self.connection.prepare(sql)?;
            let mut rows = statement.query([])?;
            let mut catalog = Catalog::default();
            while let Some(row) = rows.next()? {
                catalog.insert(StoredInstruction {
                    row: row.get(0)?,
                    id: row.get(1)?,
                    text: row.get(2)?,
                    category: row.get(3)?,
                    create_time: row.get(4)?,
                });
            }
            Ok(catalog)
        };
        read().map_err(|source| self.fail(source))
    }

    /// How many rows have a vector of another model than `model`.
    pub fn count_stale(&self, model: i64) -> Result<u64, LibraryStoreError> {
        self.one("SELECT count(*) FROM instructions WHERE model <> ?1", [model])
    }

    /// The first `limit` rows above `after` with a vector of another model, and their texts.
    pub fn stale(
        &self,
        model: i64,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, String)>, LibraryStoreError> {
        let read = || {
            let sql = "SELECT row, text FROM instructions WHERE model <> ?1 AND row > ?2
                       ORDER BY row LIMIT ?3";
            let mut statement = self.connection.prepare_cached(sql)?;
            let pairs = statement
                .query_map(params![model, after, limit], |row| Ok((row.get(0)?, row.get(1)?)))?;
            pairs.collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(|source| self.fail(source))
    }

    /// The vector of a row, or `None` when the row is gone.
    pub fn vector(&self, row: u64, dim: usize) -> Result<Option<Vec<f32>>, LibraryStoreError> {
        let read = || {
            let sql = "SELECT vector FROM embeddings WHERE row = ?1";
            let mut statement = self.connection.prepare_cached(sql)?;
            statement.query_row([row], |row| Ok(floats(row.get_ref(0)?.as_blob()?))).optional()
        };
        let vector = read().map_err(|source| self.fail(source))?;
        if let Some(found) = vector.as_ref().map(Vec::len).filter(|found| *found != dim) {
            let what = format!("the vector of row {row} has {found} values, not {dim}");
            return Err(self.damaged(what));
        }
        Ok(vector)
    }

    pub fn damaged(&self, what: String) -> LibraryStoreError {
        LibraryStoreError::Damaged { path: self.path.clone(), what }
    }

    fn fail(&self, source: rusqlite::Error) -> LibraryStoreError {
        sqlite(&self.path, source)
    }
}

fn sqlite(path: &Path, source: rusqlite::Error) -> LibraryStoreError {
    use rusqlite::ErrorCode::{DatabaseCorrupt, DiskFull, NotADatabase};
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(DiskFull) => LibraryStoreError::DiskFull { path },
        Some(DatabaseCorrupt | NotADatabase) => {
            LibraryStoreError::Damaged { path, what: source.to_string() }
        }
        _ => LibraryStoreError::Sqlite { path, source },
    }
}

/// What an instruction is stored from.
pub(super) struct NewRow<'a> {
    pub id: &'a str,
    pub text: &'a str,
    pub category: Option<&'a str>,
    pub create_time: i64,
    pub model: i64,
    /// Length 1.
    pub vector: &'a [f32],
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
    let NewRow { id, text, category, create_time, model, vector } = new;
    let sql = "INSERT INTO instructions (id, text, category, create_time, model)
               VALUES (?1, ?2, ?3, ?4, ?5) RETURNING row";
    let row: u64 = transaction
        .prepare_cached(sql)?
        .query_row(params![id, text, category, create_time, model], |row| row.get(0))?;
    let mut statement = transaction.prepare_cached("INSERT INTO embeddings VALUES (?1, ?2)")?;
    statement.execute(params![row, bytes(vector)])?;
    Ok(row)
}

pub(super) fn remove(transaction: &Transaction<'_>, row: u64) -> rusqlite::Result<()> {
    transaction.prepare_cached("DELETE FROM embeddings WHERE row = ?1")?.execute([row])?;
    transaction.prepare_cached("DELETE FROM instructions WHERE row = ?1")?.execute([row])?;
    Ok(())
}

/// Replaces the vector of a row by one of another model.
pub(super) fn replace_vector(
    transaction: &Transaction<'_>,
    row: u64,
    model: i64,
    vector: &[f32],
) -> rusqlite::Result<()> {
    let sql = "UPDATE embeddings SET vector = ?2 WHERE row = ?1";
    transaction.prepare_cached(sql)?.execute(params![row, bytes(vector)])?;
    let sql = "UPDATE instructions SET model = ?2 WHERE row = ?1";
    transaction.prepare_cached(sql)?.execute(params![row, model])?;
    Ok(())
}

/// Raises the revision; the new one.
pub(super) fn raise_revision(transaction: &Transaction<'_>) -> rusqlite::Result<u64> {
    let sql = "UPDATE meta SET value = value + 1 WHERE name = 'revision' RETURNING value";
    transaction.query_row(sql, [], |row| row.get(0))
}

fn bytes(vector: &[f32]) -> Vec<u8> {
    vector.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    let number = |four: &[u8]| f32::from_le_bytes([four[0], four[1], four[2], four[3]]);
    bytes.chunks_exact(4).map(number).collect()
}
