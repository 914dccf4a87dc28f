//! Held-out instructions and photos: chosen for a benchmark, left out of every export.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Transaction, params};
use serde::{Deserialize, Serialize};

use super::Store;
use crate::base::db::{DbError, vector_column};

/// The meta value that says what was held out for which benchmark.
const BENCHMARK: &str = "held_out:benchmark";

/// A benchmark as the run remembers it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeldBenchmark {
    /// Its folder.
    pub folder: std::path::PathBuf,
    /// Cosine similarity from which a photo is a near-duplicate of a held-out one.
    pub near: f64,
    /// The pairs in the order of its questions.
    pub pairs: Vec<String>,
    /// The settings it was chosen under, in words.
    pub settings: String,
}

/// A photo that is nearly the same as one of the benchmark.
#[derive(Debug, Clone, PartialEq)]
pub struct NearDuplicate {
    pub image_sha256: String,
    /// The benchmark's photo.
    pub near: String,
    pub similarity: f64,
}

/// Everything that is held out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeldOut {
    /// SHA-256 of the benchmark's photos.
    pub images: BTreeSet<String>,
    /// SHA-256 of their near-duplicates, each with the benchmark's photo.
    pub near: BTreeMap<String, String>,
    /// Held-out instructions: their texts by key.
    pub instructions: BTreeMap<String, String>,
}

impl Store {
    /// Keys and texts of every instruction that the run knows.
    ///
    /// # Errors
    /// SQLite's.
    pub fn instruction_texts(&self) -> Result<Vec<(String, String)>, DbError> {
        self.db.rows("SELECT key, text FROM instructions ORDER BY key", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
    }

    /// Holds out a benchmark's photos and instructions, all or none.
    ///
    /// # Errors
    /// SQLite's.
    pub fn hold_out(
        &self,
        benchmark: &HeldBenchmark,
        images: &BTreeSet<&str>,
        instructions: &BTreeSet<&str>,
    ) -> Result<(), DbError> {
        // Paths that are no Unicode were refused before.
        let text = serde_json::to_string(benchmark).unwrap_or_default();
        self.db.write(|transaction| {
            let meta = "INSERT OR REPLACE INTO meta VALUES (?1, ?2)";
            transaction.execute(meta, params![BENCHMARK, text])?;
            hold(transaction, "image", images)?;
            hold(transaction, "instruction", instructions)
        })
    }

    /// Holds out near-duplicates of the benchmark's photos.
    ///
    /// # Errors
    /// SQLite's.
    pub fn hold_out_near(&self, found: &[NearDuplicate]) -> Result<(), DbError> {
        self.db.write(|transaction| {
            for NearDuplicate { image_sha256, near, similarity } in found {
                transaction.execute(
                    "INSERT OR IGNORE INTO held_out VALUES ('image', ?1, ?2, ?3)",
                    params![image_sha256, near, similarity],
                )?;
            }
            Ok(())
        })
    }

    /// The benchmark that was held out of this run, if any.
    ///
    /// # Errors
    /// SQLite's, or a damaged row.
    pub fn held_benchmark(&self) -> Result<Option<HeldBenchmark>, DbError> {
        self.db.meta_json(BENCHMARK)
    }

    /// Everything that is held out.
    ///
    /// # Errors
    /// SQLite's.
    pub fn held_out(&self) -> Result<HeldOut, DbError> {
        let mut held = HeldOut::default();
        let images = "SELECT key, near FROM held_out WHERE kind = 'image'";
        let rows =
            self.db.rows(images, [], |row| Ok((row.get(0)?, row.get::<_, Option<String>>(1)?)))?;
        for (key, near) in rows {
            match near {
                Some(near) => drop(held.near.insert(key, near)),
                None => drop(held.images.insert(key)),
            }
        }
        let instructions = "SELECT h.key, ifnull(n.text, '') FROM held_out h
             LEFT JOIN instructions n ON n.key = h.key WHERE h.kind = 'instruction'";
        let rows = self.db.rows(instructions, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        held.instructions = rows.into_iter().collect();
        Ok(held)
    }

    /// Gives the SHA-256 and the vector of every embedded photo to `each`, one at a time.
    ///
    /// # Errors
    /// SQLite's.
    pub fn each_image_vector(
        &self,
        encoder: &str,
        mut each: impl FnMut(&str, Vec<f32>),
    ) -> Result<(), DbError> {
        self.db.each(
            "SELECT substr(key, 7), vector FROM embeddings
             WHERE key >= 'image:' AND key < 'image;' AND encoder = ?1",
            [encoder],
            |row| Ok((row.get::<_, String>(0)?, vector_column(row, 1)?)),
            |(key, vector)| {
                each(&key, vector);
                Ok(())
            },
        )
    }
}

fn hold(transaction: &Transaction<'_>, kind: &str, keys: &BTreeSet<&str>) -> rusqlite::Result<()> {
    // REPLACE: a near-duplicate that is now chosen itself loses its mark.
    let mut insert =
        transaction.prepare("INSERT OR REPLACE INTO held_out VALUES (?1, ?2, NULL, NULL)")?;
    keys.iter().try_for_each(|key| insert.execute([kind, key]).map(|_| ()))
}

/// An instruction's words: letters and digits in small letters, one space between. Texts that
/// differ in nothing else are the same instruction.
pub fn plain_words(text: &str) -> String {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_compared_by_their_words() {
        assert_eq!(plain_words("Write a  POEM, please!"), plain_words("write a poem please"));
        assert_ne!(plain_words("Write a poem."), plain_words("Write a song."));
    }
}
