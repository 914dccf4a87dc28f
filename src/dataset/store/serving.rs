//! What a service reads of a run, perhaps while a job writes it.

use rusqlite::{Row, params};

use super::{Store, image};
use crate::base::db::{DbError, vector_column};
use crate::dataset::ImageRef;

/// An embedded photo.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageRow {
    /// Place in the source: where the next page goes on.
    pub seq: i64,
    /// The user's own id.
    pub id: String,
    pub image: ImageRef,
    pub description: String,
    /// Unit vector.
    pub vector: Vec<f32>,
}

/// A drawn pair and the answer that counts for it.
#[derive(Debug, Clone, PartialEq)]
pub struct PairView {
    /// Place in the source: with `rank`, where the next page goes on.
    pub seq: i64,
    /// 1 for the first instruction drawn for this photo.
    pub rank: u32,
    /// The user's own id of the photo.
    pub item_id: String,
    pub image: ImageRef,
    pub instruction_id: String,
    pub instruction: String,
    /// Cosine, in [-1, 1].
    pub similarity: f64,
    /// What the sampling used.
    pub score: f64,
    /// Of the draw, in (0, 1]; `None` where the strategy is not random.
    pub probability: Option<f64>,
    /// The first accepted answer, else the last refused one.
    pub answer: Option<PairAnswer>,
}

/// An answer as the filters left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairAnswer {
    pub text: String,
    /// `accepted`, or the code of the filter that refused it.
    pub verdict: String,
    /// Why it was refused; empty where it was not.
    pub reason: String,
    pub attempt: u32,
}

const PAIRS: &str = "
    SELECT p.seq, p.rank, i.id, i.image, n.id, n.text, p.similarity, p.score, p.probability,
           a.text, a.verdict, a.reason, a.attempt
    FROM pairs p
    JOIN items i ON i.seq = p.seq AND i.state = 'ready'
        AND i.pass = (SELECT value FROM meta WHERE name = 'pass') + 0
    JOIN instructions n ON n.key = p.instruction_key
    LEFT JOIN answers a ON a.answer_key = (
        SELECT answer_key FROM answers b WHERE b.pair_key = p.pair_key AND b.conf = ?2
        ORDER BY b.verdict = 'accepted' DESC,
                 CASE WHEN b.verdict = 'accepted' THEN b.attempt ELSE -b.attempt END LIMIT 1)
    WHERE p.conf = ?1 AND (p.seq, p.rank) > (?3, ?4) ORDER BY p.seq, p.rank LIMIT ?5";

impl Store {
    /// The embedded photos of the source in its order, after the one at `after`.
    ///
    /// # Errors
    /// SQLite's.
    pub fn image_rows(
        &self,
        pass: i64,
        encoder: &str,
        after: i64,
        limit: usize,
    ) -> Result<Vec<ImageRow>, DbError> {
        self.db.rows(
            "SELECT i.seq, i.id, i.image, i.description, e.vector FROM items i
             JOIN embeddings e ON e.key = 'image:' || i.image_sha256 AND e.encoder = ?2
             WHERE i.state = 'ready' AND i.pass = ?1 AND i.seq > ?3 ORDER BY i.seq LIMIT ?4",
            params![pass, encoder, after, limit],
            |row| {
                Ok(ImageRow {
                    seq: row.get(0)?,
                    id: row.get(1)?,
                    image: image(row, 2)?,
                    description: row.get(3)?,
                    vector: vector_column(row, 4)?,
                })
            },
        )
    }

    /// Pairs of the present source in its order with their answers, after (`seq`, `rank`) `after`.
    ///
    /// # Errors
    /// SQLite's.
    pub fn pair_views(
        &self,
        match_conf: &str,
        answer_conf: &str,
        after: (i64, u32),
        limit: usize,
    ) -> Result<Vec<PairView>, DbError> {
        self.db.rows(PAIRS, params![match_conf, answer_conf, after.0, after.1, limit], pair_view)
    }
}

fn pair_view(row: &Row<'_>) -> rusqlite::Result<PairView> {
    Ok(PairView {
        seq: row.get(0)?,
        rank: row.get(1)?,
        item_id: row.get(2)?,
        image: image(row, 3)?,
        instruction_id: row.get(4)?,
        instruction: row.get(5)?,
        similarity: row.get(6)?,
        score: row.get(7)?,
        probability: row.get(8)?,
        answer: pair_answer(row)?,
    })
}

fn pair_answer(row: &Row<'_>) -> rusqlite::Result<Option<PairAnswer>> {
    let Some(text) = row.get(9)? else { return Ok(None) };
    let (verdict, reason, attempt) = (row.get(10)?, row.get(11)?, row.get(12)?);
    Ok(Some(PairAnswer { text, verdict, reason, attempt }))
}
