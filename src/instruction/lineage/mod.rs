//! `instructions.sqlite`: a generation with its whole lineage, description → seeds drawn → raw
//! instruction → cluster → final instruction.

mod calls;
mod library;
mod results;
mod rows;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};
use serde::{Serialize, de::DeserializeOwned};

use crate::dataset::store::{StoreError, connect_to_read, sqlite};

pub use calls::{StoredFailure, StoredReply};
pub use library::LineageRow;
pub use results::Count;
pub use rows::{ClusterRow, FinalRow, MemberRow, RawRow, ReadingRow, RefusalRow};

/// Version of `schema.sql`; a store of another version is refused.
const SCHEMA_VERSION: i64 = 1;

/// How long one connection waits for another's write.
const BUSY_TIMEOUT: Duration = Duration::from_secs(60);

/// Verdict of an instruction that goes on.
pub const ACCEPTED: &str = "accepted";
/// Verdict of a final instruction that another cluster's stands for.
pub const MERGED: &str = "merged";

/// One connection to a generation's store.
pub struct GenerationStore {
    connection: Connection,
    path: PathBuf,
}

impl GenerationStore {
    /// Opens the store at `path`, making it if it is not there.
    ///
    /// # Errors
    /// The file cannot be opened, is damaged or of another version.
    pub fn create(path: &Path) -> Result<Self, StoreError> {
        let connection = Connection::open(path).map_err(|source| sqlite(path, source))?;
        let store = Self { connection, path: path.to_owned() };
        store.prepare()?;
        Ok(store)
    }

    /// Opens an existing store for reading only, beside whoever writes it.
    ///
    /// # Errors
    /// As [`GenerationStore::create`]; `NoRun` where there is none, or its making has only begun.
    pub fn open_to_read(path: &Path) -> Result<Self, StoreError> {
        let connection = connect_to_read(path, SCHEMA_VERSION..=SCHEMA_VERSION)?;
        Ok(Self { connection, path: path.to_owned() })
    }

    /// Another connection to the same store.
    ///
    /// # Errors
    /// As [`GenerationStore::create`].
    pub fn reopen(&self) -> Result<Self, StoreError> {
        Self::create(&self.path)
    }

    /// The store's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A named value, kept as JSON.
    ///
    /// # Errors
    /// SQLite's, or a value of another form.
    pub fn meta<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StoreError> {
        let text: Option<String> = self
            .connection
            .query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| row.get(0))
            .optional()
            .map_err(|source| self.fail(source))?;
        let read =
            |text: String| serde_json::from_str(&text).map_err(|error| self.damaged(name, &error));
        text.map(read).transpose()
    }

    /// Sets a named value.
    ///
    /// # Errors
    /// SQLite's.
    pub fn set_meta<T: Serialize>(&self, name: &str, value: &T) -> Result<(), StoreError> {
        let text = serde_json::to_string(value).map_err(|error| self.damaged(name, &error))?;
        self.write(|transaction| {
            transaction.execute("INSERT OR REPLACE INTO meta VALUES (?1, ?2)", [name, &text])?;
            Ok(())
        })
    }

    fn prepare(&self) -> Result<(), StoreError> {
        let fail = |source| self.fail(source);
        self.connection.busy_timeout(BUSY_TIMEOUT).map_err(fail)?;
        self.connection
            .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;")
            .map_err(fail)?;
        let found: i64 = self.number("PRAGMA user_version")?;
        match found {
            0 => self.write(|transaction| {
                transaction.execute_batch(include_str!("schema.sql"))?;
                transaction.pragma_update(None, "user_version", SCHEMA_VERSION)
            }),
            SCHEMA_VERSION => Ok(()),
            found => {
                let (path, wanted) = (self.path.clone(), SCHEMA_VERSION);
                Err(StoreError::Version { path, found, wanted })
            }
        }
    }

    /// Runs `work` in one write transaction: all of it is kept, or nothing.
    fn write<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let run = || {
            let transaction =
                Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
            let value = work(&transaction)?;
            transaction.commit()?;
            Ok(value)
        };
        run().map_err(|source| self.fail(source))
    }

    fn number(&self, sql: &str) -> Result<i64, StoreError> {
        self.connection.query_row(sql, [], |row| row.get(0)).map_err(|source| self.fail(source))
    }

    fn rows<T>(
        &self,
        sql: &str,
        values: impl rusqlite::Params,
        map: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let query = || {
            let mut statement = self.connection.prepare_cached(sql)?;
            statement.query_map(values, map)?.collect::<rusqlite::Result<Vec<T>>>()
        };
        query().map_err(|source| self.fail(source))
    }

    fn fail(&self, source: rusqlite::Error) -> StoreError {
        sqlite(&self.path, source)
    }

    fn damaged(&self, name: &str, error: &serde_json::Error) -> StoreError {
        StoreError::Damaged { path: self.path.clone(), what: format!("{name}: {error}") }
    }
}

#[cfg(test)]
mod tests;
