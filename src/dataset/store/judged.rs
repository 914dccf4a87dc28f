//! Measures that a judge takes: its replies, the values that follow, and calls that failed.

use rusqlite::params;

use super::Store;
use super::answers::{ANSWER, answer};
use super::measures::insert_measure;
use super::pairs::{ACCEPTED, ADDED, PAIR, PAIRS, pair};
use crate::base::db::DbError;
use crate::dataset::record::{AnswerRow, Measured, Pair};

/// What a judge said about an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JudgeReply {
    pub answer_key: String,
    /// From 1.
    pub attempt: u32,
    /// The question's name.
    pub question: &'static str,
    pub text: String,
    /// Why the LLM stopped.
    pub finish: String,
    pub llm: String,
    /// Below 2^31.
    pub seed: u64,
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
}

/// What is kept of a call to the judge, all of a row or nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum Judged {
    Reply(JudgeReply),
    /// Each measure with its value, once nothing more is asked about the answer.
    Values(String, Vec<(&'static str, Measured)>),
    Failure {
        answer_key: String,
        code: String,
        reason: String,
    },
}

/// What a question's rows belong to.
#[derive(Debug, Clone, Copy)]
pub struct JudgedUnder<'a> {
    /// Key over question, prompts, model, settings and seed.
    pub conf: &'a str,
    /// Of the values.
    pub version: &'a str,
}

impl Store {
    /// The next accepted samples under these keys, in source order after (`seq`, `rank`) `after`, that lack one of
    /// `measures` in this version. What a benchmark holds out is left out.
    ///
    /// # Errors
    /// SQLite's.
    pub fn samples_to_judge(
        &self,
        [match_conf, answer_conf]: [&str; 2],
        measures: &[&str],
        version: &str,
        after: (i64, u32),
        limit: usize,
    ) -> Result<Vec<(Pair, AnswerRow)>, DbError> {
        let names = serde_json::Value::from(measures.to_vec());
        self.db.rows(
            &format!(
                "SELECT {PAIR}, {ANSWER} FROM {PAIRS} {ACCEPTED}
                 WHERE p.conf = ?1 AND (p.seq, p.rank) > (?5, ?6)
                   AND (SELECT count(*) FROM measures m WHERE m.answer_key = a.answer_key
                       AND m.version = ?4
                       AND m.measure IN (SELECT value FROM json_each(?3))) < json_array_length(?3)
                   AND NOT EXISTS (SELECT 1 FROM held_out h
                       WHERE h.kind = 'image' AND h.key = i.image_sha256)
                   AND NOT EXISTS (SELECT 1 FROM held_out h
                       WHERE h.kind = 'instruction' AND h.key = p.instruction_key)
                 ORDER BY p.seq, p.rank LIMIT ?7"
            ),
            params![match_conf, answer_conf, names, version, after.0, after.1, limit],
            |row| Ok((pair(row)?, answer(row, ADDED)?)),
        )
    }

    /// The replies about an answer under `conf`, text and finish of each, in the order of attempts.
    ///
    /// # Errors
    /// SQLite's.
    pub fn judge_replies(
        &self,
        answer_key: &str,
        conf: &str,
    ) -> Result<Vec<(String, String)>, DbError> {
        self.db.rows(
            "SELECT text, finish FROM judge_replies WHERE answer_key = ?1 AND conf = ?2
             ORDER BY attempt",
            [answer_key, conf],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
    }

    /// Whether any question under `conf` was answered.
    ///
    /// # Errors
    /// SQLite's.
    pub fn has_judge_replies(&self, conf: &str) -> Result<bool, DbError> {
        self.db.value("SELECT EXISTS (SELECT 1 FROM judge_replies WHERE conf = ?1)", [conf])
    }

    /// Keeps rows in their order, all or none. A value takes the place of a failure.
    ///
    /// # Errors
    /// SQLite's.
    pub fn put_judged(&self, under: JudgedUnder<'_>, rows: &[Judged]) -> Result<(), DbError> {
        let JudgedUnder { conf, version } = under;
        self.db.write(|transaction| {
            for row in rows {
                match row {
                    Judged::Reply(reply) => {
                        transaction
                            .prepare_cached(
                                "INSERT OR REPLACE INTO judge_replies VALUES
                                 (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                            )?
                            .execute(params![
                                reply.answer_key,
                                conf,
                                reply.attempt,
                                reply.question,
                                reply.text,
                                reply.finish,
                                reply.llm,
                                reply.seed,
                                reply.prompt_tokens,
                                reply.completion_tokens,
                            ])?;
                    }
                    Judged::Values(answer_key, values) => {
                        for (measure, measured) in values {
                            insert_measure(transaction, measure, version, answer_key, measured)?;
                        }
                        transaction
                            .prepare_cached(
                                "DELETE FROM judge_failures WHERE answer_key = ?1 AND conf = ?2",
                            )?
                            .execute([answer_key, conf])?;
                    }
                    Judged::Failure { answer_key, code, reason } => {
                        transaction
                            .prepare_cached(
                                "INSERT OR REPLACE INTO judge_failures VALUES (?1, ?2, ?3, ?4)",
                            )?
                            .execute([answer_key, conf, code, reason])?;
                    }
                }
            }
            Ok(())
        })
    }

    /// Forgets which questions failed: they are asked again.
    ///
    /// # Errors
    /// SQLite's.
    pub fn clear_judge_failures(&self) -> Result<(), DbError> {
        self.db.execute("DELETE FROM judge_failures", []).map(drop)
    }

    /// Failed questions by code: (code, count, one reason).
    ///
    /// # Errors
    /// SQLite's.
    pub fn judge_failure_counts(&self) -> Result<Vec<(String, u64, String)>, DbError> {
        self.db.rows(
            "SELECT code, count(*), min(reason) FROM judge_failures
             GROUP BY code ORDER BY 2 DESC, 1",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
    }

    /// Accepted samples without a value because the judge's replies could not be used:
    /// (measure, code, count).
    ///
    /// # Errors
    /// SQLite's.
    pub fn refused_measures(
        &self,
        match_conf: &str,
        answer_conf: &str,
    ) -> Result<Vec<(String, String, u64)>, DbError> {
        self.db.rows(
            &format!(
                "SELECT m.measure, m.detail ->> 'refused', count(*)
                 FROM {PAIRS} {ACCEPTED} JOIN measures m ON m.answer_key = a.answer_key
                 WHERE p.conf = ?1 AND m.value IS NULL AND m.said IS NULL
                   AND m.detail ->> 'refused' IS NOT NULL
                 GROUP BY 1, 2 ORDER BY 1, 2"
            ),
            [match_conf, answer_conf],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
    }
}
