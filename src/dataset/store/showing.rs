//! What the report shows: pairs with their answers, instructions and histograms' values.

use rusqlite::params;

use super::{Store, StoreError, image};
use crate::dataset::ImageRef;
use crate::dataset::record::CandidateScore;

/// A pair with what the report shows of it.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleRow {
    pub pair_key: String,
    pub item_id: String,
    pub image: ImageRef,
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
    /// Up to `limit` pairs spread evenly over the run, in order.
    ///
    /// # Errors
    /// SQLite's.
    pub fn spread_pairs(&self, match_conf: &str, limit: u64) -> Result<Vec<SampleRow>, StoreError> {
        let total = self.count_current_pairs(self.pass()?, match_conf)?;
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
}

fn sample_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<SampleRow> {
    Ok(SampleRow {
        pair_key: row.get(0)?,
        item_id: row.get(1)?,
        image: image(row, 2)?,
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
