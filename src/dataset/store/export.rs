//! Accepted samples in order, one at a time, for the exports.

use std::path::Path;

use rusqlite::{Row, params};

use super::{Store, StoreError, image};
use crate::dataset::record::{Lineage, Sample};

/// What all samples of a run share.
#[derive(Debug, Clone)]
pub struct SampleContext<'a> {
    pub match_conf: &'a str,
    pub answer_conf: &'a str,
    pub strategy: &'a str,
    pub prompt_hash: &'a str,
    pub encoder: &'a str,
    pub encoder_hash: &'a str,
    /// Image paths below this folder are written relative to it.
    pub image_root: Option<&'a Path>,
}

/// The accepted answer of each pair: the earliest attempt that passed every filter. What a
/// benchmark holds out is left out.
const ACCEPTED_SAMPLES: &str = "
    SELECT i.id, i.image, i.image_sha256, i.width, i.height, i.description,
           n.id, n.text, n.category, p.similarity, p.score, p.probability, p.rank,
           m.candidates, a.text, a.examples, a.llm, a.seed, a.prompt_tokens,
           a.completion_tokens, a.filters
    FROM pairs p
    JOIN items i ON i.seq = p.seq AND i.state = 'ready'
        AND i.pass = (SELECT value FROM meta WHERE name = 'pass') + 0
    JOIN matches m ON m.seq = p.seq
    JOIN instructions n ON n.key = p.instruction_key
    JOIN answers a ON a.answer_key = (
        SELECT answer_key FROM answers b WHERE b.pair_key = p.pair_key AND b.conf = ?2
            AND b.verdict = 'accepted' ORDER BY b.attempt LIMIT 1)
    WHERE p.conf = ?1
      AND NOT EXISTS (SELECT 1 FROM held_out h WHERE h.kind = 'image' AND h.key = i.image_sha256)
      AND NOT EXISTS (SELECT 1 FROM held_out h
          WHERE h.kind = 'instruction' AND h.key = p.instruction_key)
    ORDER BY p.seq, p.rank";

impl Store {
    /// Gives every accepted sample to `each`, in source order, with constant memory.
    ///
    /// # Errors
    /// SQLite's, or the first error of `each`.
    pub fn each_sample<E: From<StoreError>>(
        &self,
        context: &SampleContext<'_>,
        mut each: impl FnMut(Sample) -> Result<(), E>,
    ) -> Result<(), E> {
        let fail = |source| E::from(self.fail(source));
        let mut statement = self.connection.prepare(ACCEPTED_SAMPLES).map_err(fail)?;
        let mut rows =
            statement.query(params![context.match_conf, context.answer_conf]).map_err(fail)?;
        while let Some(row) = rows.next().map_err(fail)? {
            each(sample(row, context).map_err(fail)?)?;
        }
        Ok(())
    }
}

fn sample(row: &Row<'_>, context: &SampleContext<'_>) -> rusqlite::Result<Sample> {
    let item_id: String = row.get(0)?;
    let rank: u32 = row.get(12)?;
    Ok(Sample {
        id: format!("{item_id}-{rank}"),
        image: image(row, 1)?.export_name(context.image_root),
        instruction: row.get(7)?,
        answer: row.get(14)?,
        lineage: Lineage {
            item_id,
            image_sha256: row.get(2)?,
            width: row.get(3)?,
            height: row.get(4)?,
            description: row.get(5)?,
            instruction_id: row.get(6)?,
            category: row.get(8)?,
            similarity: row.get(9)?,
            score: row.get(10)?,
            probability: row.get(11)?,
            rank,
            strategy: context.strategy.to_owned(),
            candidates: json(row, 13)?,
            examples: json(row, 15)?,
            prompt_hash: context.prompt_hash.to_owned(),
            llm: row.get(16)?,
            seed: row.get::<_, i64>(17)?.unsigned_abs(),
            prompt_tokens: row.get(18)?,
            completion_tokens: row.get(19)?,
            encoder: context.encoder.to_owned(),
            encoder_hash: context.encoder_hash.to_owned(),
            filters_passed: json(row, 20)?,
        },
    })
}

fn json<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(
            column,
            rusqlite::types::Type::Text,
            Box::new(error),
        )
    })
}
