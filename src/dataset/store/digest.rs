//! A key of all that a run holds, which tells whether anything changed.

use rusqlite::types::ValueRef;

use super::Store;
use crate::base::db::DbError;
use crate::base::hash;

/// The name of the value that keeps what was derived from the rows of a digest.
pub const DERIVED: &str = "derived";

impl Store {
    /// A key of every row of every table, but for vectors, which stay what they are under their
    /// keys, for times, and for the number of the last reading of the source: equal while exports
    /// and report would be the same.
    ///
    /// # Errors
    /// SQLite's.
    pub fn digest(&self) -> Result<String, DbError> {
        let tables: Vec<String> = self.db.rows(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'
             AND name NOT IN ('embeddings', 'stage_times')",
            [],
            |row| row.get(0),
        )?;
        let mut set = hash::Set::default();
        for table in tables {
            self.add_table(&table, &mut set)?;
        }
        Ok(set.done())
    }

    fn add_table(&self, table: &str, set: &mut hash::Set) -> Result<(), DbError> {
        let columns: Vec<String> =
            self.db.rows("SELECT name FROM pragma_table_info(?1)", [table], |row| row.get(0))?;
        // An item's reading matters as far as it is the last one.
        let column = |name: &String| match (table, name.as_str()) {
            ("items", "pass") => {
                "pass = (SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'pass')".to_owned()
            }
            _ => format!("\"{name}\""),
        };
        let select: Vec<String> = columns.iter().map(column).collect();
        let only = match table {
            "meta" => format!("WHERE name NOT IN ('pass', '{DERIVED}')"),
            _ => String::new(),
        };
        let sql = format!("SELECT {} FROM \"{table}\" {only}", select.join(", "));
        let mut bytes = Vec::new();
        let mut add = |row: &rusqlite::Row<'_>| {
            bytes.clear();
            bytes.extend_from_slice(table.as_bytes());
            for at in 0..columns.len() {
                put(&mut bytes, row.get_ref(at)?);
            }
            set.add(&bytes);
            Ok(())
        };
        self.db.each(&sql, [], &mut add, |()| Ok(()))
    }
}

/// A value so that no two lists of values read alike.
fn put(bytes: &mut Vec<u8>, value: ValueRef<'_>) {
    match value {
        ValueRef::Null => bytes.push(0),
        ValueRef::Integer(number) => {
            bytes.push(1);
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        ValueRef::Real(number) => {
            bytes.push(2);
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        ValueRef::Text(text) | ValueRef::Blob(text) => {
            bytes.push(3);
            bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
            bytes.extend_from_slice(text);
        }
    }
}
