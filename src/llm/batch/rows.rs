//! Batches and their calls as the ledger keeps them.

use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::{OptionalExtension, params};

use super::lines::Line;
use crate::base::db::DbError;
use crate::llm::spending::Account;
use crate::llm::spent::Spent;

/// What is known of a call.
pub(super) enum Known {
    /// Its answer.
    Answer { status: u16, body: String },
    /// It is at the server, or on its way.
    Open,
    /// No batch has it.
    Nothing,
}

/// A batch whose answers are not all here.
pub(super) struct OpenBatch {
    /// Our mark.
    pub token: String,
    /// The server's name; none where the process ended before it was told.
    pub id: Option<String>,
    /// When it was made, in seconds since 1970.
    pub made_at: u64,
}

/// Now, in seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

pub(super) fn look_up(account: &Account, server: &str, key: &str) -> Result<Known, DbError> {
    let sql = "SELECT status, body FROM batch_calls WHERE server = ?1 AND key = ?2";
    let found = account.ledger.db().row(sql, [server, key], |row| {
        Ok((row.get::<_, Option<u16>>(0)?, row.get::<_, Option<String>>(1)?))
    })?;
    Ok(match found {
        Some((Some(status), body)) => Known::Answer { status, body: body.unwrap_or_default() },
        Some((None, _)) => Known::Open,
        None => Known::Nothing,
    })
}

/// Takes note of a batch before it is made. Says of each call whether it is new: no other batch has
/// it.
pub(super) fn begin(
    account: &Account,
    server: &str,
    token: &str,
    calls: &[(String, Spent)],
) -> Result<Vec<bool>, DbError> {
    let (section, role, _) = &account.line;
    account.ledger.db().write(|transaction| {
        transaction.execute(
            "INSERT INTO batches (token, server, section, role, made_at)
             VALUES (?1, ?2, ?3, ?4, ?5)",
            params![token, server, section, role, now()],
        )?;
        let mut put = transaction.prepare_cached(
            "INSERT OR IGNORE INTO batch_calls
             (server, key, token, prompt_tokens, completion_tokens) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?;
        let put = |(key, expected): &(String, Spent)| {
            let (prompt, completion) = (expected.prompt_tokens, expected.completion_tokens);
            put.execute(params![server, key, token, prompt, completion]).map(|new| new == 1)
        };
        calls.iter().map(put).collect()
    })
}

/// Keeps the server's name for a batch.
pub(super) fn name(account: &Account, token: &str, id: &str) -> Result<(), DbError> {
    let sql = "UPDATE batches SET id = ?2 WHERE token = ?1";
    account.ledger.db().execute(sql, [token, id]).map(drop)
}

/// The batches of this role at `server` that have not ended.
pub(super) fn open(account: &Account, server: &str) -> Result<Vec<OpenBatch>, DbError> {
    // Whatever settings it was made by: they may have a table of their own since then.
    let (_, role, _) = &account.line;
    account.ledger.db().rows(
        "SELECT token, id, made_at FROM batches WHERE ended = 0 AND server = ?1 AND role = ?2",
        params![server, role],
        |row| Ok(OpenBatch { token: row.get(0)?, id: row.get(1)?, made_at: row.get(2)? }),
    )
}

/// The keys of a batch's calls that have no answer.
pub(super) fn unanswered(account: &Account, token: &str) -> Result<Vec<String>, DbError> {
    let sql = "SELECT key FROM batch_calls WHERE token = ?1 AND status IS NULL";
    account.ledger.db().rows(sql, [token], |row| row.get(0))
}

/// Keeps answers and counts what they cost, both or neither; `spent` tells the tokens of a line
/// whose call was expected to have so many of the prompt. Answers that are kept already are not
/// counted again; what is returned are the others. What was held for them is free.
pub(super) fn keep(
    account: &Account,
    (server, token): (&str, &str),
    lines: Vec<Line>,
    spent: impl Fn(&Line, u64) -> Spent,
) -> Result<Vec<Line>, DbError> {
    let mut kept = Vec::with_capacity(lines.len());
    account.ledger.add_with(&account.line, |transaction| {
        let mut sum = Spent::default();
        let mut find = transaction.prepare_cached(
            "SELECT rowid, prompt_tokens FROM batch_calls
             WHERE token = ?1 AND key = ?2 AND status IS NULL",
        )?;
        let mut put = transaction
            .prepare_cached("UPDATE batch_calls SET status = ?2, body = ?3 WHERE rowid = ?1")?;
        for line in lines {
            let found = find.query_row(params![token, line.key], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, u64>(1)?))
            });
            let Some((row, prompt)) = found.optional()? else { continue };
            put.execute(params![row, line.status, line.body])?;
            sum += spent(&line, prompt);
            kept.push(line);
        }
        Ok(sum)
    })?;
    account.settle(server, kept.iter().map(|line| &*line.key));
    Ok(kept)
}

/// Ends a batch: calls that it has brought no answer to are in none from now on, and what was held
/// for them is free. Returns their keys.
pub(super) fn end(
    account: &Account,
    (server, token): (&str, &str),
) -> Result<Vec<String>, DbError> {
    let missing = unanswered(account, token)?;
    account.ledger.db().write(|transaction| {
        let sql = "DELETE FROM batch_calls WHERE token = ?1 AND status IS NULL";
        transaction.execute(sql, [token])?;
        transaction.execute("UPDATE batches SET ended = 1 WHERE token = ?1", [token])
    })?;
    account.settle(server, missing.iter().map(String::as_str));
    Ok(missing)
}

/// Forgets a call's answer.
pub(super) fn forget(account: &Account, server: &str, key: &str) -> Result<(), DbError> {
    let sql = "DELETE FROM batch_calls WHERE server = ?1 AND key = ?2 AND status IS NOT NULL";
    account.ledger.db().execute(sql, [server, key]).map(drop)
}
