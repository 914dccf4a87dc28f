//! `run.sqlite`: every record of a run and its state. SQLite is the truth; indexes,
//! exports and the report are derived from it.

mod answers;
mod digest;
mod held_out;
mod images;
mod ingest;
mod judged;
mod matches;
mod measures;
mod pairs;
mod photo_replies;
mod rekey;
mod serving;
mod showing;
mod stats;

use std::path::Path;

use rusqlite::{Row, Transaction, params};

use super::ImageRef;
use super::record::Rejection;
use crate::base::db::{Database, DbError, Migration, Schema};

pub use answers::AnswerToCheck;
pub use digest::DERIVED;
pub use held_out::{HeldBenchmark, HeldOut, NearDuplicate, plain_words};
pub use images::{DecodedItem, ImageOutcome, Look, NewItem, Twin};
pub use ingest::{IngestSummary, StampedRecord};
pub use judged::{JudgeReply, Judged, JudgedUnder};
pub use matches::{ItemToMatch, MatchRow, PairRow};
pub use measures::MeasureTotals;
pub use pairs::{AnsweredPair, SampleContext};
pub use photo_replies::{DESCRIBE, ItemToDescribe, PhotoReply};
pub use serving::ImageRow;
pub use showing::InstructionUse;
pub use stats::{ExportRow, RejectionCount, StageTime, StampedPhoto, TokenTotals};

/// A later version is refused, so that no program exports what it does not know to be held out.
pub static SCHEMA: Schema = Schema {
    name: "run",
    made_by: "pairwright run --source ... --out DIR",
    code: "run_store",
    when_full: "free some space and run the same command again: finished work is kept",
    when_other_version: "; use a new --out folder",
    readable_from: 10,
    migrations: || {
        vec![
            Migration::up(include_str!("schema.sql")),
            Migration::up(include_str!("held_out.sql")),
            Migration::up(include_str!("measures.sql")),
            Migration::up(include_str!("descriptions.sql")),
            Migration::up(include_str!("checks.sql")),
            Migration::up(include_str!("measure_details.sql")),
            Migration::up(include_str!("reasoning.sql")),
            Migration::up(include_str!("judged.sql")),
            Migration::up(include_str!("looks.sql")),
            Migration::up(include_str!("photo_replies.sql")),
            Migration::up(include_str!("licenses.sql")),
        ]
    },
};

/// One connection to a run's store. Each stage opens its own.
pub struct Store {
    db: Database,
}

impl Store {
    /// Opens the store at `path`, making it if it is not there.
    ///
    /// # Errors
    /// The file cannot be opened, is damaged or of another version.
    pub fn create(path: &Path) -> Result<Self, DbError> {
        Ok(Self { db: Database::create(path, &SCHEMA)? })
    }

    /// Opens an existing store.
    ///
    /// # Errors
    /// As [`Store::create`]; an absent one where there is none.
    pub fn open(path: &Path) -> Result<Self, DbError> {
        Ok(Self { db: Database::open(path, &SCHEMA)? })
    }

    /// Opens an existing store for reading only, beside whoever writes it.
    ///
    /// # Errors
    /// As [`Store::open`]; an absent one also where its making has only begun.
    pub fn open_to_read(path: &Path) -> Result<Self, DbError> {
        Ok(Self { db: Database::open_to_read(path, &SCHEMA)? })
    }

    /// Another connection to the same store, for another stage.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn reopen(&self) -> Result<Self, DbError> {
        Ok(Self { db: self.db.reopen()? })
    }

    /// The database itself, for its named values and its integrity check.
    pub fn database(&self) -> &Database {
        &self.db
    }
}

/// A photo as a column names it.
fn image(row: &Row<'_>, column: usize) -> rusqlite::Result<ImageRef> {
    Ok(ImageRef::from_text(row.get_ref(column)?.as_str()?))
}

/// Writes a rejection row. `key` is the record's own key, `conf` the settings under which it was
/// refused (empty where none matter).
fn insert_rejection(
    transaction: &Transaction<'_>,
    rejection: &Rejection,
    key: &str,
    conf: &str,
) -> rusqlite::Result<()> {
    let Rejection { stage, code, reason, subject } = rejection;
    transaction.execute(
        "INSERT INTO rejections (stage, subject, key, conf, code, reason)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![stage.name(), subject, key, conf, code, reason],
    )?;
    Ok(())
}

#[cfg(test)]
mod tests;
