//! Values of measures: which samples lack one, and what there is.

use std::collections::BTreeMap;

use rusqlite::{Row, Transaction, params};

use super::Store;
use super::answers::{ANSWER, answer};
use super::pairs::{ACCEPTED, ADDED, NOT_HELD_OUT, PAIR, PAIRS, SampleContext, pair};
use crate::base::db::{DbError, optional_json, vector_column};
use crate::dataset::record::{AnswerRow, MeasureValue, Measured, Pair, Sample};

/// What one measure says of a run's accepted samples.
#[derive(Debug, Clone, PartialEq)]
pub struct MeasureTotals {
    pub measure: String,
    /// Samples that have a value.
    pub count: u64,
    pub mean: f64,
    pub min: f64,
    pub max: f64,
}

impl Store {
    /// The accepted samples of up to `photos` photos behind number `after`, in source order, photo by
    /// photo and all of a photo's: those photos of which a sample lacks this measure in this version.
    ///
    /// # Errors
    /// SQLite's.
    pub fn samples_to_measure(
        &self,
        context: &SampleContext<'_>,
        measure: &str,
        version: &str,
        (after, photos): (i64, usize),
    ) -> Result<Vec<(Pair, AnswerRow)>, DbError> {
        self.db.rows(
            &format!(
                "SELECT {PAIR}, {ANSWER} FROM {PAIRS} {ACCEPTED}
                 WHERE p.conf = ?1 AND p.seq IN (
                     SELECT DISTINCT p.seq FROM {PAIRS} {ACCEPTED}
                     WHERE p.conf = ?1 AND p.seq > ?6 AND NOT EXISTS (SELECT 1 FROM measures m
                         WHERE m.answer_key = a.answer_key AND m.measure = ?3 AND m.version = ?4)
                     ORDER BY p.seq LIMIT ?5)
                 ORDER BY p.seq, p.rank"
            ),
            params![context.match_conf, context.answer_conf, measure, version, photos, after],
            |row| Ok((pair(row)?, answer(row, ADDED)?)),
        )
    }

    /// Gives the key, the sample's id and the text of every accepted answer to `each`, in the order
    /// of the exports, one at a time.
    ///
    /// # Errors
    /// SQLite's.
    pub fn each_answer(
        &self,
        context: &SampleContext<'_>,
        mut each: impl FnMut(&str, &str, &str),
    ) -> Result<(), DbError> {
        self.db.each(
            &format!(
                "SELECT a.answer_key, i.id || '-' || p.rank, a.text FROM {PAIRS} {ACCEPTED}
                 WHERE p.conf = ?1 AND {NOT_HELD_OUT} ORDER BY p.seq, p.rank"
            ),
            params![context.match_conf, context.answer_conf],
            |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
            },
            |(key, id, text)| {
                each(&key, &id, &text);
                Ok(())
            },
        )
    }

    /// Whether a sample of an export lacks this measure in this version.
    ///
    /// # Errors
    /// SQLite's.
    pub fn lacks_measure(
        &self,
        context: &SampleContext<'_>,
        measure: &str,
        version: &str,
    ) -> Result<bool, DbError> {
        self.db.value(
            &format!(
                "SELECT EXISTS (SELECT 1 FROM {PAIRS} {ACCEPTED}
                 WHERE p.conf = ?1 AND {NOT_HELD_OUT} AND NOT EXISTS (SELECT 1 FROM measures m
                     WHERE m.answer_key = a.answer_key AND m.measure = ?3 AND m.version = ?4))"
            ),
            params![context.match_conf, context.answer_conf, measure, version],
        )
    }

    /// The unit vector of a photo by this encoder, where it is embedded.
    ///
    /// # Errors
    /// SQLite's.
    pub fn image_vector(&self, sha256: &str, encoder: &str) -> Result<Option<Vec<f32>>, DbError> {
        self.db.row(
            "SELECT vector FROM embeddings WHERE key = 'image:' || ?1 AND encoder = ?2",
            [sha256, encoder],
            |row| vector_column(row, 0),
        )
    }

    /// Keeps what a measure says by answer key, all or none.
    ///
    /// # Errors
    /// SQLite's.
    pub fn put_measures(
        &self,
        measure: &str,
        version: &str,
        values: &[(String, Measured)],
    ) -> Result<(), DbError> {
        self.db.write(|transaction| {
            values.iter().try_for_each(|(answer_key, measured)| {
                insert_measure(transaction, measure, version, answer_key, measured)
            })
        })
    }

    /// How many samples of an export each measure was taken of, those included of which it says
    /// nothing.
    ///
    /// # Errors
    /// SQLite's.
    pub fn measures_taken(
        &self,
        context: &SampleContext<'_>,
    ) -> Result<BTreeMap<String, u64>, DbError> {
        let rows = self.db.rows(
            &format!(
                "SELECT m.measure, count(*) FROM {PAIRS} {ACCEPTED}
                 JOIN measures m ON m.answer_key = a.answer_key
                 WHERE p.conf = ?1 AND {NOT_HELD_OUT} GROUP BY m.measure"
            ),
            [context.match_conf, context.answer_conf],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        Ok(rows.into_iter().collect())
    }

    /// What measures say of an answer, by their names.
    ///
    /// # Errors
    /// SQLite's.
    pub fn measures_of(&self, answer_key: &str) -> Result<BTreeMap<String, Measured>, DbError> {
        let rows = self.db.rows(
            "SELECT measure, value, said, detail FROM measures WHERE answer_key = ?1",
            [answer_key],
            |row| Ok((row.get(0)?, measured(row, 1)?)),
        )?;
        Ok(rows.into_iter().collect())
    }

    /// Adds what these measures say of a sample to it.
    pub(super) fn add_measures(
        &self,
        answer_key: &str,
        names: &[&str],
        sample: &mut Sample,
    ) -> Result<(), DbError> {
        for (name, Measured { value, detail }) in self.measures_of(answer_key)? {
            if !names.contains(&name.as_str()) {
                continue;
            }
            if let Some(detail) = detail {
                sample.measure_details.insert(name.clone(), detail);
            }
            if let Some(value) = value {
                sample.measures.insert(name, value);
            }
        }
        Ok(())
    }

    /// What the measures say of the accepted samples.
    ///
    /// # Errors
    /// SQLite's.
    pub fn measure_totals(
        &self,
        match_conf: &str,
        answer_conf: &str,
    ) -> Result<Vec<MeasureTotals>, DbError> {
        self.db.rows(
            &format!(
                "SELECT m.measure, count(*), avg(m.value), min(m.value), max(m.value)
                 FROM {PAIRS} {ACCEPTED} JOIN measures m ON m.answer_key = a.answer_key
                 WHERE p.conf = ?1 AND m.value IS NOT NULL GROUP BY m.measure ORDER BY m.measure"
            ),
            [match_conf, answer_conf],
            |row| {
                Ok(MeasureTotals {
                    measure: row.get(0)?,
                    count: row.get(1)?,
                    mean: row.get(2)?,
                    min: row.get(3)?,
                    max: row.get(4)?,
                })
            },
        )
    }
}

/// Keeps what a measure says of one answer.
pub(super) fn insert_measure(
    transaction: &Transaction<'_>,
    measure: &str,
    version: &str,
    answer_key: &str,
    Measured { value, detail }: &Measured,
) -> rusqlite::Result<()> {
    let (number, said) = match value {
        Some(MeasureValue::Number(number)) => (Some(number), None),
        Some(MeasureValue::Text(text)) => (None, Some(text)),
        None => (None, None),
    };
    transaction
        .prepare_cached("INSERT OR REPLACE INTO measures VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
        .execute(params![answer_key, measure, version, number, said, detail])?;
    Ok(())
}

/// A value, a word and a detail, whose columns begin at `first`.
fn measured(row: &Row<'_>, first: usize) -> rusqlite::Result<Measured> {
    // Neither JSON nor a threshold can do anything with an infinity.
    let number = row.get::<_, Option<f64>>(first)?.filter(|number| number.is_finite());
    let word: Option<String> = row.get(first + 1)?;
    let value = number.map(MeasureValue::Number).or(word.map(MeasureValue::Text));
    Ok(Measured { value, detail: optional_json(row, first + 2)? })
}
