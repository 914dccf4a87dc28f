//! `evaluation.sqlite`: every raw reply of an evaluation. Results are derived from it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};

use crate::dataset::store::{StoreError, connect_to_read, sqlite};

/// Version of `schema.sql`; a store of another version is refused.
const SCHEMA_VERSION: i64 = 1;

const BUSY_TIMEOUT: Duration = Duration::from_secs(60);

/// One reply as it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// 1 for the first asking.
    pub attempt: u32,
    /// Hash of the whole prompt, image included.
    pub prompt_sha256: String,
    /// The seed sent.
    pub seed: u64,
    /// The text as the model gave it.
    pub text: String,
    /// `A`, `B`, `C`, or empty where none can be read.
    pub verdict: String,
    /// Why there is no verdict; empty where there is one.
    pub reason: String,
    /// Why the model stopped.
    pub finish: String,
    /// The model as its server reports it.
    pub llm: String,
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    /// Requests sent for it, retries included.
    pub calls: u32,
    /// Milliseconds from the call to the reply, waiting included.
    pub elapsed_ms: u64,
}

/// What a reply is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    pub task_key: String,
    pub question_id: String,
    /// The model whose answer was shown as A; empty where none was.
    pub shown_a: String,
    pub shown_b: String,
}

/// What a call leaves in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    Reply(About, Reply),
    Failure(About, FailedCall),
}

/// A call that failed after its retries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedCall {
    pub code: String,
    pub reason: String,
    /// Requests sent.
    pub attempts: u32,
}

/// The connection to an evaluation's store.
pub struct EvaluationStore {
    connection: Connection,
    path: PathBuf,
}

impl EvaluationStore {
    /// Opens the store at `path`, making it if it is not there.
    ///
    /// # Errors
    /// The file cannot be opened, is damaged or of another version.
    pub fn create(path: &Path) -> Result<Self, StoreError> {
        let connection = Connection::open(path).map_err(|e| sqlite(path, e))?;
        let store = Self { connection, path: path.to_owned() };
        store.prepare()?;
        Ok(store)
    }

    /// Opens an existing store for reading only, beside whoever writes it.
    ///
    /// # Errors
    /// As [`EvaluationStore::create`]; `NoRun` where there is none, or its making has only begun.
    pub fn open_to_read(path: &Path) -> Result<Self, StoreError> {
        let connection = connect_to_read(path, SCHEMA_VERSION..=SCHEMA_VERSION)?;
        Ok(Self { connection, path: path.to_owned() })
    }

    /// Another connection to the same store.
    ///
    /// # Errors
    /// As [`EvaluationStore::create`].
    pub fn reopen(&self) -> Result<Self, StoreError> {
        Self::create(&self.path)
    }

    /// Keeps what calls left.
    ///
    /// # Errors
    /// SQLite's.
    pub fn put(&self, rows: &[Entry]) -> Result<(), StoreError> {
        rows.iter().try_for_each(|row| match row {
            Entry::Reply(about, reply) => self.put_reply(about, reply),
            Entry::Failure(About { task_key, question_id, .. }, failure) => {
                self.put_failure(task_key, question_id, failure)
            }
        })
    }

    fn prepare(&self) -> Result<(), StoreError> {
        let fail = |source| self.fail(source);
        self.connection.busy_timeout(BUSY_TIMEOUT).map_err(fail)?;
        self.connection
            .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;")
            .map_err(fail)?;
        let found: i64 =
            self.connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(fail)?;
        match found {
            0 => self.make(),
            SCHEMA_VERSION => Ok(()),
            found => {
                let wanted = SCHEMA_VERSION;
                Err(StoreError::Version { path: self.path.clone(), found, wanted })
            }
        }
    }

    /// In one transaction, so that a kill leaves no half of a schema.
    fn make(&self) -> Result<(), StoreError> {
        let schema = include_str!("schema.sql");
        let batch =
            format!("BEGIN IMMEDIATE; {schema} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;");
        self.connection.execute_batch(&batch).map_err(|source| self.fail(source))
    }

    /// A named value.
    ///
    /// # Errors
    /// SQLite's.
    pub fn meta(&self, name: &str) -> Result<Option<String>, StoreError> {
        self.connection
            .query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| row.get(0))
            .optional()
            .map_err(|source| self.fail(source))
    }

    /// Sets a named value.
    ///
    /// # Errors
    /// SQLite's.
    pub fn set_meta(&self, name: &str, value: &str) -> Result<(), StoreError> {
        self.execute("INSERT OR REPLACE INTO meta VALUES (?1, ?2)", params![name, value])
    }

    /// Keeps a reply at once: a kill after this loses nothing of it.
    ///
    /// # Errors
    /// SQLite's.
    pub fn put_reply(&self, about: &About, reply: &Reply) -> Result<(), StoreError> {
        let About { task_key, question_id, shown_a, shown_b } = about;
        self.execute(
            "INSERT OR REPLACE INTO replies VALUES
             (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
            params![
                task_key,
                reply.attempt,
                question_id,
                shown_a,
                shown_b,
                reply.prompt_sha256,
                // Seeds are below 2^31.
                reply.seed as i64,
                reply.text,
                reply.verdict,
                reply.reason,
                reply.finish,
                reply.llm,
                reply.prompt_tokens,
                reply.completion_tokens,
                reply.calls,
                reply.elapsed_ms,
            ],
        )
    }

    /// Every reply by its task's key, in order of attempts.
    ///
    /// # Errors
    /// SQLite's.
    pub fn replies(&self) -> Result<HashMap<String, Vec<Reply>>, StoreError> {
        let mut found: HashMap<String, Vec<Reply>> = HashMap::new();
        let rows = self.rows(
            "SELECT task_key, attempt, prompt_sha256, seed, text, verdict, reason, finish, llm,
                    prompt_tokens, completion_tokens, calls, elapsed_ms
             FROM replies ORDER BY task_key, attempt",
            keyed_reply,
        )?;
        for (key, reply) in rows {
            found.entry(key).or_default().push(reply);
        }
        Ok(found)
    }

    /// Keeps a failed call, to be made again at the next start.
    ///
    /// # Errors
    /// SQLite's.
    pub fn put_failure(
        &self,
        task_key: &str,
        question_id: &str,
        failure: &FailedCall,
    ) -> Result<(), StoreError> {
        let FailedCall { code, reason, attempts } = failure;
        self.execute(
            "INSERT OR REPLACE INTO failures VALUES (?1, ?2, ?3, ?4, ?5)",
            params![task_key, question_id, code, reason, attempts],
        )
    }

    /// Every failure by its task's key.
    ///
    /// # Errors
    /// SQLite's.
    pub fn failures(&self) -> Result<HashMap<String, FailedCall>, StoreError> {
        let sql = "SELECT task_key, code, reason, attempts FROM failures";
        let rows = self.rows(sql, |row| {
            let failure =
                FailedCall { code: row.get(1)?, reason: row.get(2)?, attempts: row.get(3)? };
            Ok((row.get(0)?, failure))
        })?;
        Ok(rows.into_iter().collect())
    }

    /// Forgets failed calls, so that they are made again.
    ///
    /// # Errors
    /// SQLite's.
    pub fn clear_failures(&self) -> Result<(), StoreError> {
        self.execute("DELETE FROM failures", [])
    }

    fn execute(&self, sql: &str, values: impl rusqlite::Params) -> Result<(), StoreError> {
        let run = || self.connection.prepare_cached(sql)?.execute(values);
        run().map(|_| ()).map_err(|source| self.fail(source))
    }

    fn rows<T>(
        &self,
        sql: &str,
        map: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let query = || {
            let mut statement = self.connection.prepare_cached(sql)?;
            statement.query_map([], map)?.collect::<rusqlite::Result<Vec<T>>>()
        };
        query().map_err(|source| self.fail(source))
    }

    fn fail(&self, source: rusqlite::Error) -> StoreError {
        sqlite(&self.path, source)
    }
}

fn keyed_reply(row: &Row<'_>) -> rusqlite::Result<(String, Reply)> {
    let reply = Reply {
        attempt: row.get(1)?,
        prompt_sha256: row.get(2)?,
        seed: row.get::<_, i64>(3)?.unsigned_abs(),
        text: row.get(4)?,
        verdict: row.get(5)?,
        reason: row.get(6)?,
        finish: row.get(7)?,
        llm: row.get(8)?,
        prompt_tokens: row.get(9)?,
        completion_tokens: row.get(10)?,
        calls: row.get(11)?,
        elapsed_ms: row.get(12)?,
    };
    Ok((row.get(0)?, reply))
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
