//! What a reading of the source changes in the store.

use rusqlite::{Transaction, params};

use super::{Store, insert_rejection};
use crate::base::db::DbError;
use crate::dataset::record::{Rejection, SourceRecord, Stage};

/// What one reading of the source came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IngestSummary {
    /// Records the source holds now.
    pub records: u64,
    /// Of them, records that are new or changed since the last reading.
    pub new_or_changed: u64,
    /// Records of earlier readings that the source no longer holds.
    pub gone: u64,
    /// Entries of the source that were refused.
    pub rejected: u64,
}

/// A record and its image file's stamp (size and time of change), empty where there is no file.
pub type StampedRecord = (SourceRecord, String);

impl Store {
    /// Begins a reading of the source: earlier refusals of the source are forgotten, they are
    /// found again. Returns the reading's number.
    ///
    /// # Errors
    /// SQLite's.
    pub fn begin_pass(&self) -> Result<i64, DbError> {
        let pass = self.pass()? + 1;
        self.db.write(|transaction| {
            transaction.execute("DELETE FROM rejections WHERE stage = 'source'", [])?;
            transaction
                .execute("INSERT OR REPLACE INTO meta VALUES ('pass', ?1)", [pass.to_string()])?;
            Ok(pass)
        })
    }

    /// The number of the last reading of the source, 0 before the first.
    ///
    /// # Errors
    /// SQLite's.
    pub fn pass(&self) -> Result<i64, DbError> {
        Ok(self.db.meta("pass")?.and_then(|value| value.parse().ok()).unwrap_or(0))
    }

    /// Stores records of a reading: a new one is added, a changed one starts again, an unchanged
    /// one stays as it is. Returns how many are new or changed.
    ///
    /// # Errors
    /// SQLite's.
    pub fn put_records(&self, pass: i64, records: &[StampedRecord]) -> Result<u64, DbError> {
        self.db.write(|transaction| {
            let mut changed = 0;
            for (record, stamp) in records {
                changed += put_record(transaction, pass, record, stamp)?;
            }
            Ok(changed)
        })
    }

    /// Stores refusals of the source.
    ///
    /// # Errors
    /// SQLite's.
    pub fn put_source_rejections(&self, rejections: &[Rejection]) -> Result<(), DbError> {
        self.db.write(|transaction| {
            rejections
                .iter()
                .try_for_each(|one| insert_rejection(transaction, one, &one.subject, ""))
        })
    }

    /// Whether the source told the licence of any photo.
    ///
    /// # Errors
    /// SQLite's.
    pub fn has_licenses(&self) -> Result<bool, DbError> {
        self.db.value("SELECT EXISTS (SELECT 1 FROM items WHERE license IS NOT NULL)", [])
    }

    /// Totals of the reading `pass`, once it is complete.
    ///
    /// # Errors
    /// SQLite's.
    pub fn pass_summary(&self, pass: i64, changed: u64) -> Result<IngestSummary, DbError> {
        let stage = Stage::Source.name();
        Ok(IngestSummary {
            records: self.db.value("SELECT count(*) FROM items WHERE pass = ?1", [pass])?,
            new_or_changed: changed,
            gone: self.db.value("SELECT count(*) FROM items WHERE pass < ?1", [pass])?,
            rejected: self.db.value("SELECT count(*) FROM rejections WHERE stage = ?1", [stage])?,
        })
    }
}

fn put_record(
    transaction: &Transaction<'_>,
    pass: i64,
    record: &SourceRecord,
    stamp: &str,
) -> rusqlite::Result<u64> {
    let SourceRecord { id, image, description, descriptions, origin, license } = record;
    let image = image.to_text();
    let several = !descriptions.is_empty();
    // Nothing that a key rests on: a run that was made without them gets them, too.
    let descriptions =
        several.then(|| serde_json::Value::from(descriptions.as_slice()).to_string());
    let unchanged = transaction
        .prepare_cached(
            "UPDATE items SET pass = ?1, origin = ?2, descriptions = ?7, license = ?8
             WHERE id = ?3 AND image = ?4 AND description = ?5 AND stamp = ?6",
        )?
        .execute(params![pass, origin, id, image, description, stamp, descriptions, license])?;
    if unchanged == 1 {
        return Ok(0);
    }
    transaction.execute("DELETE FROM rejections WHERE stage = 'image' AND key = ?1", [id])?;
    transaction
        .prepare_cached(
            "INSERT INTO items
                 (id, image, description, origin, pass, stamp, state, descriptions, license)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'new', ?7, ?8)
             ON CONFLICT (id) DO UPDATE SET
                 image = ?2, description = ?3, origin = ?4, pass = ?5, stamp = ?6, state = 'new',
                 descriptions = ?7, license = ?8,
                 image_sha256 = NULL, item_key = NULL, width = NULL, height = NULL, format = NULL,
                 look = NULL, twin_of = NULL",
        )?
        .execute(params![id, image, description, origin, pass, stamp, descriptions, license])?;
    Ok(1)
}
