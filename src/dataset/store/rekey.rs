//! Rows of release 0.1.0 get today's keys.

use rusqlite::{Transaction, params};

use super::Store;
use crate::base::db::DbError;
use crate::base::key::{Rekeyed, is_old};

/// Names of `meta` that are set once nothing under an old key is left.
const MATCHES: &str = "rekeyed:matches";
const ANSWERS: &str = "rekeyed:answers";

impl Store {
    /// Gives draws, pairs and statistics kept under `old` the key `new`, in one transaction.
    ///
    /// # Errors
    /// SQLite's.
    pub fn rekey_matches(&self, old: &str, new: &str) -> Result<Rekeyed, DbError> {
        self.rekey(MATCHES, "matches", |transaction| {
            let keys = [old, new];
            let moved =
                transaction.execute("UPDATE matches SET conf = ?2 WHERE conf = ?1", keys)?;
            transaction.execute("UPDATE pairs SET conf = ?2 WHERE conf = ?1", keys)?;
            rejections(transaction, "match", old, new)?;
            let hubness = "UPDATE meta SET name = 'hubness:' || ?2 WHERE name = 'hubness:' || ?1";
            transaction.execute(hubness, keys)?;
            settings(transaction, "settings:match", "$.conf", old, new)?;
            Ok(moved)
        })
    }

    /// Gives answers and refusals kept under the first of `answers` the second one as their key,
    /// in one transaction. What judged them stays, so that they are judged again.
    ///
    /// # Errors
    /// SQLite's.
    pub fn rekey_answers(&self, answers: [&str; 2]) -> Result<Rekeyed, DbError> {
        self.rekey(ANSWERS, "answers", |transaction| {
            // `answer_key` stays: it has to be unique and no more.
            let moved =
                transaction.execute("UPDATE answers SET conf = ?2 WHERE conf = ?1", answers)?;
            rejections(transaction, "answer", answers[0], answers[1])?;
            settings(transaction, "settings:answer", "$.conf", answers[0], answers[1])?;
            Ok(moved)
        })
    }

    fn rekey(
        &self,
        done: &str,
        table: &str,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<usize>,
    ) -> Result<Rekeyed, DbError> {
        if self.db.meta(done)?.is_some() {
            return Ok(Rekeyed::default());
        }
        self.db.write(|transaction| {
            let moved = work(transaction)?;
            let sql = format!("SELECT count(*) FROM {table} WHERE {}", is_old("conf"));
            let left: usize = transaction.query_row(&sql, [], |row| row.get(0))?;
            if left == 0 {
                transaction.execute("INSERT OR REPLACE INTO meta VALUES (?1, '')", [done])?;
            }
            Ok(Rekeyed { moved, left })
        })
    }
}

fn rejections(
    transaction: &Transaction<'_>,
    stage: &str,
    old: &str,
    new: &str,
) -> rusqlite::Result<()> {
    let sql = "UPDATE rejections SET conf = ?3 WHERE stage = ?1 AND conf = ?2";
    transaction.execute(sql, [stage, old, new]).map(drop)
}

fn settings(
    transaction: &Transaction<'_>,
    name: &str,
    field: &str,
    old: &str,
    new: &str,
) -> rusqlite::Result<()> {
    let sql = "UPDATE meta SET value = json_set(value, ?2, ?4)
         WHERE name = ?1 AND json_extract(value, ?2) = ?3";
    transaction.execute(sql, params![name, field, old, new]).map(drop)
}
