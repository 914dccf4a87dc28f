//! The image stage's side of the store: items to decode, their embeddings or refusals.

use rusqlite::{OptionalExtension, Transaction, params};

use super::{Store, image, insert_rejection};
use crate::base::db::{DbError, vector_bytes, vector_column};
use crate::dataset::ImageRef;
use crate::dataset::record::{Rejection, Stage};

/// An item whose photo was not looked at yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewItem {
    pub seq: i64,
    pub id: String,
    pub image: ImageRef,
    pub description: String,
}

/// A decoded and embedded photo.
#[derive(Debug, Clone, PartialEq)]
pub struct DecodedItem {
    pub image_sha256: String,
    /// Key over the photo's bytes and the description.
    pub item_key: String,
    pub width: u32,
    pub height: u32,
    pub format: String,
    /// Unit vector of the photo.
    pub vector: Vec<f32>,
    /// Unit vector of the description, where the score uses it.
    pub caption: Option<Vec<f32>>,
    /// Perceptual hash of the photo.
    pub look: u64,
    /// The photo that the run has already and that is nearly the same.
    pub twin: Option<Twin>,
}

impl DecodedItem {
    /// Whether it is taken for nearly the same as the item of this id.
    pub fn is_twin_of(&self, id: &str) -> bool {
        self.twin.as_ref().is_some_and(|twin| twin.of == id)
    }
}

/// Of a photo that is nearly the same as one that the run has.
#[derive(Debug, Clone, PartialEq)]
pub struct Twin {
    /// Id of that one's item.
    pub of: String,
    /// Cosine of the two photos.
    pub similarity: f64,
    /// Whether it is refused as an `image_twin`.
    pub skip: bool,
}

/// What the photo of an item looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    pub seq: i64,
    /// Perceptual hash.
    pub look: u64,
}

/// What became of one item in the image stage.
#[derive(Debug, Clone, PartialEq)]
pub enum ImageOutcome {
    Ready(DecodedItem),
    Rejected(Rejection),
}

impl Store {
    /// Sends items back to the image stage that have no embedding by this encoder, or no caption
    /// embedding where the score wants one.
    ///
    /// # Errors
    /// SQLite's.
    pub fn reset_unembedded(&self, encoder: &str, captions: bool) -> Result<usize, DbError> {
        // The keys in one go: to look up each would read the vectors between them, too, anywhere in
        // the file.
        let missing = |column: &str, kind: &str| {
            let from = kind.len() + 1;
            format!(
                "{column} NOT IN (SELECT substr(key, {from}) FROM embeddings
                 WHERE encoder = ?1 AND substr(key, 1, {}) = '{kind}')",
                kind.len()
            )
        };
        let (image, caption) = (missing("image_sha256", "image:"), missing("item_key", "text:"));
        let condition = if captions { format!("({image} OR {caption})") } else { image };
        self.db.execute(
            &format!("UPDATE items SET state = 'new' WHERE state = 'ready' AND {condition}"),
            [encoder],
        )
    }

    /// Sends photos back to the image stage that were kept though they are nearly the same as
    /// others, once such photos are to be refused.
    ///
    /// # Errors
    /// SQLite's.
    pub fn reset_twins(&self, pass: i64) -> Result<usize, DbError> {
        self.db.execute(
            "UPDATE items SET state = 'new', item_key = NULL, look = NULL, twin_of = NULL
             WHERE state = 'ready' AND pass = ?1 AND twin_of IS NOT NULL",
            [pass],
        )
    }

    /// Sends refused photos back to the image stage whose reason may be gone: they were judged
    /// under other image settings than `conf`, or their twin has left the source.
    ///
    /// # Errors
    /// SQLite's.
    pub fn reset_refused(&self, pass: i64, conf: &str) -> Result<usize, DbError> {
        self.db.write(|transaction| {
            let reset = transaction.execute(
                "UPDATE items SET state = 'new', item_key = NULL WHERE state = 'rejected'
                 AND (EXISTS (SELECT 1 FROM rejections r WHERE r.stage = 'image'
                          AND r.key = items.id AND r.conf <> ?2)
                      OR (item_key IS NOT NULL AND NOT EXISTS (
                          SELECT 1 FROM items t WHERE t.item_key = items.item_key
                          AND t.state = 'ready' AND t.pass = ?1))
                      OR (twin_of IS NOT NULL AND NOT EXISTS (
                          SELECT 1 FROM items t WHERE t.id = items.twin_of
                          AND t.state = 'ready' AND t.pass = ?1)))",
                params![pass, conf],
            )?;
            transaction.execute(
                "DELETE FROM rejections WHERE stage = 'image'
                 AND key IN (SELECT id FROM items WHERE state = 'new')",
                [],
            )?;
            Ok(reset)
        })
    }

    /// The next items for the image stage, in source order, after `after`.
    ///
    /// # Errors
    /// SQLite's.
    pub fn new_items(&self, pass: i64, after: i64, limit: usize) -> Result<Vec<NewItem>, DbError> {
        self.db.rows(
            "SELECT seq, id, image, description FROM items
             WHERE state = 'new' AND pass = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
            params![pass, after, limit],
            |row| {
                Ok(NewItem {
                    seq: row.get(0)?,
                    id: row.get(1)?,
                    image: image(row, 2)?,
                    description: row.get(3)?,
                })
            },
        )
    }

    /// The looks of all photos that are embedded, in source order.
    ///
    /// # Errors
    /// SQLite's.
    pub fn looks(&self, pass: i64) -> Result<Vec<Look>, DbError> {
        self.db.rows(
            "SELECT seq, look FROM items
             WHERE state = 'ready' AND pass = ?1 AND look IS NOT NULL ORDER BY seq",
            [pass],
            |row| Ok(Look { seq: row.get(0)?, look: row.get::<_, i64>(1)?.cast_unsigned() }),
        )
    }

    /// The id and the photo's unit vector of an item, where it is embedded and not itself taken for
    /// nearly the same as the item of id `twin`.
    ///
    /// # Errors
    /// SQLite's.
    pub fn ready_item(
        &self,
        seq: i64,
        encoder: &str,
        twin: &str,
    ) -> Result<Option<(String, Vec<f32>)>, DbError> {
        self.db.row(
            "SELECT i.id, e.vector FROM items i
             JOIN embeddings e ON e.key = 'image:' || i.image_sha256 AND e.encoder = ?2
             WHERE i.seq = ?1 AND i.state = 'ready' AND i.twin_of IS NOT ?3",
            params![seq, encoder, twin],
            |row| Ok((row.get(0)?, vector_column(row, 1)?)),
        )
    }

    /// The item whose photo is nearly the same as this one's: its id and its photo's SHA-256, where
    /// it is still there.
    ///
    /// # Errors
    /// SQLite's.
    pub fn twin_of(&self, seq: i64) -> Result<Option<(String, String)>, DbError> {
        self.db.row(
            "SELECT t.id, t.image_sha256 FROM items i JOIN items t ON t.id = i.twin_of
             WHERE i.seq = ?1 AND t.state = 'ready' AND t.pass = i.pass",
            [seq],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
    }

    /// Gives each photo that is nearly the same as another to `each`, in source order: ids of both
    /// and the other's SHA-256.
    ///
    /// # Errors
    /// SQLite's.
    pub fn each_twin(&self, mut each: impl FnMut(&str)) -> Result<(), DbError> {
        let pairs = self.db.rows(
            "SELECT json_array(i.id, t.id, t.image_sha256)
             FROM items i JOIN items t ON t.id = i.twin_of AND t.pass = i.pass
             WHERE i.state = 'ready' AND t.state = 'ready' ORDER BY i.seq",
            [],
            |row| row.get::<_, String>(0),
        )?;
        pairs.iter().for_each(|pair| each(pair));
        Ok(())
    }

    /// How many photos are nearly the same as another that the run has, and are kept.
    ///
    /// # Errors
    /// SQLite's.
    pub fn count_twins(&self, pass: i64) -> Result<u64, DbError> {
        let sql =
            "SELECT count(*) FROM items i JOIN items t ON t.id = i.twin_of AND t.pass = i.pass
             WHERE i.state = 'ready' AND t.state = 'ready' AND i.pass = ?1";
        self.db.value(sql, [pass])
    }

    /// How many items wait for the image stage.
    ///
    /// # Errors
    /// SQLite's.
    pub fn count_new(&self, pass: i64) -> Result<u64, DbError> {
        self.db.value("SELECT count(*) FROM items WHERE state = 'new' AND pass = ?1", [pass])
    }

    /// Keeps a batch of outcomes, all or none; `conf` is the key of the image settings. Returns how many became ready; an item with the
    /// same photo and description as an earlier one becomes a `duplicate_item` rejection.
    ///
    /// # Errors
    /// SQLite's.
    pub fn put_images(
        &self,
        pass: i64,
        encoder: &str,
        conf: &str,
        batch: &[(NewItem, ImageOutcome)],
    ) -> Result<u64, DbError> {
        self.db.write(|transaction| {
            let mut ready = 0;
            for (item, outcome) in batch {
                match outcome {
                    ImageOutcome::Ready(decoded) => {
                        ready += put_ready(transaction, pass, encoder, conf, item, decoded)?;
                    }
                    ImageOutcome::Rejected(rejection) => {
                        reject(transaction, item, conf, rejection)?
                    }
                }
            }
            Ok(ready)
        })
    }
}

fn put_ready(
    transaction: &Transaction<'_>,
    pass: i64,
    encoder: &str,
    conf: &str,
    item: &NewItem,
    decoded: &DecodedItem,
) -> rusqlite::Result<u64> {
    let DecodedItem { image_sha256, item_key, width, height, format, vector, caption, .. } =
        decoded;
    if let Some(first) = earlier_twin(transaction, pass, item.seq, item_key)? {
        let reason = format!("same photo and description as item {first:?}");
        let code = "duplicate_item".to_owned();
        let subject = item.id.clone();
        let rejection = Rejection { stage: Stage::Image, code, reason, subject };
        reject(transaction, item, conf, &rejection)?;
        // The key is what finds it again when its twin leaves.
        let key = params![item.seq, item_key];
        transaction.execute("UPDATE items SET item_key = ?2 WHERE seq = ?1", key)?;
        return Ok(0);
    }
    let twin_of = decoded.twin.as_ref().map(|twin| twin.of.as_str());
    if let Some(Twin { of, similarity, skip: true }) = &decoded.twin {
        let reason = format!(
            "{}: nearly the same photo as that of item {of:?} (cosine {similarity:.3})",
            item.image
        );
        let (code, subject) = ("image_twin".to_owned(), item.id.clone());
        let rejection = Rejection { stage: Stage::Image, code, reason, subject };
        reject(transaction, item, conf, &rejection)?;
        // The id is what finds it again when the other leaves.
        let twin = params![item.seq, twin_of];
        let sql = "UPDATE items SET twin_of = ?2, item_key = NULL WHERE seq = ?1";
        transaction.execute(sql, twin)?;
        return Ok(0);
    }
    put_embedding(transaction, &format!("image:{image_sha256}"), encoder, vector)?;
    if let Some(vector) = caption {
        put_embedding(transaction, &format!("text:{item_key}"), encoder, vector)?;
    }
    transaction
        .prepare_cached(
            "UPDATE items SET state = 'ready', image_sha256 = ?2, item_key = ?3, width = ?4,
             height = ?5, format = ?6, look = ?7, twin_of = ?8 WHERE seq = ?1",
        )?
        .execute(params![
            item.seq,
            image_sha256,
            item_key,
            width,
            height,
            format,
            decoded.look.cast_signed(),
            twin_of
        ])?;
    Ok(1)
}

fn earlier_twin(
    transaction: &Transaction<'_>,
    pass: i64,
    seq: i64,
    item_key: &str,
) -> rusqlite::Result<Option<String>> {
    transaction
        .prepare_cached(
            "SELECT id FROM items WHERE item_key = ?1 AND pass = ?2 AND seq < ?3
             AND state = 'ready' ORDER BY seq LIMIT 1",
        )?
        .query_row(params![item_key, pass, seq], |row| row.get(0))
        .optional()
}

fn put_embedding(
    transaction: &Transaction<'_>,
    key: &str,
    encoder: &str,
    vector: &[f32],
) -> rusqlite::Result<()> {
    // IGNORE: the vector that was stored first stays, so that a resumed run matches with it.
    transaction
        .prepare_cached("INSERT OR IGNORE INTO embeddings VALUES (?1, ?2, ?3)")?
        .execute(params![key, encoder, vector_bytes(vector)])?;
    Ok(())
}

fn reject(
    transaction: &Transaction<'_>,
    item: &NewItem,
    conf: &str,
    rejection: &Rejection,
) -> rusqlite::Result<()> {
    transaction.execute("UPDATE items SET state = 'rejected' WHERE seq = ?1", [item.seq])?;
    // Rights are changed without a trace on the photo: it is looked at again by every run.
    let conf = if rejection.code == "remote_denied" { "" } else { conf };
    insert_rejection(transaction, rejection, &item.id, conf)
}
