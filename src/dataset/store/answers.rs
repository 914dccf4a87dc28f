//! Answers with their verdicts, and calls that failed.

use rusqlite::{Row, params};

use super::Store;
use super::photo_replies::written;
use crate::base::db::{DbError, json_column};
use crate::dataset::record::{AnswerRow, Refused, Rejection, Stage, Verdict};

/// An answer whose verdict was made by other filter settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerToCheck {
    pub answer_key: String,
    pub text: String,
    pub finish: String,
    pub instruction: String,
    pub description: String,
}

/// The name of the mark that every refusal of a run was shown to be final.
const PROVEN: &str = "refusals are proven";

/// What a row of answers `a` holds, in the order in which [`answer`] reads it.
pub(super) const ANSWER: &str = "a.answer_key, a.pair_key, a.attempt, a.text, a.finish, a.llm,
    a.seed, a.examples, a.prompt_tokens, a.completion_tokens, a.verdict, a.reason, a.filters,
    a.reasoning";

impl Store {
    /// How many pairs there are under `match_conf`.
    ///
    /// # Errors
    /// SQLite's.
    pub fn count_pairs(&self, match_conf: &str) -> Result<u64, DbError> {
        self.db.value("SELECT count(*) FROM pairs WHERE conf = ?1", [match_conf])
    }

    /// Every attempt at one pair under `conf`, in order.
    ///
    /// # Errors
    /// SQLite's.
    pub fn attempts(&self, pair_key: &str, conf: &str) -> Result<Vec<AnswerRow>, DbError> {
        self.db.rows(
            &format!(
                "SELECT {ANSWER} FROM answers a WHERE a.pair_key = ?1 AND a.conf = ?2
                 ORDER BY a.attempt"
            ),
            [pair_key, conf],
            |row| answer(row, 0),
        )
    }

    /// Why a pair has no answer: (code, reason).
    ///
    /// # Errors
    /// SQLite's.
    pub fn why_no_answer(&self, pair_key: &str) -> Result<(String, String), DbError> {
        let mut rows = self.db.rows(
            "SELECT code, reason FROM failures WHERE pair_key = ?1
             UNION ALL SELECT code, reason FROM rejections WHERE stage = 'answer' AND key = ?1",
            [pair_key],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let waiting = || ("waiting".to_owned(), "not asked for yet".to_owned());
        Ok(rows.pop().unwrap_or_else(waiting))
    }

    /// Whether any call under `conf` was answered.
    ///
    /// # Errors
    /// SQLite's.
    pub fn has_answers(&self, conf: &str) -> Result<bool, DbError> {
        self.db.value("SELECT EXISTS (SELECT 1 FROM answers WHERE conf = ?1)", [conf])
    }

    /// Whether reasoning was kept beside any accepted answer under `conf`.
    ///
    /// # Errors
    /// SQLite's.
    pub fn has_reasoning(&self, conf: &str) -> Result<bool, DbError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM answers
                   WHERE conf = ?1 AND verdict = 'accepted' AND reasoning IS NOT NULL)";
        self.db.value(sql, [conf])
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
        self.db
            .execute(
                "INSERT OR REPLACE INTO answers VALUES
             (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
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
                    row.verdict.code(),
                    row.verdict.reason(),
                    json(&row.filters),
                    row.reasoning,
                ],
            )
            .map(|_| ())
    }

    /// Keeps a refusal that no second try would change (the server takes other prompts and not this
    /// one) in the place of the failure that it was until then. Both or neither only inside
    /// [`Database::together`](crate::base::db::Database::together).
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
        let Rejection { stage, code, reason, subject } = rejection;
        self.db.execute("DELETE FROM failures WHERE pair_key = ?1", [pair_key])?;
        self.db
            .execute(
                "INSERT INTO rejections (stage, subject, key, conf, code, reason)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![stage.name(), subject, pair_key, conf, code, reason],
            )
            .map(drop)
    }

    /// Forgets the refusals that releases up to 0.1.0 took for final though no answer came after
    /// them, so that these pairs are asked once more: under each conf those of pairs behind the last
    /// one with an answer. Does so once in a run's life. How many it forgot.
    ///
    /// # Errors
    /// SQLite's.
    pub fn reopen_unproven_refusals(&self) -> Result<usize, DbError> {
        if self.db.meta(PROVEN)?.is_some() {
            return Ok(0);
        }
        self.db.write(|transaction| {
            let forgotten = transaction.execute(
                "WITH last AS (
                     SELECT a.conf, max((p.seq << 32) + p.rank) AS place FROM answers a
                     JOIN pairs p ON p.pair_key = a.pair_key GROUP BY a.conf)
                 DELETE FROM rejections WHERE stage = 'answer' AND rowid IN (
                     SELECT r.rowid FROM rejections r JOIN pairs p ON p.pair_key = r.key
                     LEFT JOIN last ON last.conf = r.conf
                     WHERE r.stage = 'answer' AND r.code LIKE 'llm%'
                       AND (p.seq << 32) + p.rank > ifnull(last.place, -1))",
                [],
            )?;
            transaction.execute("INSERT INTO meta VALUES (?1, 'yes')", [PROVEN])?;
            Ok(forgotten)
        })
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

    /// Forgets failed calls for answers, so that they are tried again.
    ///
    /// # Errors
    /// SQLite's.
    pub fn clear_failures(&self) -> Result<usize, DbError> {
        // Those of other roles have the role before their key.
        self.db.execute("DELETE FROM failures WHERE instr(pair_key, ':') = 0", [])
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
            concat!(
                "SELECT a.answer_key, a.text, a.finish, n.text, coalesce(",
                written!(),
                ", i.description)
             FROM answers a JOIN pairs p ON p.pair_key = a.pair_key
             JOIN items i ON i.seq = p.seq JOIN instructions n ON n.key = p.instruction_key
             WHERE a.conf = ?1 AND a.filter_conf <> ?2 AND a.answer_key > ?3
             ORDER BY a.answer_key LIMIT ?4"
            ),
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
                update.execute(params![
                    answer_key,
                    filter_conf,
                    verdict.code(),
                    verdict.reason(),
                    json(filters)
                ])?;
            }
            Ok(())
        })
    }
}

/// The answer whose columns begin at `first`.
pub(super) fn answer(row: &Row<'_>, first: usize) -> rusqlite::Result<AnswerRow> {
    let (code, reason): (String, String) = (row.get(first + 10)?, row.get(first + 11)?);
    Ok(AnswerRow {
        answer_key: row.get(first)?,
        pair_key: row.get(first + 1)?,
        attempt: row.get(first + 2)?,
        text: row.get(first + 3)?,
        finish: row.get(first + 4)?,
        llm: row.get(first + 5)?,
        seed: row.get::<_, i64>(first + 6)?.unsigned_abs(),
        examples: json_column(row, first + 7)?,
        prompt_tokens: row.get(first + 8)?,
        completion_tokens: row.get(first + 9)?,
        verdict: match &*code {
            Verdict::ACCEPTED => Verdict::Pass,
            _ => Verdict::Reject(Refused { code, reason }),
        },
        filters: json_column(row, first + 12)?,
        reasoning: row.get(first + 13)?,
    })
}

fn json(names: &[String]) -> String {
    // A list of strings always serialises.
    serde_json::to_string(names).unwrap_or_default()
}
