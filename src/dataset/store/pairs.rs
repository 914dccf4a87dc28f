//! Drawn pairs as their readers get them: the answer stage, benchmarks, the service, the report
//! and the exports look at the tables through one view.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Row, params};

use super::answers::{ANSWER, answer};
use super::photo_replies::{grounded, written};
use super::{Store, image};
use crate::base::db::{DbError, json_column, optional_json};
use crate::dataset::record::{AnswerRow, CandidateScore, Lineage, Pair, Sample};

/// What the rows of [`PAIRS`] hold, in the order in which [`pair`] reads it.
pub(super) const PAIR: &str = concat!(
    "p.pair_key, p.seq, i.id, i.image, i.image_sha256, i.width, i.height, i.format,
    i.description, n.key, n.id, n.text, n.category, n.requires, p.rank, p.similarity, p.score,
    p.probability, i.descriptions, i.license, ",
    written!()
);

/// How many columns that is: what a reader adds comes behind them.
pub(super) const ADDED: usize = 21;

/// The pairs of the photos that the last reading of the source saw.
pub(super) const PAIRS: &str = "pairs p
    JOIN items i ON i.seq = p.seq AND i.state = 'ready'
        AND i.pass = (SELECT value FROM meta WHERE name = 'pass') + 0
    JOIN instructions n ON n.key = p.instruction_key";

/// Behind [`PAIRS`]: each with the earliest answer under ?2 that passed every filter.
pub(super) const ACCEPTED: &str = "JOIN answers a ON a.answer_key = (
    SELECT answer_key FROM answers b WHERE b.pair_key = p.pair_key AND b.conf = ?2
        AND b.verdict = 'accepted' ORDER BY b.attempt LIMIT 1)";

/// What exports leave out because a benchmark holds it out.
pub(super) const NOT_HELD_OUT: &str = "NOT EXISTS (SELECT 1 FROM held_out h
        WHERE h.kind = 'image' AND h.key = i.image_sha256)
    AND NOT EXISTS (SELECT 1 FROM held_out h
        WHERE h.kind = 'instruction' AND h.key = p.instruction_key)";

/// A pair and the answer that counts for it: the first accepted one, else the last refused one.
pub type AnsweredPair = (Pair, Option<AnswerRow>);

/// What all samples of a run share.
#[derive(Debug, Clone)]
pub struct SampleContext<'a> {
    pub match_conf: &'a str,
    pub answer_conf: &'a str,
    pub strategy: &'a str,
    pub prompt_hash: &'a str,
    pub encoder: &'a str,
    pub encoder_hash: &'a str,
    /// Photos below this folder are named relative to it.
    pub image_root: Option<&'a Path>,
}

/// Whether a pair matched under `?1` is to be asked for under `?2`, `?3` attempts in all.
const IS_OPEN: &str = "p.conf = ?1
    AND NOT EXISTS (SELECT 1 FROM answers a WHERE a.pair_key = p.pair_key AND a.conf = ?2
        AND (a.verdict IN ('accepted', 'inapplicable') OR a.attempt >= ?3))
    AND NOT EXISTS (SELECT 1 FROM failures f WHERE f.pair_key = p.pair_key)
    AND NOT EXISTS (SELECT 1 FROM rejections r WHERE r.stage = 'answer'
        AND r.key = p.pair_key AND r.conf = ?2)";

impl Store {
    /// How many pairs [`Self::pairs_to_answer`] would bring in all, and those whose calls failed in
    /// this run.
    ///
    /// # Errors
    /// SQLite's.
    pub fn count_to_answer(
        &self,
        match_conf: &str,
        conf: &str,
        attempts: u32,
    ) -> Result<u64, DbError> {
        let sql = format!("SELECT count(*) FROM {PAIRS} WHERE {IS_OPEN}");
        let open: u64 = self.db.value(&sql, params![match_conf, conf, attempts])?;
        let failed: u64 = self.db.value("SELECT count(*) FROM failures", [])?;
        Ok(open + failed)
    }

    /// The next pairs to answer, in order, after (`seq`, `rank`) `after`, each with the number of
    /// the attempt to make now, from 1: matched under `match_conf`, with no accepted answer under
    /// `conf`, fewer than `attempts` made, and no refusal or failure in this run.
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
    ) -> Result<Vec<(Pair, u32)>, DbError> {
        self.db.rows(
            &format!(
                "SELECT {PAIR},
                    (SELECT count(*) FROM answers a WHERE a.pair_key = p.pair_key AND a.conf = ?2)
                 FROM {PAIRS}
                 WHERE {IS_OPEN} AND (p.seq, p.rank) > (?4, ?5)
                 ORDER BY p.seq, p.rank LIMIT ?6"
            ),
            params![match_conf, conf, attempts, after.0, after.1, limit],
            |row| Ok((pair(row)?, row.get::<_, u32>(ADDED)? + 1)),
        )
    }

    /// Every pair of the present source under `match_conf`, in its order.
    ///
    /// # Errors
    /// SQLite's.
    pub fn pairs(&self, match_conf: &str) -> Result<Vec<Pair>, DbError> {
        self.db.rows(
            &format!("SELECT {PAIR} FROM {PAIRS} WHERE p.conf = ?1 ORDER BY p.seq, p.rank"),
            [match_conf],
            pair,
        )
    }

    /// Pairs of the present source in its order with their answers, after (`seq`, `rank`) `after`.
    ///
    /// # Errors
    /// SQLite's.
    pub fn answered_pairs(
        &self,
        match_conf: &str,
        answer_conf: &str,
        after: (i64, u32),
        limit: usize,
    ) -> Result<Vec<AnsweredPair>, DbError> {
        self.db.rows(
            &format!(
                "SELECT {PAIR}, {ANSWER} FROM {PAIRS}
                 LEFT JOIN answers a ON a.answer_key = (
                     SELECT answer_key FROM answers b WHERE b.pair_key = p.pair_key AND b.conf = ?2
                     ORDER BY b.verdict = 'accepted' DESC,
                              CASE WHEN b.verdict = 'accepted' THEN b.attempt ELSE -b.attempt END
                     LIMIT 1)
                 WHERE p.conf = ?1 AND (p.seq, p.rank) > (?3, ?4)
                 ORDER BY p.seq, p.rank LIMIT ?5"
            ),
            params![match_conf, answer_conf, after.0, after.1, limit],
            |row| {
                let answered = row.get::<_, Option<String>>(ADDED)?.is_some();
                Ok((pair(row)?, answered.then(|| answer(row, ADDED)).transpose()?))
            },
        )
    }

    /// Up to `limit` pairs spread evenly over the run, in order, with the candidates each was drawn
    /// from.
    ///
    /// # Errors
    /// SQLite's.
    pub fn spread_pairs(
        &self,
        match_conf: &str,
        limit: u64,
    ) -> Result<Vec<(Pair, Vec<CandidateScore>)>, DbError> {
        let total = self.count_current_pairs(self.pass()?, match_conf)?;
        let step = total.div_ceil(limit.max(1)).max(1);
        self.db.rows(
            &format!(
                "SELECT * FROM (
                     SELECT {PAIR}, m.candidates,
                            row_number() OVER (ORDER BY p.seq, p.rank) - 1 AS place
                     FROM {PAIRS} JOIN matches m ON m.seq = p.seq WHERE p.conf = ?1)
                 WHERE place % ?2 = 0 ORDER BY place"
            ),
            params![match_conf, step],
            |row| Ok((pair(row)?, json_column(row, ADDED)?)),
        )
    }

    /// Gives every accepted sample to `each`, in source order, with constant memory: the earliest
    /// attempt at each pair that passed every filter. What a benchmark holds out is left out. Without
    /// what measures say.
    ///
    /// # Errors
    /// SQLite's, or the first error of `each`.
    pub fn each_sample<E: From<DbError>>(
        &self,
        context: &SampleContext<'_>,
        each: impl FnMut(Sample) -> Result<(), E>,
    ) -> Result<(), E> {
        self.each_measured_sample(context, &[], each)
    }

    /// Whether there is any accepted sample that no benchmark holds out.
    ///
    /// # Errors
    /// SQLite's.
    pub fn has_samples(&self, context: &SampleContext<'_>) -> Result<bool, DbError> {
        let sql = format!(
            "SELECT EXISTS (SELECT 1 FROM {PAIRS} {ACCEPTED} WHERE p.conf = ?1 AND {NOT_HELD_OUT})"
        );
        self.db.value(&sql, [context.match_conf, context.answer_conf])
    }

    /// As [`Store::each_sample`], with what these measures say.
    ///
    /// # Errors
    /// As [`Store::each_sample`].
    pub fn each_measured_sample<E: From<DbError>>(
        &self,
        context: &SampleContext<'_>,
        measures: &[&str],
        mut each: impl FnMut(Sample) -> Result<(), E>,
    ) -> Result<(), E> {
        let sql = format!(
            "SELECT {PAIR}, m.candidates, {ANSWER} FROM {PAIRS}
             JOIN matches m ON m.seq = p.seq
             {ACCEPTED}
             WHERE p.conf = ?1 AND {NOT_HELD_OUT}
             ORDER BY p.seq, p.rank"
        );
        let values = params![context.match_conf, context.answer_conf];
        let read = |row: &Row<'_>| sample(row, context);
        self.db.each(&sql, values, read, |(answer_key, mut sample)| {
            if !measures.is_empty() {
                self.add_measures(&answer_key, measures, &mut sample)?;
            }
            each(sample)
        })
    }
}

pub(super) fn pair(row: &Row<'_>) -> rusqlite::Result<Pair> {
    let captions = optional_json(row, 18)?.unwrap_or_default();
    let (description, captions) = grounded(row.get(20)?, row.get(8)?, captions);
    Ok(Pair {
        key: row.get(0)?,
        seq: row.get(1)?,
        item_id: row.get(2)?,
        image: image(row, 3)?,
        image_sha256: row.get(4)?,
        width: row.get(5)?,
        height: row.get(6)?,
        format: row.get(7)?,
        description,
        instruction_key: row.get(9)?,
        instruction_id: row.get(10)?,
        instruction: row.get(11)?,
        category: row.get(12)?,
        requires: optional_json(row, 13)?,
        rank: row.get(14)?,
        similarity: row.get(15)?,
        score: row.get(16)?,
        probability: row.get(17)?,
        captions,
        license: row.get(19)?,
    })
}

/// A sample, and the key of its answer.
fn sample(row: &Row<'_>, context: &SampleContext<'_>) -> rusqlite::Result<(String, Sample)> {
    let (pair, answer) = (pair(row)?, answer(row, ADDED + 1)?);
    let sample = Sample {
        id: format!("{}-{}", pair.item_id, pair.rank),
        image: pair.image.export_name(context.image_root),
        instruction: pair.instruction,
        answer: answer.text,
        lineage: Lineage {
            item_id: pair.item_id,
            image_sha256: pair.image_sha256,
            width: pair.width,
            height: pair.height,
            license: pair.license,
            description: pair.description,
            instruction_id: pair.instruction_id,
            category: pair.category,
            requires: pair.requires,
            similarity: pair.similarity,
            score: pair.score,
            probability: pair.probability,
            rank: pair.rank,
            strategy: context.strategy.to_owned(),
            candidates: json_column(row, ADDED)?,
            examples: answer.examples,
            prompt_hash: context.prompt_hash.to_owned(),
            llm: answer.llm,
            seed: answer.seed,
            prompt_tokens: answer.prompt_tokens,
            completion_tokens: answer.completion_tokens,
            encoder: context.encoder.to_owned(),
            encoder_hash: context.encoder_hash.to_owned(),
            filters_passed: answer.filters,
            reasoning: answer.reasoning,
        },
        measures: BTreeMap::new(),
        measure_details: BTreeMap::new(),
    };
    Ok((answer.answer_key, sample))
}
