//! Rows of `jobs.sqlite`, and what a transaction asks of them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{OptionalExtension, Row, Transaction};

use crate::base::hash;
use crate::jobs::{JobKind, JobOwner, JobRecord, JobSpec, JobState, ManagerError};

/// The columns that [`record`] takes, in its order.
pub(super) const COLUMNS: &str =
    "id, run_id, request_id, kind, answers, spec, state, cancel_asked, failure, created,
    started, ended, attempts, progress, summary";

/// Inside a transaction: a refusal, or SQLite's failure.
pub(super) enum Fault {
    Refused(ManagerError),
    Sqlite(rusqlite::Error),
}

impl From<ManagerError> for Fault {
    fn from(error: ManagerError) -> Self {
        Self::Refused(error)
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// Key over what the caller asked for. Not over the configuration it came to, which also depends
/// on the server: a repeated call must find its job after the server's settings have changed.
pub(super) fn fingerprint(spec: &JobSpec) -> String {
    let run = spec.run_id.as_deref().unwrap_or_default();
    // Jobs of the first kind go by the key that earlier versions gave them.
    let name = match spec.task.kind() {
        JobKind::Match => "job",
        other => other.name(),
    };
    hash::key(&[name, run, &spec.task.answers().to_string(), &spec.spec_json])
}

/// The job that an earlier submit with the same request id made.
pub(super) fn known_request(
    transaction: &Transaction<'_>,
    spec: &JobSpec,
    fingerprint: &str,
) -> Result<Option<JobRecord>, Fault> {
    let Some(request_id) = &spec.request_id else { return Ok(None) };
    let sql = "SELECT id, fingerprint FROM jobs WHERE request_id = ?1";
    let known = transaction
        .query_row(sql, [request_id], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))
        .optional()?;
    match known {
        None => Ok(None),
        Some((id, earlier)) if earlier == fingerprint => {
            let id: String = id;
            read(transaction, &id).map(Some)
        }
        Some((job, _)) => {
            let request_id = request_id.clone();
            Err(ManagerError::RequestIdReused { request_id, job }.into())
        }
    }
}

/// Later than every id given out before, also within a millisecond and when the clock goes back.
pub(super) fn next_id(transaction: &Transaction<'_>) -> Result<String, Fault> {
    let last: Option<String> =
        transaction.query_row("SELECT max(id) FROM jobs", [], |row| row.get(0))?;
    let moment = |id: String| i64::from_str_radix(id.get(..12)?, 16).ok();
    let last = last.and_then(moment).unwrap_or_default();
    Ok(format!("{:012x}-{:08x}", now().max(last + 1), rand::random::<u32>()))
}

pub(super) fn check_free(transaction: &Transaction<'_>, run_id: &str) -> Result<(), Fault> {
    let sql = "SELECT id FROM jobs WHERE run_id = ?1 AND state IN ('queued', 'running')";
    let holder = transaction.query_row(sql, [run_id], |row| row.get(0)).optional()?;
    match holder {
        None => Ok(()),
        Some(job) => Err(ManagerError::Busy { run_id: run_id.to_owned(), job }.into()),
    }
}

/// A run is of one kind: its folder holds either pairs, or instructions, or verdicts.
pub(super) fn check_kind(
    transaction: &Transaction<'_>,
    run_id: &str,
    kind: JobKind,
) -> Result<(), Fault> {
    let sql = "SELECT kind FROM jobs WHERE run_id = ?1 AND kind != ?2 LIMIT 1";
    let other: Option<String> =
        transaction.query_row(sql, [run_id, kind.name()], |row| row.get(0)).optional()?;
    let run_id = run_id.to_owned();
    other.map_or(Ok(()), |found| Err(ManagerError::RunKind { run_id, found }.into()))
}

pub(super) fn check_room(transaction: &Transaction<'_>, limit: usize) -> Result<(), Fault> {
    let sql = "SELECT count(*) FROM jobs WHERE state = 'queued'";
    let waiting: usize = transaction.query_row(sql, [], |row| row.get(0))?;
    if waiting < limit {
        return Ok(());
    }
    Err(ManagerError::QueueFull { limit }.into())
}

pub(super) fn check_share(transaction: &Transaction<'_>, owner: &JobOwner) -> Result<(), Fault> {
    let JobOwner { name, max_queued } = owner;
    let sql = "SELECT count(*) FROM jobs WHERE owner = ?1 AND state = 'queued'";
    let waiting: usize = transaction.query_row(sql, [name], |row| row.get(0))?;
    if *max_queued == 0 || waiting < *max_queued {
        return Ok(());
    }
    Err(ManagerError::OwnerQueueFull { owner: name.clone(), limit: *max_queued }.into())
}

/// The query of one job by its id.
pub(super) fn one() -> String {
    format!("SELECT {COLUMNS} FROM jobs WHERE id = ?1")
}

pub(super) fn read(transaction: &Transaction<'_>, id: &str) -> Result<JobRecord, Fault> {
    let found = transaction.query_row(&one(), [id], record).optional()?;
    Ok(found.ok_or_else(|| ManagerError::NoJob { id: id.to_owned() })?)
}

pub(super) fn record(row: &Row<'_>) -> rusqlite::Result<JobRecord> {
    let failure: Option<String> = row.get("failure")?;
    let summary: Option<String> = row.get("summary")?;
    Ok(JobRecord {
        id: row.get("id")?,
        run_id: row.get("run_id")?,
        request_id: row.get("request_id")?,
        // The schema lets no other names in.
        kind: JobKind::named(&row.get::<_, String>("kind")?).unwrap_or(JobKind::Match),
        answers: row.get("answers")?,
        spec_json: row.get("spec")?,
        state: JobState::named(&row.get::<_, String>("state")?).unwrap_or(JobState::Failed),
        cancel_asked: row.get("cancel_asked")?,
        failure: failure.and_then(|text| serde_json::from_str(&text).ok()),
        created: time(row.get("created")?),
        started: row.get::<_, Option<i64>>("started")?.map(time),
        ended: row.get::<_, Option<i64>>("ended")?.map(time),
        attempts: row.get("attempts")?,
        progress: serde_json::from_str(&row.get::<_, String>("progress")?).unwrap_or_default(),
        summary: summary.and_then(|text| serde_json::from_str(&text).ok()),
    })
}

/// Strings and finite numbers always serialise.
pub(super) fn to_json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// Milliseconds since 1970.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn time(milliseconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(milliseconds.unsigned_abs())
}
