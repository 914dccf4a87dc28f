//! Figures about a run: for the summary, the report and `verify`.

use rusqlite::params;

use super::{Store, image};
use crate::base::db::DbError;
use crate::dataset::ImageRef;
use crate::dataset::record::{Stage, Verdict};
use crate::dataset::sink::SinkSummary;
use crate::llm::Spent;

/// How often one code refused something in one stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectionCount {
    pub stage: String,
    pub code: String,
    pub count: u64,
}

/// Sums over every answer that was generated under one configuration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TokenTotals {
    pub answers: u64,
    pub accepted: u64,
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
}

/// Work one stage did over all sessions of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct StageTime {
    pub stage: String,
    pub items: u64,
    pub seconds: f64,
}

/// An export as it was last written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportRow {
    pub name: String,
    pub path: String,
    pub rows: u64,
    pub bytes: u64,
    pub sha256: String,
}

/// A photo as the run read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StampedPhoto {
    pub image: ImageRef,
    pub sha256: String,
    /// Size and time of change before it was read; empty where there was no telling.
    pub stamp: String,
}

impl Store {
    /// What the answers that are kept took, by model, those of settings of the past included.
    ///
    /// # Errors
    /// SQLite's.
    pub fn spent_on_answers(&self) -> Result<Vec<(String, Spent)>, DbError> {
        self.db.rows(
            "SELECT llm, count(*), sum(prompt_tokens), sum(completion_tokens) FROM answers
             GROUP BY llm",
            [],
            |row| {
                let spent = Spent {
                    calls: row.get(1)?,
                    prompt_tokens: row.get(2)?,
                    completion_tokens: row.get(3)?,
                    ..Spent::default()
                };
                Ok((row.get(0)?, spent))
            },
        )
    }

    /// Refusals by stage and code, most frequent first: of the source, the photos, the matching,
    /// the LLM, and of the filters under `answer_conf`. What the LLM declined is counted by its
    /// answers, as what the filters refused: only those of present pairs count.
    ///
    /// # Errors
    /// SQLite's.
    pub fn rejection_counts(
        &self,
        match_conf: &str,
        answer_conf: &str,
    ) -> Result<Vec<RejectionCount>, DbError> {
        self.db.rows(
            "SELECT stage, code, count(*) AS n FROM rejections
             WHERE (stage = 'image' OR conf IN ('', ?1, ?2) OR (stage = 'describe'
                 AND conf = (SELECT value FROM meta WHERE name = 'described')))
               AND code <> 'inapplicable'
             GROUP BY stage, code
             UNION ALL
             SELECT CASE a.verdict WHEN 'inapplicable' THEN 'answer' ELSE 'filter' END,
                 a.verdict, count(*) FROM answers a
             JOIN pairs p ON p.pair_key = a.pair_key AND p.conf = ?1
             JOIN items i ON i.seq = p.seq AND i.state = 'ready'
                 AND i.pass = (SELECT value FROM meta WHERE name = 'pass') + 0
             WHERE a.conf = ?2 AND a.verdict <> 'accepted' GROUP BY a.verdict
             ORDER BY n DESC, 1, 2",
            [match_conf, answer_conf],
            |row| Ok(RejectionCount { stage: row.get(0)?, code: row.get(1)?, count: row.get(2)? }),
        )
    }

    /// Up to `limit` examples of one kind of refusal: (subject, reason).
    ///
    /// # Errors
    /// SQLite's.
    pub fn rejection_examples(
        &self,
        stage: &str,
        code: &str,
        limit: usize,
    ) -> Result<Vec<(String, String)>, DbError> {
        let sql = if stage == Stage::Filter.name() || code == Verdict::INAPPLICABLE {
            "SELECT i.id || ' / attempt ' || a.attempt, a.reason FROM answers a
             JOIN pairs p ON p.pair_key = a.pair_key JOIN items i ON i.seq = p.seq
             WHERE ?1 <> '' AND a.verdict = ?2 ORDER BY p.seq, a.attempt LIMIT ?3"
        } else {
            "SELECT subject, reason FROM rejections WHERE stage = ?1 AND code = ?2
                 AND (stage <> 'describe'
                     OR conf = (SELECT value FROM meta WHERE name = 'described'))
             ORDER BY rowid LIMIT ?3"
        };
        self.db.rows(sql, params![stage, code, limit], |row| Ok((row.get(0)?, row.get(1)?)))
    }

    /// Pairs whose last call failed, so that they are asked again. Keys of failed calls of other
    /// roles begin with the role's name and a colon, which no pair's key has.
    ///
    /// # Errors
    /// SQLite's.
    pub fn count_failed_pairs(&self) -> Result<u64, DbError> {
        self.db.value("SELECT count(*) FROM failures WHERE instr(pair_key, ':') = 0", [])
    }

    /// Failed calls of all roles but the judge's, by code: (code, count, one reason).
    ///
    /// # Errors
    /// SQLite's.
    pub fn failure_counts(&self) -> Result<Vec<(String, u64, String)>, DbError> {
        self.db.rows(
            "SELECT code, count(*), min(reason) FROM failures GROUP BY code ORDER BY 2 DESC, 1",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
    }

    /// Items of the present source by state: (new, ready, rejected).
    ///
    /// # Errors
    /// SQLite's.
    pub fn item_states(&self, pass: i64) -> Result<(u64, u64, u64), DbError> {
        let count = |state: &str| {
            let sql = "SELECT count(*) FROM items WHERE pass = ?1 AND state = ?2";
            self.db.value(sql, params![pass, state])
        };
        Ok((count("new")?, count("ready")?, count("rejected")?))
    }

    /// Pairs of the present source under `match_conf`.
    ///
    /// # Errors
    /// SQLite's.
    pub fn count_current_pairs(&self, pass: i64, match_conf: &str) -> Result<u64, DbError> {
        self.db.value(
            "SELECT count(*) FROM pairs p JOIN items i ON i.seq = p.seq
             WHERE p.conf = ?2 AND i.pass = ?1 AND i.state = 'ready'",
            params![pass, match_conf],
        )
    }

    /// Token sums over the answers of present pairs.
    ///
    /// # Errors
    /// SQLite's.
    pub fn token_totals(&self, match_conf: &str, conf: &str) -> Result<TokenTotals, DbError> {
        let mut rows = self.db.rows(
            "SELECT count(*), count(DISTINCT CASE WHEN a.verdict = 'accepted' THEN a.pair_key END),
                    ifnull(sum(a.prompt_tokens), 0), ifnull(sum(a.completion_tokens), 0)
             FROM answers a JOIN pairs p ON p.pair_key = a.pair_key AND p.conf = ?1
             JOIN items i ON i.seq = p.seq AND i.state = 'ready'
                 AND i.pass = (SELECT value FROM meta WHERE name = 'pass') + 0
             WHERE a.conf = ?2",
            [match_conf, conf],
            |row| {
                Ok(TokenTotals {
                    answers: row.get(0)?,
                    accepted: row.get(1)?,
                    prompt_tokens: row.get(2)?,
                    completion_tokens: row.get(3)?,
                })
            },
        )?;
        // An aggregate query has exactly one row.
        Ok(rows.pop().unwrap_or_default())
    }

    /// Accepted answers that fewer filters than `filters` could judge: they are in a language that
    /// some filter has no words for.
    ///
    /// # Errors
    /// SQLite's.
    pub fn partly_judged(
        &self,
        match_conf: &str,
        conf: &str,
        filters: usize,
    ) -> Result<u64, DbError> {
        self.db.value(
            "SELECT count(*) FROM answers a
             JOIN pairs p ON p.pair_key = a.pair_key AND p.conf = ?1
             JOIN items i ON i.seq = p.seq AND i.state = 'ready'
                 AND i.pass = (SELECT value FROM meta WHERE name = 'pass') + 0
             WHERE a.conf = ?2 AND a.verdict = 'accepted' AND json_array_length(a.filters) < ?3",
            params![match_conf, conf, filters],
        )
    }

    /// Adds to a stage's work.
    ///
    /// # Errors
    /// SQLite's.
    pub fn add_stage_time(&self, stage: &str, items: u64, seconds: f64) -> Result<(), DbError> {
        self.db
            .execute(
                "INSERT INTO stage_times VALUES (?1, ?2, ?3)
             ON CONFLICT (stage) DO UPDATE SET items = items + ?2, seconds = seconds + ?3",
                params![stage, items, seconds],
            )
            .map(|_| ())
    }

    /// Every stage's work so far.
    ///
    /// # Errors
    /// SQLite's.
    pub fn stage_times(&self) -> Result<Vec<StageTime>, DbError> {
        self.db.rows("SELECT stage, items, seconds FROM stage_times ORDER BY rowid", [], |row| {
            Ok(StageTime { stage: row.get(0)?, items: row.get(1)?, seconds: row.get(2)? })
        })
    }

    /// Remembers a finished export.
    ///
    /// # Errors
    /// SQLite's.
    pub fn put_export(&self, name: &str, summary: &SinkSummary) -> Result<(), DbError> {
        let SinkSummary { path, rows, bytes, sha256 } = summary;
        self.db
            .execute(
                "INSERT OR REPLACE INTO exports VALUES (?1, ?2, ?3, ?4, ?5)",
                params![name, path.to_string_lossy(), rows, bytes, sha256],
            )
            .map(|_| ())
    }

    /// Forgets an export whose file is gone.
    ///
    /// # Errors
    /// SQLite's.
    pub fn remove_export(&self, name: &str) -> Result<(), DbError> {
        self.db.execute("DELETE FROM exports WHERE name = ?1", [name]).map(drop)
    }

    /// The exports as they were last written.
    ///
    /// # Errors
    /// SQLite's.
    pub fn exports(&self) -> Result<Vec<ExportRow>, DbError> {
        self.db.rows(
            "SELECT name, path, rows, bytes, sha256 FROM exports ORDER BY name",
            [],
            |row| {
                Ok(ExportRow {
                    name: row.get(0)?,
                    path: row.get(1)?,
                    rows: row.get(2)?,
                    bytes: row.get(3)?,
                    sha256: row.get(4)?,
                })
            },
        )
    }

    /// Adds this session's LLM calls to the run's.
    ///
    /// # Errors
    /// SQLite's.
    pub fn add_llm_calls(&self, calls: u64, retries: u64) -> Result<(), DbError> {
        let (earlier_calls, earlier_retries) = self.llm_calls()?;
        self.db.set_meta("llm_calls", &(earlier_calls + calls).to_string())?;
        self.db.set_meta("llm_retries", &(earlier_retries + retries).to_string())
    }

    /// LLM calls and retries over all sessions of the run.
    ///
    /// # Errors
    /// SQLite's.
    pub fn llm_calls(&self) -> Result<(u64, u64), DbError> {
        let number = |name| -> Result<u64, DbError> {
            Ok(self.db.meta(name)?.and_then(|text| text.parse().ok()).unwrap_or(0))
        };
        Ok((number("llm_calls")?, number("llm_retries")?))
    }

    /// The photo of an item by its own id, for `verify`.
    ///
    /// # Errors
    /// SQLite's.
    pub fn photo_of(&self, id: &str) -> Result<Option<StampedPhoto>, DbError> {
        self.db.row(
            "SELECT image, image_sha256, stamp FROM items WHERE id = ?1 AND state = 'ready'",
            [id],
            |row| {
                Ok(StampedPhoto { image: image(row, 0)?, sha256: row.get(1)?, stamp: row.get(2)? })
            },
        )
    }
}
