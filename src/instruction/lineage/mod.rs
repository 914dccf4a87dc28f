//! `instructions.sqlite`: a generation with its whole lineage, description → seeds drawn → raw
//! instruction → cluster → final instruction.

mod calls;
mod library;
mod results;

use std::path::Path;

use crate::base::db::{Database, DbError, Migration, Schema};

pub use calls::{StoredFailure, StoredReply};
pub use library::LineageRow;
pub use results::{
    ClusterRow, Count, FinalRow, MemberRow, PickRow, RawRow, ReadingRow, RefusalRow, count, losses,
};

static SCHEMA: Schema = Schema {
    name: "instruction generation",
    made_by: "pairwright instructions generate --out DIR",
    code: "run_store",
    when_full: "free some space and run the same command again: finished work is kept",
    when_other_version: "; use a new --out folder",
    readable_from: 5,
    migrations: || {
        let steps = [
            include_str!("schema.sql"),
            include_str!("requires.sql"),
            include_str!("members.sql"),
            include_str!("reasoning.sql"),
            include_str!("cut.sql"),
        ];
        steps.map(Migration::up).into()
    },
};

/// Verdict of an instruction that goes on.
pub const ACCEPTED: &str = "accepted";
/// Verdict of a cluster that was not summarised, because its members make the library.
pub const NOT_SUMMARIZED: &str = "not_summarized";
/// Verdict of a final instruction that another cluster's stands for.
pub const MERGED: &str = "merged";

/// One connection to a generation's store.
pub struct GenerationStore {
    db: Database,
}

impl GenerationStore {
    /// Opens the store at `path`, making it if it is not there.
    ///
    /// # Errors
    /// The file cannot be opened, is damaged or of another version.
    pub fn create(path: &Path) -> Result<Self, DbError> {
        Ok(Self { db: Database::create(path, &SCHEMA)? })
    }

    /// Opens an existing store for reading only, beside whoever writes it.
    ///
    /// # Errors
    /// As [`GenerationStore::create`]; an absent one where there is none, or its making has only
    /// begun.
    pub fn open_to_read(path: &Path) -> Result<Self, DbError> {
        Ok(Self { db: Database::open_to_read(path, &SCHEMA)? })
    }

    /// The database itself, for its named values, which are kept as JSON.
    pub fn database(&self) -> &Database {
        &self.db
    }

    /// Another connection to the same store.
    ///
    /// # Errors
    /// As [`GenerationStore::create`].
    pub fn reopen(&self) -> Result<Self, DbError> {
        Ok(Self { db: self.db.reopen()? })
    }
}

#[cfg(test)]
mod tests;
