//! The answer stage's side of the store: pairs in, answers, verdicts and failures out.

use rusqlite::{Row, params};

use super::{Store, insert_rejection};
use crate::answer::filter::Verdict;
use crate::base::db::DbError;
use crate::dataset::record::{Rejection, Stage};

/// A pair that has no accepted answer under the present configuration and attempts left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairToAnswer {
    pub seq: i64,
    pub rank: u32,
    pub pair_key: String,
    /// The user's own id of the item.
    pub item_id: String,
    pub description: String,
    pub instruction_id: String,
    pub instruction: String,
    /// The attempt to make now; 1 is the first.
    pub attempt: u32,
}

/// A generated answer and what the filters said.
#[derive(Debug, Clone, PartialEq)]
pub struct AnswerRow {
    pub answer_key: String,
    pub pair_key: String,
    pub attempt: u32,
    pub text: String,
    pub finish: String,
    pub llm: String,
    pub seed: u64,
    pub examples: Vec<String>,
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    pub verdict: Verdict,
    pub filters: Vec<String>,
}

/// An answer whose verdict was made by other filter settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerToCheck {
    pub answer_key: String,
    pub text: String,
    pub finish: String,
    pub instruction: String,
    pub description: String,
}

/// The verdict column of an accepted answer; a rejected one holds the filter's code.
pub const ACCEPTED: &str = "accepted";

impl Store {
    /// The next pairs to answer, in order, after (`seq`, `rank`) `after`: matched under
    /// `match_conf`, with no accepted answer under `conf`, fewer than `attempts` made, and no
    /// refusal or failure in this run.
    ///
    /// # Errors
    /// SQLite's.
    pub fn pairs_to_answer(
        &self,
        match_conf: &str,
        conf: &str,
        attempts: u32,
        after: (i64, u32),
        limit: usize,
    ) -> Result<Vec<PairToAnswer>, DbError> {
        self.db.rows(
            "SELECT p.seq, p.rank, p.pair_key, i.id, i.description, n.id, n.text,
                    (SELECT count(*) FROM answers a WHERE a.pair_key = p.pair_key AND a.conf = ?2)
             FROM pairs p
             JOIN items i ON i.seq = p.seq AND i.state = 'ready'
                 AND i.pass = (SELECT value FROM meta WHERE name = 'pass') + 0
             JOIN instructions n ON n.key = p.instruction_key
             WHERE p.conf = ?1 AND (p.seq, p.rank) > (?4, ?5)
               AND NOT EXISTS (SELECT 1 FROM answers a WHERE a.pair_key = p.pair_key
                   AND a.conf = ?2 AND (a.verdict = 'accepted' OR a.attempt >= ?3))
               AND NOT EXISTS (SELECT 1 FROM failures f WHERE f.pair_key = p.pair_key)
               AND NOT EXISTS (SELECT 1 FROM rejections r WHERE r.stage = 'answer'
                   AND r.key = p.pair_key AND r.conf = ?2)
             ORDER BY p.seq, p.rank LIMIT ?6",
            params![match_conf, conf, attempts, after.0, after.1, limit],
            pair_to_answer,
        )
    }

    /// How many pairs there are under `match_conf`.
    ///
    /// # Errors
    /// SQLite's.
    pub fn count_pairs(&self, match_conf: &str) -> Result<u64, DbError> {
        self.db.value("SELECT count(*) FROM pairs WHERE conf = ?1", [match_conf])
    }

    /// Keeps an answer and its verdict.
    ///
    /// # Errors
    /// SQLite's.
    pub fn put_answer(
        &self,
        conf: &str,
        filter_conf: &str,
        row: &AnswerRow,
    ) -> Result<(), DbError> {
        let (verdict, reason) = verdict_columns(&row.verdict);
        self.db
            .execute(
                "INSERT OR REPLACE INTO answers VALUES
             (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
                params![
                    row.answer_key,
                    row.pair_key,
                    conf,
                    row.attempt,
                    row.text,
                    row.finish,
                    row.llm,
                    // Seeds are below 2^31: see `answer::prompt`.
                    row.seed as i64,
                    json(&row.examples),
                    row.prompt_tokens,
                    row.completion_tokens,
                    filter_conf,
                    verdict,
                    reason,
                    json(&row.filters),
                ],
            )
            .map(|_| ())
    }

    /// Keeps a refusal that no second try would change (the server says the request is bad).
    ///
    /// # Errors
    /// SQLite's.
    pub fn put_answer_rejection(
        &self,
        conf: &str,
        pair_key: &str,
        rejection: &Rejection,
    ) -> Result<(), DbError> {
        debug_assert_eq!(rejection.stage, Stage::Answer);
        self.db.write(|transaction| insert_rejection(transaction, rejection, pair_key, conf))
    }

    /// Keeps a failed call, to be tried again at the next resume.
    ///
    /// # Errors
    /// SQLite's.
    pub fn put_failure(
        &self,
        conf: &str,
        pair_key: &str,
        failure: &Rejection,
        attempts: u32,
    ) -> Result<(), DbError> {
        let Rejection { code, reason, subject, .. } = failure;
        self.db
            .execute(
                "INSERT OR REPLACE INTO failures VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![pair_key, conf, subject, code, reason, attempts],
            )
            .map(|_| ())
    }

    /// Forgets failed calls, so that they are tried again.
    ///
    /// # Errors
    /// SQLite's.
    pub fn clear_failures(&self) -> Result<usize, DbError> {
        self.db.execute("DELETE FROM failures", [])
    }

    /// Answers under `conf` that other filter settings judged, after `after`.
    ///
    /// # Errors
    /// SQLite's.
    pub fn answers_to_check(
        &self,
        conf: &str,
        filter_conf: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<AnswerToCheck>, DbError> {
        self.db.rows(
            "SELECT a.answer_key, a.text, a.finish, n.text, i.description
             FROM answers a JOIN pairs p ON p.pair_key = a.pair_key
             JOIN items i ON i.seq = p.seq JOIN instructions n ON n.key = p.instruction_key
             WHERE a.conf = ?1 AND a.filter_conf <> ?2 AND a.answer_key > ?3
             ORDER BY a.answer_key LIMIT ?4",
            params![conf, filter_conf, after, limit],
            |row| {
                Ok(AnswerToCheck {
                    answer_key: row.get(0)?,
                    text: row.get(1)?,
                    finish: row.get(2)?,
                    instruction: row.get(3)?,
                    description: row.get(4)?,
                })
            },
        )
    }

    /// Replaces verdicts, all or none.
    ///
    /// # Errors
    /// SQLite's.
    pub fn put_verdicts(
        &self,
        filter_conf: &str,
        verdicts: &[(String, Verdict, Vec<String>)],
    ) -> Result<(), DbError> {
        self.db.write(|transaction| {
            let mut update = transaction.prepare_cached(
                "UPDATE answers SET filter_conf = ?2, verdict = ?3, reason = ?4, filters = ?5
                 WHERE answer_key = ?1",
            )?;
            for (answer_key, verdict, filters) in verdicts {
                let (code, reason) = verdict_columns(verdict);
                update.execute(params![answer_key, filter_conf, code, reason, json(filters)])?;
            }
            Ok(())
        })
    }
}

fn pair_to_answer(row: &Row<'_>) -> rusqlite::Result<PairToAnswer> {
    Ok(PairToAnswer {
        seq: row.get(0)?,
        rank: row.get(1)?,
        pair_key: row.get(2)?,
        item_id: row.get(3)?,
        description: row.get(4)?,
        instruction_id: row.get(5)?,
        instruction: row.get(6)?,
        attempt: row.get::<_, u32>(7)? + 1,
    })
}

fn verdict_columns(verdict: &Verdict) -> (&str, &str) {
    match verdict {
        Verdict::Pass => (ACCEPTED, ""),
        Verdict::Reject(refused) => (&refused.code, &refused.reason),
    }
}

fn json(names: &[String]) -> String {
    // A list of strings always serialises.
    serde_json::to_string(names).unwrap_or_default()
}
