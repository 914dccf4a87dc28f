//! `evaluation.sqlite`: every raw reply of an evaluation. Results are derived from it.

use std::collections::HashMap;
use std::path::Path;

use rusqlite::{Row, params};
use serde::{Deserialize, Serialize};

use crate::base::db::{Database, DbError, Migration, Schema};
use crate::base::key::{Rekeyed, is_old};

/// Before a key in the name of the row of `meta` that holds its old one.
const OLD_KEY: &str = "old key:";

static SCHEMA: Schema = Schema {
    name: "evaluation",
    made_by: "pairwright evaluate ... --out DIR",
    code: "run_store",
    when_full: "free some space and run the same command again: finished work is kept",
    when_other_version: "; use a new --out folder",
    readable_from: 3,
    migrations: || {
        let steps = [
            include_str!("schema.sql"),
            include_str!("refused.sql"),
            include_str!("reasoning.sql"),
        ];
        steps.map(Migration::up).into()
    },
};

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
    /// What the model reasoned before it, where that was to be kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
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
    /// Whether the server takes others and refused this one: it is not asked again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub refused: bool,
}

/// The connection to an evaluation's store.
pub struct EvaluationStore {
    db: Database,
}

impl EvaluationStore {
    /// Opens the store at `path`, making it if it is not there.
    ///
    /// # Errors
    /// The file cannot be opened, is damaged or of another version.
    pub fn create(path: &Path) -> Result<Self, DbError> {
        Ok(Self { db: Database::create(path, &SCHEMA)? })
    }

    /// Opens an existing store for reading only, beside whoever writes it.
    ///
    /// # Errors
    /// As [`EvaluationStore::create`]; an absent one where there is none, or its making has only
    /// begun.
    pub fn open_to_read(path: &Path) -> Result<Self, DbError> {
        Ok(Self { db: Database::open_to_read(path, &SCHEMA)? })
    }

    /// Another connection to the same store.
    ///
    /// # Errors
    /// As [`EvaluationStore::create`].
    pub fn reopen(&self) -> Result<Self, DbError> {
        Ok(Self { db: self.db.reopen()? })
    }

    /// Keeps what calls left.
    ///
    /// # Errors
    /// SQLite's.
    pub fn put(&self, rows: &[Entry]) -> Result<(), DbError> {
        let put = |row: &Entry| match row {
            Entry::Reply(about, reply) => self.put_reply(about, reply),
            Entry::Failure(About { task_key, question_id, .. }, failure) => {
                self.put_failure(task_key, question_id, failure)
            }
        };
        self.db.together(|| rows.iter().try_for_each(put))
    }

    /// The database itself, for its named values.
    pub fn database(&self) -> &Database {
        &self.db
    }

    /// Keeps a reply at once: a kill after this loses nothing of it.
    ///
    /// # Errors
    /// SQLite's.
    pub fn put_reply(&self, about: &About, reply: &Reply) -> Result<(), DbError> {
        let About { task_key, question_id, shown_a, shown_b } = about;
        self.db
            .execute(
                "INSERT OR REPLACE INTO replies VALUES
             (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
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
                    reply.reasoning,
                ],
            )
            .map(drop)
    }

    /// Every reply by its task's key, in order of attempts.
    ///
    /// # Errors
    /// SQLite's.
    pub fn replies(&self) -> Result<HashMap<String, Vec<Reply>>, DbError> {
        let mut found: HashMap<String, Vec<Reply>> = HashMap::new();
        let rows = self.db.rows(
            "SELECT task_key, attempt, prompt_sha256, seed, text, verdict, reason, finish, llm,
                    prompt_tokens, completion_tokens, calls, elapsed_ms, reasoning
             FROM replies ORDER BY task_key, attempt",
            [],
            keyed_reply,
        )?;
        for (key, reply) in rows {
            found.entry(key).or_default().push(reply);
        }
        Ok(found)
    }

    /// Gives replies kept under a key of release 0.1.0 today's: `keys` gives pairs of both. With
    /// `names`, the old key is kept as well, see [`EvaluationStore::old_key`].
    ///
    /// # Errors
    /// SQLite's.
    pub fn rekey(
        &self,
        keys: impl FnOnce() -> Vec<(String, String)>,
        names: bool,
    ) -> Result<Rekeyed, DbError> {
        let count = format!("SELECT count(*) FROM replies WHERE {}", is_old("task_key"));
        let left = || self.db.value::<usize>(&count, []);
        if left()? == 0 {
            return Ok(Rekeyed::default());
        }
        let keys = keys();
        let moved = self.db.write(|transaction| {
            let mut moved = 0;
            for (old, new) in &keys {
                let sql = "UPDATE OR IGNORE replies SET task_key = ?2 WHERE task_key = ?1";
                let rows = transaction.prepare_cached(sql)?.execute([old, new])?;
                moved += rows;
                if names && rows > 0 {
                    let name = format!("{OLD_KEY}{new}");
                    let sql = "INSERT OR REPLACE INTO meta VALUES (?1, ?2)";
                    transaction.prepare_cached(sql)?.execute([&name, old])?;
                }
            }
            Ok(moved)
        })?;
        Ok(Rekeyed { moved, left: left()? })
    }

    /// The key that release 0.1.0 gave to what is kept under `key` now, where it was the name of
    /// something published.
    ///
    /// # Errors
    /// SQLite's.
    pub fn old_key(&self, key: &str) -> Result<Option<String>, DbError> {
        self.db.meta(&format!("{OLD_KEY}{key}"))
    }

    /// Keeps a failed call, to be made again at the next start unless it was refused for good.
    ///
    /// # Errors
    /// SQLite's.
    pub fn put_failure(
        &self,
        task_key: &str,
        question_id: &str,
        failure: &FailedCall,
    ) -> Result<(), DbError> {
        let FailedCall { code, reason, attempts, refused } = failure;
        self.db
            .execute(
                "INSERT OR REPLACE INTO failures VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![task_key, question_id, code, reason, attempts, refused],
            )
            .map(drop)
    }

    /// Every failure by its task's key.
    ///
    /// # Errors
    /// SQLite's.
    pub fn failures(&self) -> Result<HashMap<String, FailedCall>, DbError> {
        let sql = "SELECT task_key, code, reason, attempts, refused FROM failures";
        let rows = self.db.rows(sql, [], |row| {
            let (attempts, refused) = (row.get(3)?, row.get(4)?);
            let failure = FailedCall { code: row.get(1)?, reason: row.get(2)?, attempts, refused };
            Ok((row.get(0)?, failure))
        })?;
        Ok(rows.into_iter().collect())
    }

    /// Forgets failed calls that may pass now, so that they are made again.
    ///
    /// # Errors
    /// SQLite's.
    pub fn clear_failures(&self) -> Result<(), DbError> {
        self.db.execute("DELETE FROM failures WHERE refused = 0", []).map(drop)
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
        reasoning: row.get(13)?,
    };
    Ok((row.get(0)?, reply))
}

/// The stored replies and failures of an evaluation, by task.
#[derive(Default)]
pub struct Record {
    replies: HashMap<String, Vec<Reply>>,
    failures: HashMap<String, FailedCall>,
}

impl Record {
    /// Reads all of them.
    ///
    /// # Errors
    /// The store's.
    pub fn read(store: &EvaluationStore) -> Result<Self, DbError> {
        Ok(Self { replies: store.replies()?, failures: store.failures()? })
    }

    pub(super) fn replies(&self, key: &str) -> &[Reply] {
        self.replies.get(key).map_or(&[], Vec::as_slice)
    }

    pub(super) fn failure(&self, key: &str) -> Option<&FailedCall> {
        self.failures.get(key)
    }

    /// Whether the server refused this call for good.
    pub(super) fn is_refused(&self, key: &str) -> bool {
        self.failure(key).is_some_and(|failure| failure.refused)
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
