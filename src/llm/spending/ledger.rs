//! The store of what was spent, beside the work that spent it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::{Transaction, params};
use tokio::sync::Notify;

use super::tally::tally;
use crate::base::db::{Database, DbError, Migration, Schema};
use crate::llm::spent::{Prices, RoleSpent, Spending, Spent};

/// The ledger's file in a folder of work.
const FILE: &str = "llm.sqlite";

static SCHEMA: Schema = Schema {
    name: "ledger of language models",
    made_by: "pairwright run",
    code: "llm_ledger",
    when_full: "finished work is kept; make room and start the same command again",
    when_other_version: "",
    readable_from: 1,
    migrations: || vec![Migration::up(include_str!("schema.sql"))],
};

/// Whose tokens a line counts: section, role, model.
pub(super) type Line = (String, String, String);

/// What an older release spent, which kept no ledger: section, role, model, tokens.
pub type SpentBefore = (&'static str, &'static str, String, Spent);

/// What the calls of one folder of work have spent, in all sessions, and the batches that are at
/// servers for it. Shared by all roles.
pub struct Ledger {
    /// Locked before `book` where both are needed.
    db: Mutex<Database>,
    pub(super) book: Mutex<Book>,
    /// Told when a call under way has ended.
    pub(super) freed: Notify,
    writing: AtomicBool,
}

/// The ledger's state in memory.
#[derive(Default)]
pub(super) struct Book {
    pub(super) spent: BTreeMap<Line, Spent>,
    prices: BTreeMap<String, Prices>,
    /// Lines that the database does not have yet.
    unwritten: BTreeSet<Line>,
    /// What calls under way may spend, by section.
    pub(super) under_way: BTreeMap<String, Spent>,
    /// The calls of open batches of earlier sessions that nobody waits for as yet.
    pub(super) at_servers: AtServers,
    /// Why the database could not be written.
    pub(super) failed: Option<String>,
}

/// What calls at servers may spend.
#[derive(Default)]
pub(super) struct AtServers {
    /// By server and key: the section that pays, and the tokens.
    calls: HashMap<(String, String), (String, Spent)>,
    /// Their sums by section.
    sums: BTreeMap<String, Spent>,
}

impl AtServers {
    fn add(&mut self, call: (String, String), (section, expected): (String, Spent)) {
        *self.sums.entry(section.clone()).or_default() += expected;
        self.calls.insert(call, (section, expected));
    }

    /// Holds nothing more for a call, if something was.
    pub(super) fn remove(&mut self, server: &str, key: &str) {
        let call = (server.to_owned(), key.to_owned());
        let Some((section, expected)) = self.calls.remove(&call) else { return };
        *self.sums.entry(section).or_default() -= expected;
    }
}

impl Ledger {
    /// The ledger of a folder of work; `before` tells what was spent in it before it had one.
    ///
    /// # Errors
    /// SQLite's, or those of `before`.
    pub fn open(
        folder: &Path,
        before: impl FnOnce() -> Result<Vec<SpentBefore>, DbError>,
    ) -> Result<Arc<Self>, DbError> {
        let path = folder.join(FILE);
        let db = Database::create(&path, &SCHEMA)?;
        let mut book = Book::read(&db)?;
        let earlier = if book.spent.is_empty() { before()? } else { Vec::new() };
        for (section, role, model, spent) in earlier {
            let line = (section.to_owned(), role.to_owned(), model);
            db.write(|transaction| write_line(transaction, &line, &spent))?;
            book.spent.insert(line, spent);
        }
        let open = db.rows(
            "SELECT c.server, c.key, b.section, c.prompt_tokens, c.completion_tokens
             FROM batch_calls c JOIN batches b USING (token) WHERE c.status IS NULL",
            [],
            |row| {
                let expected = Spent::call(row.get(3)?, row.get(4)?, true);
                Ok(((row.get(0)?, row.get(1)?), (row.get(2)?, expected)))
            },
        )?;
        open.into_iter().for_each(|(call, held)| book.at_servers.add(call, held));
        Ok(Arc::new(Self {
            db: Mutex::new(db),
            book: Mutex::new(book),
            freed: Notify::new(),
            writing: AtomicBool::new(false),
        }))
    }

    /// What a folder of work has spent, as far as it is written; nothing where it has no ledger.
    ///
    /// # Errors
    /// SQLite's.
    pub fn read(folder: &Path) -> Result<Spending, DbError> {
        match Database::open_to_read(&folder.join(FILE), &SCHEMA) {
            Ok(db) => Ok(Book::read(&db)?.spending()),
            Err(error) if error.is_absent() => Ok(Spending::default()),
            Err(error) => Err(error),
        }
    }

    /// What was spent until now.
    pub fn spending(&self) -> Spending {
        self.book().spending()
    }

    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::llm) fn db(&self) -> MutexGuard<'_, Database> {
        self.db.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The prices of a section; what it named before is forgotten.
    pub(super) fn set_prices(&self, section: &str, prices: Option<Prices>) -> Result<(), DbError> {
        self.db().write(|transaction| {
            transaction.execute("DELETE FROM prices WHERE section = ?1", [section])?;
            if let Some(Prices { prompt, completion, batch_factor }) = prices {
                transaction.execute(
                    "INSERT INTO prices VALUES (?1, ?2, ?3, ?4)",
                    params![section, prompt, completion, batch_factor],
                )?;
            }
            Ok(())
        })?;
        let mut book = self.book();
        book.prices.remove(section);
        book.prices.extend(prices.map(|prices| (section.to_owned(), prices)));
        Ok(())
    }

    /// Counts a call. It is written soon: many calls that end together cost one wait for the disk.
    pub(super) fn add(self: &Arc<Self>, line: &Line, spent: Spent) {
        let mut book = self.book();
        tally(&line.1, spent, book.prices.get(&line.0));
        *book.spent.entry(line.clone()).or_default() += spent;
        book.unwritten.insert(line.clone());
        drop(book);
        if !self.writing.swap(true, Ordering::AcqRel) {
            let ledger = Arc::clone(self);
            tokio::task::spawn_blocking(move || ledger.write_until_done());
        }
    }

    /// Writes what is not written yet: for whoever reads the file next.
    pub fn flush(&self) {
        while self.write() {}
    }

    fn write_until_done(&self) {
        self.flush();
        self.writing.store(false, Ordering::Release);
        // What came between the last look and the line above has no other writer.
        self.flush();
    }

    /// Writes what is not written yet; whether there was something.
    fn write(&self) -> bool {
        let db = self.db();
        let mut book = self.book();
        let lines = std::mem::take(&mut book.unwritten);
        let rows: Vec<(Line, Spent)> =
            lines.into_iter().map(|line| (line.clone(), book.spent[&line])).collect();
        drop(book);
        let put = |transaction: &Transaction<'_>| {
            rows.iter().try_for_each(|(line, spent)| write_line(transaction, line, spent))
        };
        if !rows.is_empty()
            && let Err(error) = db.write(put)
        {
            tracing::error!("what was spent cannot be kept: {error}");
            let mut book = self.book();
            book.failed = Some(error.to_string());
            return false;
        }
        !rows.is_empty()
    }

    /// Counts calls in the same transaction as `keep` keeps what they brought, so that neither is
    /// ever there without the other.
    pub(in crate::llm) fn add_with(
        &self,
        line: &Line,
        keep: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<Spent>,
    ) -> Result<(), DbError> {
        let db = self.db();
        let before = self.book().spent.get(line).copied().unwrap_or_default();
        let total = db.write(|transaction| {
            let mut total = before;
            total += keep(transaction)?;
            write_line(transaction, line, &total)?;
            Ok(total)
        })?;
        let mut book = self.book();
        let now = book.spent.entry(line.clone()).or_default();
        let mut added = total;
        added -= before;
        *now += added;
        tally(&line.1, added, book.prices.get(&line.0));
        book.unwritten.insert(line.clone());
        Ok(())
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.write();
    }
}

impl Book {
    fn read(db: &Database) -> Result<Self, DbError> {
        let spent = db.rows("SELECT * FROM spending", [], |row| {
            let spent = Spent {
                calls: row.get(3)?,
                estimated_calls: row.get(4)?,
                prompt_tokens: row.get(5)?,
                completion_tokens: row.get(6)?,
                batch_prompt_tokens: row.get(7)?,
                batch_completion_tokens: row.get(8)?,
            };
            Ok(((row.get(0)?, row.get(1)?, row.get(2)?), spent))
        })?;
        let prices = db.rows("SELECT * FROM prices", [], |row| {
            let (prompt, completion) = (row.get(1)?, row.get(2)?);
            Ok((row.get(0)?, Prices { prompt, completion, batch_factor: row.get(3)? }))
        })?;
        Ok(Self {
            spent: spent.into_iter().collect(),
            prices: prices.into_iter().collect(),
            ..Self::default()
        })
    }

    fn spending(&self) -> Spending {
        let role = |((section, role, model), spent): (&Line, &Spent)| RoleSpent {
            section: section.clone(),
            role: role.clone(),
            model: model.clone(),
            spent: *spent,
            cost: self.prices.get(section).map(|prices| spent.cost(prices)),
        };
        Spending { roles: self.spent.iter().map(role).collect() }
    }

    /// The tokens of a section: spent, and what calls under way and at servers may spend.
    pub(super) fn of_section(&self, section: &str) -> (Spent, Spent, Spent) {
        let mut spent = Spent::default();
        let lines = self.spent.iter().filter(|((of, ..), _)| of == section);
        lines.for_each(|(_, line)| spent += *line);
        let held = |held: &BTreeMap<String, Spent>| held.get(section).copied().unwrap_or_default();
        (spent, held(&self.under_way), held(&self.at_servers.sums))
    }
}

fn write_line(transaction: &Transaction<'_>, line: &Line, spent: &Spent) -> rusqlite::Result<()> {
    let (section, role, model) = line;
    let sql = "INSERT OR REPLACE INTO spending VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    transaction.prepare_cached(sql)?.execute(params![
        section,
        role,
        model,
        spent.calls,
        spent.estimated_calls,
        spent.prompt_tokens,
        spent.completion_tokens,
        spent.batch_prompt_tokens,
        spent.batch_completion_tokens,
    ])?;
    Ok(())
}
