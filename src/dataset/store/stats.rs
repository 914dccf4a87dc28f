//! Figures about a run: for the summary, the report and `verify`.

use rusqlite::{OptionalExtension, params};

use super::{Store, StoreError};
use crate::dataset::record::CandidateScore;
use crate::dataset::sink::SinkSummary;

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

/// A pair with what the report shows of it.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleRow {
    pub pair_key: String,
    pub item_id: String,
    pub image: String,
    pub width: u32,
    pub height: u32,
    pub description: String,
    pub instruction_id: String,
    pub instruction: String,
    pub category: Option<String>,
    pub similarity: f64,
    pub score: f64,
    pub probability: Option<f64>,
    pub rank: u32,
    pub candidates: Vec<CandidateScore>,
}

/// One answer that was generated for a pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptRow {
    pub attempt: u32,
    pub text: String,
    pub finish: String,
    pub verdict: String,
    pub reason: String,
    pub llm: String,
    pub seed: u64,
    pub examples: Vec<String>,
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
}

/// How many instructions a run knows, how often each was drawn and led to an accepted sample.
pub type InstructionUse = (String, String, Option<String>, u64, u64);

impl Store {
    /// Refusals by stage and code, most frequent first: of the source, the photos, the matching,
    /// the LLM, and of the filters under `answer_conf`.
    ///
    /// # Errors
    /// SQLite's.
    pub fn rejection_counts(
        &self,
        match_conf: &str,
        answer_conf: &str,
    ) -> Result<Vec<RejectionCount>, StoreError> {
        self.rows(
            "SELECT stage, code, count(*) AS n FROM rejections
             WHERE conf IN ('', ?1, ?2) GROUP BY stage, code
             UNION ALL
             SELECT 'filter', a.verdict, count(*) FROM answers a
             JOIN pairs p ON p.pair_key = a.pair_key AND p.conf = ?1
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
    ) -> Result<Vec<(String, String)>, StoreError> {
        let sql = if stage == "filter" {
            "SELECT i.id || ' / attempt ' || a.attempt, a.reason FROM answers a
             JOIN pairs p ON p.pair_key = a.pair_key JOIN items i ON i.seq = p.seq
             WHERE ?1 = 'filter' AND a.verdict = ?2 ORDER BY p.seq, a.attempt LIMIT ?3"
        } else {
            "SELECT subject, reason FROM rejections WHERE stage = ?1 AND code = ?2
             ORDER BY rowid LIMIT ?3"
        };
        self.rows(sql, params![stage, code, limit], |row| Ok((row.get(0)?, row.get(1)?)))
    }

    /// Failed calls by code: (code, count, one reason).
    ///
    /// # Errors
    /// SQLite's.
    pub fn failure_counts(&self) -> Result<Vec<(String, u64, String)>, StoreError> {
        self.rows(
            "SELECT code, count(*), min(reason) FROM failures GROUP BY code ORDER BY 2 DESC, 1",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
    }

    /// Items of the present source by state: (new, ready, rejected).
    ///
    /// # Errors
    /// SQLite's.
    pub fn item_states(&self, pass: i64) -> Result<(u64, u64, u64), StoreError> {
        let count = |state: &str| {
            let sql = "SELECT count(*) FROM items WHERE pass = ?1 AND state = ?2";
            self.count(sql, params![pass, state])
        };
        Ok((count("new")?, count("ready")?, count("rejected")?))
    }

    /// Ready items that have a match under `conf`.
    ///
    /// # Errors
    /// SQLite's.
    pub fn count_matched(&self, pass: i64, conf: &str) -> Result<u64, StoreError> {
        self.count(
            "SELECT count(*) FROM matches m JOIN items i ON i.seq = m.seq
             WHERE m.conf = ?2 AND i.pass = ?1 AND i.state = 'ready' AND m.item_key = i.item_key",
            params![pass, conf],
        )
    }

    /// Pairs of the present source under `match_conf`.
    ///
    /// # Errors
    /// SQLite's.
    pub fn count_current_pairs(&self, pass: i64, match_conf: &str) -> Result<u64, StoreError> {
        self.count(
            "SELECT count(*) FROM pairs p JOIN items i ON i.seq = p.seq
             WHERE p.conf = ?2 AND i.pass = ?1 AND i.state = 'ready'",
            params![pass, match_conf],
        )
    }

    /// Token sums over the answers of present pairs.
    ///
    /// # Errors
    /// SQLite's.
    pub fn token_totals(&self, match_conf: &str, conf: &str) -> Result<TokenTotals, StoreError> {
        let mut rows = self.rows(
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

    /// Adds to a stage's work.
    ///
    /// # Errors
    /// SQLite's.
    pub fn add_stage_time(&self, stage: &str, items: u64, seconds: f64) -> Result<(), StoreError> {
        self.execute(
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
    pub fn stage_times(&self) -> Result<Vec<StageTime>, StoreError> {
        self.rows("SELECT stage, items, seconds FROM stage_times ORDER BY rowid", [], |row| {
            Ok(StageTime { stage: row.get(0)?, items: row.get(1)?, seconds: row.get(2)? })
        })
    }

    /// Remembers a finished export.
    ///
    /// # Errors
    /// SQLite's.
    pub fn put_export(&self, name: &str, summary: &SinkSummary) -> Result<(), StoreError> {
        let SinkSummary { path, rows, bytes, sha256 } = summary;
        self.execute(
            "INSERT OR REPLACE INTO exports VALUES (?1, ?2, ?3, ?4, ?5)",
            params![name, path.to_string_lossy(), rows, bytes, sha256],
        )
        .map(|_| ())
    }

    /// The exports as they were last written.
    ///
    /// # Errors
    /// SQLite's.
    pub fn exports(&self) -> Result<Vec<ExportRow>, StoreError> {
        self.rows("SELECT name, path, rows, bytes, sha256 FROM exports ORDER BY name", [], |row| {
            Ok(ExportRow {
                name: row.get(0)?,
                path: row.get(1)?,
                rows: row.get(2)?,
                bytes: row.get(3)?,
                sha256: row.get(4)?,
            })
        })
    }

    /// Up to `limit` pairs spread evenly over the run, in order.
    ///
    /// # Errors
    /// SQLite's.
    pub fn spread_pairs(&self, match_conf: &str, limit: u64) -> Result<Vec<SampleRow>, StoreError> {
        let total = self.count_pairs(match_conf)?;
        let step = total.div_ceil(limit.max(1)).max(1);
        self.rows(
            "SELECT * FROM (
                 SELECT p.pair_key, i.id, i.image, i.width, i.height, i.description, n.id, n.text,
                        n.category, p.similarity, p.score, p.probability, p.rank, m.candidates,
                        row_number() OVER (ORDER BY p.seq, p.rank) - 1 AS place
                 FROM pairs p JOIN items i ON i.seq = p.seq AND i.state = 'ready'
                     AND i.pass = (SELECT value FROM meta WHERE name = 'pass') + 0
                 JOIN matches m ON m.seq = p.seq
                 JOIN instructions n ON n.key = p.instruction_key
                 WHERE p.conf = ?1)
             WHERE place % ?2 = 0 ORDER BY place",
            params![match_conf, step],
            sample_row,
        )
    }

    /// Every attempt at one pair under `conf`, in order.
    ///
    /// # Errors
    /// SQLite's.
    pub fn attempts(&self, pair_key: &str, conf: &str) -> Result<Vec<AttemptRow>, StoreError> {
        self.rows(
            "SELECT attempt, text, finish, verdict, reason, llm, seed, examples, prompt_tokens,
                    completion_tokens
             FROM answers WHERE pair_key = ?1 AND conf = ?2 ORDER BY attempt",
            [pair_key, conf],
            |row| {
                Ok(AttemptRow {
                    attempt: row.get(0)?,
                    text: row.get(1)?,
                    finish: row.get(2)?,
                    verdict: row.get(3)?,
                    reason: row.get(4)?,
                    llm: row.get(5)?,
                    seed: row.get::<_, i64>(6)?.unsigned_abs(),
                    examples: parse(&row.get::<_, String>(7)?),
                    prompt_tokens: row.get(8)?,
                    completion_tokens: row.get(9)?,
                })
            },
        )
    }

    /// For each instruction of the library `library`: (id, text, category, drawn, accepted).
    ///
    /// # Errors
    /// SQLite's.
    pub fn instruction_use(
        &self,
        library: &str,
        match_conf: &str,
        conf: &str,
    ) -> Result<Vec<InstructionUse>, StoreError> {
        self.rows(
            "SELECT n.id, n.text, n.category, count(p.pair_key),
                    count(DISTINCT CASE WHEN a.verdict = 'accepted' THEN p.pair_key END)
             FROM instructions n
             LEFT JOIN pairs p ON p.instruction_key = n.key AND p.conf = ?2
             LEFT JOIN answers a ON a.pair_key = p.pair_key AND a.conf = ?3
                 AND a.verdict = 'accepted'
             WHERE n.library = ?1 GROUP BY n.key ORDER BY 4 DESC, n.id",
            [library, match_conf, conf],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)),
        )
    }

    /// Gives every candidate's similarity to `each`, and whether it was drawn, for the
    /// histograms, with constant memory.
    ///
    /// # Errors
    /// SQLite's.
    pub fn each_similarity(
        &self,
        match_conf: &str,
        mut each: impl FnMut(f64, bool),
    ) -> Result<(), StoreError> {
        let mut read = || {
            let mut statement = self.connection.prepare(
                "SELECT m.candidates,
                        (SELECT json_group_array(n.id) FROM pairs p
                         JOIN instructions n ON n.key = p.instruction_key WHERE p.seq = m.seq)
                 FROM matches m JOIN items i ON i.seq = m.seq AND i.state = 'ready'
                 WHERE m.conf = ?1",
            )?;
            let mut rows = statement.query([match_conf])?;
            while let Some(row) = rows.next()? {
                let candidates: Vec<CandidateScore> = parse(&row.get::<_, String>(0)?);
                let drawn: Vec<String> = parse(&row.get::<_, String>(1)?);
                candidates.iter().for_each(|one| each(one.similarity, drawn.contains(&one.id)));
            }
            Ok(())
        };
        read().map_err(|source| self.fail(source))
    }

    /// Gives the length in words of every accepted answer to `each`.
    ///
    /// # Errors
    /// SQLite's.
    pub fn each_accepted_length(
        &self,
        match_conf: &str,
        conf: &str,
        mut each: impl FnMut(usize),
    ) -> Result<(), StoreError> {
        let mut read = || {
            let mut statement = self.connection.prepare(
                "SELECT a.text FROM answers a JOIN pairs p ON p.pair_key = a.pair_key
                 WHERE p.conf = ?1 AND a.conf = ?2 AND a.verdict = 'accepted'",
            )?;
            let mut rows = statement.query([match_conf, conf])?;
            while let Some(row) = rows.next()? {
                each(row.get_ref(0)?.as_str()?.split_whitespace().count());
            }
            Ok(())
        };
        read().map_err(|source| self.fail(source))
    }

    /// Why a pair has no answer: (code, reason).
    ///
    /// # Errors
    /// SQLite's.
    pub fn why_no_answer(&self, pair_key: &str) -> Result<(String, String), StoreError> {
        let mut rows = self.rows(
            "SELECT code, reason FROM failures WHERE pair_key = ?1
             UNION ALL SELECT code, reason FROM rejections WHERE stage = 'answer' AND key = ?1",
            [pair_key],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let waiting = || ("waiting".to_owned(), "not asked for yet".to_owned());
        Ok(rows.pop().unwrap_or_else(waiting))
    }

    /// Adds this session's LLM calls to the run's.
    ///
    /// # Errors
    /// SQLite's.
    pub fn add_llm_calls(&self, calls: u64, retries: u64) -> Result<(), StoreError> {
        let (earlier_calls, earlier_retries) = self.llm_calls()?;
        self.set_meta("llm_calls", &(earlier_calls + calls).to_string())?;
        self.set_meta("llm_retries", &(earlier_retries + retries).to_string())
    }

    /// LLM calls and retries over all sessions of the run.
    ///
    /// # Errors
    /// SQLite's.
    pub fn llm_calls(&self) -> Result<(u64, u64), StoreError> {
        let number = |name| -> Result<u64, StoreError> {
            Ok(self.meta(name)?.and_then(|text| text.parse().ok()).unwrap_or(0))
        };
        Ok((number("llm_calls")?, number("llm_retries")?))
    }

    /// The image path and hash of an item by its own id, for `verify`.
    ///
    /// # Errors
    /// SQLite's.
    pub fn image_of(&self, id: &str) -> Result<Option<(String, String)>, StoreError> {
        self.connection
            .query_row(
                "SELECT image, image_sha256 FROM items WHERE id = ?1 AND state = 'ready'",
                [id],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()
            .map_err(|source| self.fail(source))
    }
}

fn sample_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<SampleRow> {
    Ok(SampleRow {
        pair_key: row.get(0)?,
        item_id: row.get(1)?,
        image: row.get(2)?,
        width: row.get(3)?,
        height: row.get(4)?,
        description: row.get(5)?,
        instruction_id: row.get(6)?,
        instruction: row.get(7)?,
        category: row.get(8)?,
        similarity: row.get(9)?,
        score: row.get(10)?,
        probability: row.get(11)?,
        rank: row.get(12)?,
        candidates: parse(&row.get::<_, String>(13)?),
    })
}

/// Reads a list this store wrote itself; a damaged one shows as empty in figures.
fn parse<T: serde::de::DeserializeOwned>(text: &str) -> Vec<T> {
    serde_json::from_str(text).unwrap_or_default()
}
