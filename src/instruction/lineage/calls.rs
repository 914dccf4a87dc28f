//! Replies and vectors: what must never be paid for twice.

use std::collections::HashMap;

use rusqlite::params;

use super::GenerationStore;
use crate::base::db::{DbError, vector_bytes, vector_column};
use crate::base::key::{Rekeyed, is_old};
use crate::encoder::Embedding;
use crate::llm::{FinishReason, unfinished};

/// What `refused` holds for a refusal that an answer has shown to be final.
const PROVEN: i64 = 2;

/// A reply as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredReply {
    /// Key of all that was asked.
    pub key: String,
    /// `augment` or `summarize`.
    pub role: String,
    /// Description or cluster it concerns.
    pub subject: String,
    /// From 1.
    pub attempt: u32,
    /// As the server named it.
    pub model: String,
    /// As it was sent.
    pub seed: u64,
    pub text: String,
    /// What the LLM reasoned before it, where that was to be kept.
    pub reasoning: Option<String>,
    /// Why it ended: `stop`, `length`, ...
    pub finish: String,
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
}

impl StoredReply {
    /// Its text, or the code under which it is refused for how it ended. Of one that was cut at the
    /// limit only whole lines count.
    pub fn whole(&self) -> Result<&str, &'static str> {
        match unfinished(&self.finish) {
            Some(code) => Err(code),
            None if self.finish == FinishReason::Length.name() => {
                whole_lines(&self.text).ok_or("truncated")
            }
            None => Ok(&self.text),
        }
    }
}

/// What is whole of a text that was cut off somewhere: all but a last line that does not end as a
/// sentence does. Of JSON its reader takes what is complete.
fn whole_lines(text: &str) -> Option<&str> {
    let text = text.trim();
    let ends = text.ends_with(['.', '!', '?', '。', '！', '？', '؟', '"', '”', ')']);
    if ends || text.starts_with(['{', '[', '`']) {
        return Some(text);
    }
    text.rfind('\n').map(|end| text[..end].trim_end()).filter(|lines| !lines.is_empty())
}

/// A call without a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFailure {
    pub key: String,
    pub role: String,
    pub subject: String,
    pub code: String,
    pub reason: String,
    /// The server takes others and refused this one prompt: it is not asked again.
    pub refused: bool,
}

impl GenerationStore {
    /// The reply under `key`, if there is one.
    ///
    /// # Errors
    /// SQLite's.
    pub fn reply(&self, key: &str) -> Result<Option<StoredReply>, DbError> {
        self.db.row(
            "SELECT key, role, subject, attempt, model, seed, text, finish, prompt_tokens,
                    completion_tokens, reasoning FROM calls WHERE key = ?1",
            [key],
            stored_reply,
        )
    }

    /// Keeps a reply; an earlier failure of the same call is forgotten.
    ///
    /// # Errors
    /// SQLite's.
    pub fn put_reply(&self, reply: &StoredReply) -> Result<(), DbError> {
        let StoredReply { key, role, subject, attempt, model, seed, text, finish, .. } = reply;
        let reasoning = &reply.reasoning;
        let (prompt, completion) = (reply.prompt_tokens, reply.completion_tokens);
        self.db.write(|transaction| {
            transaction.execute("DELETE FROM failures WHERE key = ?1", [key])?;
            transaction.execute(
                "INSERT OR IGNORE INTO calls
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
                params![
                    key, role, subject, attempt, model, seed, text, finish, prompt, completion,
                    reasoning
                ],
            )?;
            Ok(())
        })
    }

    /// Gives the replies and refusals of `role` that are kept under keys of release 0.1.0 today's:
    /// `keys` gives pairs of both. Rows that refer to them follow.
    ///
    /// # Errors
    /// SQLite's.
    pub fn rekey(
        &self,
        role: &str,
        keys: impl FnOnce() -> Vec<(String, String)>,
    ) -> Result<Rekeyed, DbError> {
        let old = is_old("key");
        let left = |table: &str| format!("SELECT count(*) FROM {table} WHERE role = ?1 AND {old}");
        let count = |table| self.db.value::<usize>(&left(table), [role]);
        if count("calls")? + count("failures")? == 0 {
            return Ok(Rekeyed::default());
        }
        let keys = keys();
        let moved = self.db.write(|transaction| {
            transaction.execute_batch(
                "CREATE TEMP TABLE renamed (old TEXT PRIMARY KEY, new TEXT NOT NULL)",
            )?;
            let mut insert =
                transaction.prepare("INSERT OR IGNORE INTO renamed VALUES (?1, ?2)")?;
            keys.iter().try_for_each(|(old, new)| insert.execute([old, new]).map(drop))?;
            drop(insert);
            let rename = |table: &str, column: &str| {
                let sql = format!(
                    "UPDATE OR IGNORE {table}
                     SET {column} = (SELECT new FROM renamed WHERE old = {column})
                     WHERE {column} IN (SELECT old FROM renamed)"
                );
                transaction.execute(&sql, [])
            };
            let moved = rename("calls", "key")? + rename("failures", "key")?;
            for table in ["readings", "raws", "finals", "refusals"] {
                rename(table, "call_key")?;
            }
            transaction.execute_batch("DROP TABLE renamed")?;
            Ok(moved)
        })?;
        Ok(Rekeyed { moved, left: count("calls")? })
    }

    /// Keeps a failure.
    ///
    /// # Errors
    /// SQLite's.
    pub fn put_failure(&self, failure: &StoredFailure) -> Result<(), DbError> {
        let StoredFailure { key, role, subject, code, reason, refused } = failure;
        self.db.write(|transaction| {
            transaction.execute(
                "INSERT OR REPLACE INTO failures VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![key, role, subject, code, reason, if *refused { PROVEN } else { 0 }],
            )?;
            Ok(())
        })
    }

    /// Forgets failures that may pass now.
    ///
    /// # Errors
    /// SQLite's.
    pub fn clear_failures(&self) -> Result<(), DbError> {
        self.db
            .write(|transaction| transaction.execute("DELETE FROM failures WHERE refused = 0", []))
            .map(|_| ())
    }

    /// Whether the server refused the call under `key` for good. Releases up to 0.1.0 kept refusals
    /// without an answer that shows the server to take others; `unproven` says whether theirs count.
    ///
    /// # Errors
    /// SQLite's.
    pub fn is_refused(&self, key: &str, unproven: bool) -> Result<bool, DbError> {
        let least = if unproven { 1 } else { PROVEN };
        let sql = "SELECT EXISTS (SELECT 1 FROM failures WHERE key = ?1 AND refused >= ?2)";
        self.db.value(sql, params![key, least])
    }

    /// Every failure, refused calls included.
    ///
    /// # Errors
    /// SQLite's.
    pub fn failures(&self) -> Result<Vec<StoredFailure>, DbError> {
        self.db.rows("SELECT * FROM failures ORDER BY role, subject, key", [], |row| {
            Ok(StoredFailure {
                key: row.get(0)?,
                role: row.get(1)?,
                subject: row.get(2)?,
                code: row.get(3)?,
                reason: row.get(4)?,
                refused: row.get(5)?,
            })
        })
    }

    /// The vectors of those `keys` that have one.
    ///
    /// # Errors
    /// SQLite's.
    pub fn vectors(
        &self,
        encoder: &str,
        keys: &[String],
    ) -> Result<HashMap<String, Embedding>, DbError> {
        let mut found = HashMap::with_capacity(keys.len());
        for key in keys {
            let sql = "SELECT vector FROM vectors WHERE key = ?1 AND encoder = ?2";
            let vector = self.db.row(sql, [key.as_str(), encoder], |row| vector_column(row, 0))?;
            found.extend(vector.map(|vector| (key.clone(), vector)));
        }
        Ok(found)
    }

    /// Keeps vectors, all or none.
    ///
    /// # Errors
    /// SQLite's.
    pub fn put_vectors(
        &self,
        encoder: &str,
        vectors: &[(String, Embedding)],
    ) -> Result<(), DbError> {
        self.db.write(|transaction| {
            let mut insert =
                transaction.prepare_cached("INSERT OR REPLACE INTO vectors VALUES (?1, ?2, ?3)")?;
            for (key, vector) in vectors {
                insert.execute(params![key, encoder, vector_bytes(vector)])?;
            }
            Ok(())
        })
    }
}

fn stored_reply(row: &rusqlite::Row<'_>) -> rusqlite::Result<StoredReply> {
    Ok(StoredReply {
        key: row.get(0)?,
        role: row.get(1)?,
        subject: row.get(2)?,
        attempt: row.get(3)?,
        model: row.get(4)?,
        seed: row.get(5)?,
        text: row.get(6)?,
        finish: row.get(7)?,
        prompt_tokens: row.get(8)?,
        completion_tokens: row.get(9)?,
        reasoning: row.get(10)?,
    })
}
