//! One way to open SQLite, under every store.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension, Params, Row, Transaction,
    TransactionBehavior,
};
use rusqlite_migration::Migrations;
use serde::{Serialize, de::DeserializeOwned};

pub use rusqlite_migration::M as Migration;

use super::failure::{ErrorKind, Failure};

/// How long one connection waits for another's write.
const BUSY_TIMEOUT: Duration = Duration::from_secs(60);

/// 16 MiB of pages: with SQLite's own 2 MiB a large run's indexes are read from the file again and
/// again.
const CACHE: &str = "PRAGMA cache_size = -16384;";

/// FULL, because every store holds something that was paid for or acknowledged: a commit has
/// reached the disk when it returns.
const DURABLE: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;";

/// What one kind of database is: its tables, and how its errors speak of it.
#[derive(Debug)]
pub struct Schema {
    /// What a database holds, in words: `run`.
    pub name: &'static str,
    /// The command that makes one.
    pub made_by: &'static str,
    /// The code of its errors, except for a full disk.
    pub code: &'static str,
    /// What to do when the disk is full, or what came of the call.
    pub when_full: &'static str,
    /// What to do about a file of another version; empty, or it begins with `; `.
    pub when_other_version: &'static str,
    /// Files of this version and of later ones are read as they are. A view of an older one brings
    /// it up to date first.
    pub readable_from: i64,
    /// Leads from an empty file to the present tables. The version of a file, in its
    /// `user_version`, says how many of them it has behind it. So a migration that was ever
    /// released stays as it is, and a change of the tables is a new one at the end:
    ///
    /// - `Migration::up(sql)` where SQL is enough;
    /// - `Migration::up_with_hook(sql, function)` where it is not: `function` gets the
    ///   [`Transaction`] after `sql` was executed in it, and returns a
    ///   [`HookResult`](rusqlite_migration::HookResult), into which `?` turns SQLite's errors;
    ///   `HookError::Hook(text)` says that a row is damaged.
    ///
    /// All that a file lacks happens in one transaction: a kill or an error leaves it as it was.
    pub migrations: fn() -> Vec<Migration<'static>>,
}

impl Schema {
    /// The present version.
    fn version(&self) -> i64 {
        (self.migrations)().len() as i64
    }
}

/// Why a database could not be read or written.
#[derive(Debug)]
pub struct DbError {
    path: PathBuf,
    schema: &'static Schema,
    cause: Cause,
}

/// What happened to a database.
#[derive(Debug)]
#[non_exhaustive]
pub enum Cause {
    /// There is none, or its making has only begun.
    Absent,
    DiskFull,
    /// Written by a later version of the program.
    Version {
        found: i64,
        wanted: i64,
    },
    /// No database, or not what was put into it.
    Damaged(String),
    Sqlite(rusqlite::Error),
}

impl DbError {
    /// There is no such database at `path`.
    pub fn absent(path: &Path, schema: &'static Schema) -> Self {
        Self { path: path.to_owned(), schema, cause: Cause::Absent }
    }

    /// What happened.
    pub fn cause(&self) -> &Cause {
        &self.cause
    }

    /// Whether there is no database.
    pub fn is_absent(&self) -> bool {
        matches!(self.cause, Cause::Absent)
    }
}

impl fmt::Display for DbError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Schema { name, made_by, when_full, when_other_version, .. } = self.schema;
        let path = self.path.display();
        match &self.cause {
            Cause::Absent => write!(out, "no {name} at {path}: start one with `{made_by}`"),
            Cause::DiskFull => write!(out, "{path}: the disk is full; {when_full}"),
            Cause::Version { found, wanted } => write!(
                out,
                "{path}: written by another version of Pairwright (schema {found}, this one wants \
                 {wanted}){when_other_version}"
            ),
            Cause::Damaged(what) => write!(out, "{path}: {what}"),
            Cause::Sqlite(source) => write!(out, "{path}: {source}"),
        }
    }
}

impl std::error::Error for DbError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.cause {
            Cause::Sqlite(source) => Some(source),
            _ => None,
        }
    }
}

impl Failure for DbError {
    fn kind(&self) -> ErrorKind {
        match self.cause {
            Cause::Absent => ErrorKind::NotFound,
            Cause::DiskFull => ErrorKind::ResourceExhausted,
            Cause::Version { .. } | Cause::Damaged(_) => ErrorKind::FailedPrecondition,
            Cause::Sqlite(_) => ErrorKind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self.cause {
            Cause::DiskFull => "disk_full",
            _ => self.schema.code,
        }
    }
}

/// One connection to a database. Each thread opens its own.
pub struct Database {
    connection: Connection,
    path: PathBuf,
    schema: &'static Schema,
}

impl Database {
    /// Opens the database at `path` for reading and writing, making it if it is not there.
    ///
    /// # Errors
    /// The file cannot be opened, is damaged or of a later version.
    pub fn create(path: &Path, schema: &'static Schema) -> Result<Self, DbError> {
        let mut database = Self::connect(path, schema, OpenFlags::SQLITE_OPEN_CREATE)?;
        database.make_durable()?;
        database.migrate()?;
        Ok(database)
    }

    /// Opens an existing database for reading and writing.
    ///
    /// # Errors
    /// As [`Self::create`]; [`Cause::Absent`] where there is none.
    pub fn open(path: &Path, schema: &'static Schema) -> Result<Self, DbError> {
        if !path.is_file() {
            return Err(DbError::absent(path, schema));
        }
        Self::create(path, schema)
    }

    /// Opens an existing database for reading, beside whoever writes it. Nothing is written on the
    /// way to a file that can be read as it is: a writer that is just making it would be refused.
    ///
    /// # Errors
    /// As [`Self::open`]; [`Cause::Absent`] also where the making has only begun.
    pub fn open_to_read(path: &Path, schema: &'static Schema) -> Result<Self, DbError> {
        if !path.is_file() {
            return Err(DbError::absent(path, schema));
        }
        // Not SQLite's own read-only mode, which cannot open the log of a writer that has left.
        let mut database = Self::connect(path, schema, OpenFlags::empty())?;
        match database.version()? {
            0 => return Err(DbError::absent(path, schema)),
            found if (schema.readable_from..=schema.version()).contains(&found) => {}
            _ => {
                database.make_durable()?;
                database.migrate()?;
            }
        }
        database.batch("PRAGMA query_only = ON")?;
        Ok(database)
    }

    fn connect(path: &Path, schema: &'static Schema, flags: OpenFlags) -> Result<Self, DbError> {
        let flags = flags | OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let opened = Connection::open_with_flags(path, flags);
        let mut connection = opened.map_err(|source| sqlite(path, schema, source))?;
        connection.set_transaction_behavior(TransactionBehavior::Immediate);
        let waiting = connection.busy_timeout(BUSY_TIMEOUT);
        waiting.map_err(|source| sqlite(path, schema, source))?;
        let database = Self { connection, path: path.to_owned(), schema };
        database.batch(CACHE)?;
        Ok(database)
    }

    /// Connections that turn a new file to its log at the same time each hold what the other waits
    /// for, and SQLite refuses one of them at once, whatever it was told to wait.
    fn make_durable(&self) -> Result<(), DbError> {
        let begun = Instant::now();
        loop {
            match self.connection.execute_batch(DURABLE) {
                Err(error)
                    if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                        && begun.elapsed() < BUSY_TIMEOUT =>
                {
                    std::thread::sleep(Duration::from_millis(2));
                }
                done => return done.map_err(|source| self.sqlite(source)),
            }
        }
    }

    fn migrate(&mut self) -> Result<(), DbError> {
        let wanted = self.schema.version();
        let migrations = Migrations::new((self.schema.migrations)());
        loop {
            let found = self.version()?;
            if !(0..=wanted).contains(&found) {
                return Err(self.error(Cause::Version { found, wanted }));
            }
            match migrations.to_latest(&mut self.connection) {
                Ok(()) => return Ok(()),
                // Another connection brought the file up to date before this one's transaction.
                Err(_) if self.version()? != found => {}
                Err(rusqlite_migration::Error::RusqliteError { err, .. }) => {
                    return Err(self.sqlite(err));
                }
                Err(other) => return Err(self.damaged(other.to_string())),
            }
        }
    }

    fn version(&self) -> Result<i64, DbError> {
        self.value("PRAGMA user_version", [])
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Another connection to the same file.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn reopen(&self) -> Result<Self, DbError> {
        Self::open(&self.path, self.schema)
    }

    /// Runs `work` in one write transaction: all of it is kept, or nothing.
    ///
    /// # Errors
    /// SQLite's.
    pub fn write<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, DbError> {
        self.transaction(work).map_err(|source| self.sqlite(source))
    }

    /// As [`Self::write`], for work that may refuse, too; [`Self::sqlite`] makes an error of what
    /// SQLite says.
    ///
    /// # Errors
    /// The first of `work`, or SQLite's.
    pub fn transaction<T, E: From<rusqlite::Error>>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let transaction = self.connection.unchecked_transaction()?;
        let value = work(&transaction)?;
        transaction.commit()?;
        Ok(value)
    }

    /// Makes one transaction of what `work` does by [`Self::execute`]: one wait for the disk.
    ///
    /// # Errors
    /// The first of `work`, or SQLite's.
    pub fn together(&self, work: impl FnOnce() -> Result<(), DbError>) -> Result<(), DbError> {
        let fail = |source| self.sqlite(source);
        let transaction = self.connection.unchecked_transaction().map_err(fail)?;
        work()?;
        transaction.commit().map_err(fail)
    }

    /// Runs one statement; how many rows it changed.
    ///
    /// # Errors
    /// SQLite's.
    pub fn execute(&self, sql: &str, values: impl Params) -> Result<usize, DbError> {
        let run = || self.connection.prepare_cached(sql)?.execute(values);
        run().map_err(|source| self.sqlite(source))
    }

    /// The first column of the one row of a query.
    ///
    /// # Errors
    /// SQLite's.
    pub fn value<T: rusqlite::types::FromSql>(
        &self,
        sql: &str,
        values: impl Params,
    ) -> Result<T, DbError> {
        let run = || self.connection.prepare_cached(sql)?.query_row(values, |row| row.get(0));
        run().map_err(|source| self.sqlite(source))
    }

    /// The first row of a query, if there is one.
    ///
    /// # Errors
    /// SQLite's, or those of `map`.
    pub fn row<T>(
        &self,
        sql: &str,
        values: impl Params,
        map: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, DbError> {
        let run = || self.connection.prepare_cached(sql)?.query_row(values, map).optional();
        run().map_err(|source| self.sqlite(source))
    }

    /// Every row of a query.
    ///
    /// # Errors
    /// SQLite's, or those of `map`.
    pub fn rows<T>(
        &self,
        sql: &str,
        values: impl Params,
        map: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, DbError> {
        let run = || {
            let mut statement = self.connection.prepare_cached(sql)?;
            statement.query_map(values, map)?.collect::<rusqlite::Result<_>>()
        };
        run().map_err(|source| self.sqlite(source))
    }

    /// Gives every row of a query to `each`, with constant memory.
    ///
    /// # Errors
    /// SQLite's, those of `map`, or the first of `each`.
    pub fn each<T, E: From<DbError>>(
        &self,
        sql: &str,
        values: impl Params,
        map: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
        mut each: impl FnMut(T) -> Result<(), E>,
    ) -> Result<(), E> {
        let fail = |source| E::from(self.sqlite(source));
        let mut statement = self.connection.prepare_cached(sql).map_err(fail)?;
        for row in statement.query_map(values, map).map_err(fail)? {
            each(row.map_err(fail)?)?;
        }
        Ok(())
    }

    /// A named value in the table `meta`.
    ///
    /// # Errors
    /// SQLite's.
    pub fn meta(&self, name: &str) -> Result<Option<String>, DbError> {
        self.row("SELECT value FROM meta WHERE name = ?1", [name], |row| row.get(0))
    }

    /// Sets a named value in the table `meta`.
    ///
    /// # Errors
    /// SQLite's.
    pub fn set_meta(&self, name: &str, value: &str) -> Result<(), DbError> {
        self.execute("INSERT OR REPLACE INTO meta VALUES (?1, ?2)", [name, value]).map(drop)
    }

    /// What this database was begun with: the value kept under `name`, or else `today`'s, which is
    /// kept from now on. So a default that changes holds for what begins after the change.
    ///
    /// # Errors
    /// SQLite's, or the kept value has another form.
    pub fn began_with<T: Serialize + DeserializeOwned>(
        &self,
        name: &str,
        today: T,
    ) -> Result<T, DbError> {
        self.began_with_or(name, || Ok(today))
    }

    /// As [`Self::began_with`], for a value that is only worked out where none is kept.
    ///
    /// # Errors
    /// As [`Self::began_with`], or those of `today`.
    pub fn began_with_or<T: Serialize + DeserializeOwned>(
        &self,
        name: &str,
        today: impl FnOnce() -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        let name = format!("began with: {name}");
        if let Some(kept) = self.meta_json(&name)? {
            return Ok(kept);
        }
        let today = today()?;
        self.set_meta_json(&name, &today).map(|()| today)
    }

    /// Whether a value is kept under `name` by [`Self::began_with`].
    ///
    /// # Errors
    /// SQLite's.
    pub fn has_begun_with(&self, name: &str) -> Result<bool, DbError> {
        Ok(self.meta(&format!("began with: {name}"))?.is_some())
    }

    /// A named value that is kept as JSON.
    ///
    /// # Errors
    /// SQLite's, or a value of another form.
    pub fn meta_json<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, DbError> {
        let read = |text: String| serde_json::from_str(&text);
        let value = self.meta(name)?.map(read).transpose();
        value.map_err(|error| self.damaged(format!("{name}: {error}")))
    }

    /// Keeps a named value as JSON.
    ///
    /// # Errors
    /// SQLite's, or a value that JSON cannot hold.
    pub fn set_meta_json<T: Serialize>(&self, name: &str, value: &T) -> Result<(), DbError> {
        let text = serde_json::to_string(value);
        self.set_meta(name, &text.map_err(|error| self.damaged(format!("{name}: {error}")))?)
    }

    /// SQLite's own check of the file.
    ///
    /// # Errors
    /// [`Cause::Damaged`] with what SQLite found.
    pub fn check_integrity(&self) -> Result<(), DbError> {
        let found: String = self.value("PRAGMA integrity_check", [])?;
        if found == "ok" { Ok(()) } else { Err(self.damaged(found)) }
    }

    fn batch(&self, sql: &str) -> Result<(), DbError> {
        self.connection.execute_batch(sql).map_err(|source| self.sqlite(source))
    }

    /// The error of a row that is not what was put there.
    pub fn damaged(&self, what: String) -> DbError {
        self.error(Cause::Damaged(what))
    }

    /// SQLite's error at this database.
    pub fn sqlite(&self, source: rusqlite::Error) -> DbError {
        sqlite(&self.path, self.schema, source)
    }

    fn error(&self, cause: Cause) -> DbError {
        DbError { path: self.path.clone(), schema: self.schema, cause }
    }
}

fn sqlite(path: &Path, schema: &'static Schema, source: rusqlite::Error) -> DbError {
    let cause = match source.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => Cause::DiskFull,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            Cause::Damaged(source.to_string())
        }
        _ => Cause::Sqlite(source),
    };
    DbError { path: path.to_owned(), schema, cause }
}

/// The value of a column that holds JSON.
///
/// # Errors
/// SQLite's, or a text of another form.
pub fn json_column<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str()?;
    serde_json::from_str(text).map_err(|error| {
        let kind = rusqlite::types::Type::Text;
        rusqlite::Error::FromSqlConversionFailure(column, kind, Box::new(error))
    })
}

/// The value of a column that holds JSON or NULL.
///
/// # Errors
/// As [`json_column`].
pub fn optional_json<T: DeserializeOwned>(
    row: &Row<'_>,
    column: usize,
) -> rusqlite::Result<Option<T>> {
    let absent = row.get_ref(column)? == rusqlite::types::ValueRef::Null;
    (!absent).then(|| json_column(row, column)).transpose()
}

/// Words or lists of words as a column holds them that [`optional_json`] reads.
pub fn json_text<T: Serialize>(value: Option<&T>) -> Option<String> {
    value.and_then(|value| serde_json::to_string(value).ok())
}

/// A vector as a column holds it: f32, little-endian.
pub fn vector_bytes(vector: &[f32]) -> Vec<u8> {
    vector.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// The vector in a column.
///
/// # Errors
/// SQLite's.
pub fn vector_column(row: &Row<'_>, column: usize) -> rusqlite::Result<Vec<f32>> {
    let (words, _) = row.get_ref(column)?.as_blob()?.as_chunks::<4>();
    Ok(words.iter().map(|word| f32::from_le_bytes(*word)).collect())
}

#[cfg(test)]
mod tests;
