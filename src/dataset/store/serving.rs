//! What a service reads of a run, perhaps while a job writes it.

use rusqlite::params;

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
}
