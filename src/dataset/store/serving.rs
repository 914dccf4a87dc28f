//! What a service reads of a run, perhaps while a job writes it.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, Row, params};

use super::matches::floats;
use super::{BUSY_TIMEOUT, SCHEMA_VERSION, Store, StoreError, WITHOUT_HELD_OUT, image, sqlite};
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

/// Connects to a store of one of the `known` versions for reading only, beside whoever writes it.
/// Nothing is written on the way: a writer that is just making the store would be refused.
///
/// # Errors
/// `NoRun` where there is none, or its making has only begun; `Version`; SQLite's.
pub fn connect_to_read(
    path: &Path,
    known: std::ops::RangeInclusive<i64>,
) -> Result<Connection, StoreError> {
    if !path.is_file() {
        return Err(StoreError::NoRun { path: path.to_owned() });
    }
    // Not SQLite's own read-only mode, which cannot open the log of a writer that has left.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.execute_batch("PRAGMA query_only = ON")?;
        let found = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        Ok((connection, found))
    };
    let (connection, found): (_, i64) = open().map_err(|source| sqlite(path, source))?;
    let path = path.to_owned();
    match found {
        0 => Err(StoreError::NoRun { path }),
        found if known.contains(&found) => Ok(connection),
        found => Err(StoreError::Version { path, found, wanted: *known.end() }),
    }
}

impl Store {
    /// Opens an existing store for reading only, beside whoever writes it.
    ///
    /// # Errors
    /// As [`Store::open`]; `NoRun` also where its making has only begun.
    pub fn open_to_read(path: &Path) -> Result<Self, StoreError> {
        let known = WITHOUT_HELD_OUT..=SCHEMA_VERSION;
        Ok(Self { connection: connect_to_read(path, known)?, path: path.to_owned() })
    }

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
    ) -> Result<Vec<ImageRow>, StoreError> {
        self.rows(
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
                    vector: floats(&row.get::<_, Vec<u8>>(4)?),
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
    ) -> Result<Vec<PairView>, StoreError> {
        self.rows(PAIRS, params![match_conf, answer_conf, after.0, after.1, limit], pair_view)
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
