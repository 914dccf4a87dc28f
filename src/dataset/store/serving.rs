//! What a service reads of a run, perhaps while a job writes it.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, params};

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
}
