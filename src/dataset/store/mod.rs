//! `run.sqlite`: every record of a run and its state (design 8). SQLite is the truth; indexes,
//! exports and the report are derived from it.

mod answers;
mod export;
mod held_out;
mod images;
mod ingest;
mod matches;
mod serving;
mod showing;
mod stats;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};

use super::ImageRef;
use super::record::Rejection;
use crate::ErrorKind;
use crate::base::failure::Failure;

pub use answers::{AnswerRow, AnswerToCheck, PairToAnswer};
pub use export::SampleContext;
pub use held_out::{HeldBenchmark, HeldOut, NearDuplicate, PairToHold, plain_words};
pub use images::{DecodedItem, ImageOutcome, NewItem};
pub use ingest::{IngestSummary, StampedRecord};
pub use matches::{ItemToMatch, MatchRow, PairRow};
pub use serving::{ImageRow, PairAnswer, PairView, connect_to_read};
pub use showing::{AttemptRow, InstructionUse, SampleRow};
pub use stats::{ExportRow, RejectionCount, StageTime, TokenTotals};

/// Version of `schema.sql` with `held_out.sql`; a store of a later version is refused, so that no
/// program exports what it does not know to be held out.
const SCHEMA_VERSION: i64 = 2;

/// The version before, which lacks that table and nothing else.
const WITHOUT_HELD_OUT: i64 = 1;

/// How long one stage waits for another's write.
const BUSY_TIMEOUT: Duration = Duration::from_secs(60);

/// Why the store could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(
        "{path}: the disk is full; free some space and run the same command again: finished work is kept"
    )]
    DiskFull { path: PathBuf },
    #[error("{path}: {source}")]
    Sqlite {
        path: PathBuf,
        #[source]
        source: rusqlite::Error,
    },
    #[error(
        "{path}: written by another version of Pairwright (schema {found}, this one wants {wanted}); use a new --out folder"
    )]
    Version { path: PathBuf, found: i64, wanted: i64 },
    #[error("no run at {path}: start one with `pairwright run --source ... --out DIR`")]
    NoRun { path: PathBuf },
    #[error("{path}: {what}")]
    Damaged { path: PathBuf, what: String },
}

impl Failure for StoreError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::DiskFull { .. } => ErrorKind::ResourceExhausted,
            Self::NoRun { .. } => ErrorKind::NotFound,
            Self::Version { .. } | Self::Damaged { .. } => ErrorKind::FailedPrecondition,
            Self::Sqlite { .. } => ErrorKind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::DiskFull { .. } => "disk_full",
            _ => "run_store",
        }
    }
}

/// One connection to a run's store. Each stage opens its own.
pub struct Store {
    connection: Connection,
    path: PathBuf,
}

impl Store {
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

    /// Opens an existing store.
    ///
    /// # Errors
    /// As [`Store::create`], and [`StoreError::NoRun`] where there is none.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        if !path.is_file() {
            return Err(StoreError::NoRun { path: path.to_owned() });
        }
        Self::create(path)
    }

    /// Another connection to the same store, for another stage.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn reopen(&self) -> Result<Self, StoreError> {
        Self::open(&self.path)
    }

    /// The store's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A named value of the run.
    ///
    /// # Errors
    /// SQLite's.
    pub fn meta(&self, name: &str) -> Result<Option<String>, StoreError> {
        self.connection
            .query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| row.get(0))
            .optional()
            .map_err(|source| self.fail(source))
    }

    /// Sets a named value of the run.
    ///
    /// # Errors
    /// SQLite's.
    pub fn set_meta(&self, name: &str, value: &str) -> Result<(), StoreError> {
        self.execute("INSERT OR REPLACE INTO meta VALUES (?1, ?2)", [name, value]).map(|_| ())
    }

    /// SQLite's own check of the file.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] with what SQLite found.
    pub fn check_integrity(&self) -> Result<(), StoreError> {
        let found: String = self
            .connection
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .map_err(|source| self.fail(source))?;
        if found == "ok" {
            return Ok(());
        }
        Err(StoreError::Damaged { path: self.path.clone(), what: found })
    }

    fn prepare(&self) -> Result<(), StoreError> {
        let fail = |source| self.fail(source);
        self.connection.busy_timeout(BUSY_TIMEOUT).map_err(fail)?;
        self.connection
            // 16 MiB of pages: with SQLite's own 2 MiB a large run's indexes are read from the file
            // again and again.
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
                 PRAGMA cache_size = -16384;",
            )
            .map_err(fail)?;
        let transaction =
            Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)
                .map_err(fail)?;
        let found: i64 =
            transaction.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(fail)?;
        match found {
            0 => {
                transaction.execute_batch(include_str!("schema.sql")).map_err(fail)?;
                add_held_out(&transaction).map_err(fail)?;
            }
            WITHOUT_HELD_OUT => add_held_out(&transaction).map_err(fail)?,
            SCHEMA_VERSION => {}
            found => {
                let wanted = SCHEMA_VERSION;
                return Err(StoreError::Version { path: self.path.clone(), found, wanted });
            }
        }
        transaction.commit().map_err(fail)
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

    fn execute(&self, sql: &str, values: impl rusqlite::Params) -> Result<usize, StoreError> {
        self.connection.execute(sql, values).map_err(|source| self.fail(source))
    }

    fn count(&self, sql: &str, values: impl rusqlite::Params) -> Result<u64, StoreError> {
        self.connection.query_row(sql, values, |row| row.get(0)).map_err(|source| self.fail(source))
    }

    /// Runs a query and maps every row.
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
}

/// SQLite's error at the database `path`.
pub(crate) fn sqlite(path: &Path, source: rusqlite::Error) -> StoreError {
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => StoreError::DiskFull { path },
        _ => StoreError::Sqlite { path, source },
    }
}

/// A photo as a column names it.
fn image(row: &Row<'_>, column: usize) -> rusqlite::Result<ImageRef> {
    Ok(ImageRef::from_text(row.get_ref(column)?.as_str()?))
}

fn add_held_out(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute_batch(include_str!("held_out.sql"))?;
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)
}

/// Writes a rejection row. `key` is the record's own key, `conf` the settings under which it was
/// refused (empty where none matter).
fn insert_rejection(
    transaction: &Transaction<'_>,
    rejection: &Rejection,
    key: &str,
    conf: &str,
) -> rusqlite::Result<()> {
    let Rejection { stage, code, reason, subject } = rejection;
    transaction.execute(
        "INSERT INTO rejections (stage, subject, key, conf, code, reason)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![stage.name(), subject, key, conf, code, reason],
    )?;
    Ok(())
}

#[cfg(test)]
mod tests;
