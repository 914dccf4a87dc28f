//! `jobs.sqlite`: every job and its state.

mod rows;

use std::path::Path;

use rusqlite::{OptionalExtension, Transaction, params};

use self::rows::{
    COLUMNS, Fault, check_free, check_kind, check_room, check_share, fingerprint, known_request,
    next_id, now, read, record, to_json,
};
use super::{
    JobFailure, JobKind, JobOwner, JobProgress, JobRecord, JobSpec, JobState, JobSummary,
    ManagerError,
};
use crate::base::db::{Database, Migration, Schema};

static SCHEMA: Schema = Schema {
    name: "job store",
    made_by: "pairwright serve --data DIR",
    code: "job_store",
    when_full: "free some space and run the same command again: finished work is kept",
    when_other_version: "; use a new --out folder",
    readable_from: 2,
    migrations: || {
        vec![
            Migration::up(include_str!("schema.sql")),
            // The first version knew one kind of jobs.
            Migration::up(
                "ALTER TABLE jobs RENAME COLUMN config TO task;
                 ALTER TABLE jobs ADD COLUMN kind TEXT NOT NULL DEFAULT 'match'
                     CHECK (kind IN ('match', 'generate', 'judge'));
                 UPDATE jobs SET task = json_object('match', json_object('config', json(task),
                     'answers', json(CASE WHEN answers THEN 'true' ELSE 'false' END)));",
            ),
            // Whom a job is counted for while it waits.
            Migration::up(
                "ALTER TABLE jobs ADD COLUMN owner TEXT;
                 CREATE INDEX jobs_owner ON jobs (owner, state);",
            ),
        ]
    },
};

/// The jobs of one data folder.
pub(super) struct JobStore {
    db: Database,
}

/// A job that is to be run now.
pub(super) struct Claimed {
    pub record: JobRecord,
    /// As JSON.
    pub task: String,
}

/// How a job ended.
pub(super) enum Ending {
    Succeeded(Option<Box<JobSummary>>),
    Failed(JobFailure),
    Cancelled,
    /// The server stops; the next one goes on with it.
    Interrupted,
}

impl JobStore {
    /// Opens the store, making it if it is not there.
    pub fn open(path: &Path) -> Result<Self, ManagerError> {
        Ok(Self { db: Database::create(path, &SCHEMA)? })
    }

    /// Keeps a new job, or finds the one that an earlier submit of the same request made.
    pub fn submit(
        &self,
        spec: &JobSpec,
        owner: Option<&JobOwner>,
        max_queued: usize,
    ) -> Result<JobRecord, ManagerError> {
        let task = serde_json::to_string(&spec.task)
            .map_err(|error| ManagerError::Config { message: error.to_string() })?;
        let fingerprint = fingerprint(spec);
        self.write(|transaction| {
            if let Some(known) = known_request(transaction, spec, &fingerprint)? {
                return Ok(known);
            }
            let id = next_id(transaction)?;
            let run_id = spec.run_id.clone().unwrap_or_else(|| id.clone());
            check_free(transaction, &run_id)?;
            check_kind(transaction, &run_id, spec.task.kind())?;
            check_room(transaction, max_queued)?;
            owner.map_or(Ok(()), |owner| check_share(transaction, owner))?;
            transaction.execute(
                "INSERT INTO jobs (id, run_id, request_id, fingerprint, task, kind, answers, spec,
                     state, place, created, progress, owner)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 'queued',
                     (SELECT ifnull(max(place), 0) + 1 FROM jobs), ?9, '{}', ?10)",
                params![
                    id,
                    run_id,
                    spec.request_id,
                    fingerprint,
                    task,
                    spec.task.kind().name(),
                    spec.task.answers(),
                    spec.spec_json,
                    now(),
                    owner.map(|owner| &owner.name)
                ],
            )?;
            read(transaction, &id)
        })
    }

    /// How many jobs there are in each state.
    pub fn counts(&self) -> Result<Vec<(JobState, u64)>, ManagerError> {
        let count = |state: JobState| {
            let sql = "SELECT count(*) FROM jobs WHERE state = ?1";
            Ok((state, self.db.value(sql, [state.name()])?))
        };
        JobState::ALL.into_iter().map(count).collect()
    }

    pub fn get(&self, id: &str) -> Result<JobRecord, ManagerError> {
        let found = self.db.row(&rows::one(), [id], record)?;
        found.ok_or_else(|| ManagerError::NoJob { id: id.to_owned() })
    }

    /// Newest first, older than `before`.
    pub fn list(
        &self,
        state: Option<JobState>,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Vec<JobRecord>, ManagerError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM jobs WHERE (?1 IS NULL OR state = ?1)
             AND (?2 IS NULL OR id < ?2) ORDER BY id DESC LIMIT ?3"
        );
        Ok(self.db.rows(&sql, params![state.map(JobState::name), before, limit], record)?)
    }

    /// Every job.
    pub fn all(&self) -> Result<Vec<JobRecord>, ManagerError> {
        self.list(None, None, usize::MAX >> 1)
    }

    /// Whether the task of any job says this name.
    pub fn names(&self, name: &str) -> Result<bool, ManagerError> {
        let sql = "SELECT count(*) FROM jobs WHERE instr(task, ?1) > 0";
        let found: u64 = self.db.value(sql, [name])?;
        Ok(found > 0)
    }

    /// After a start of the server: what was running waits again, at its old place, unless it was
    /// to be cancelled or keeps killing the process. Returns every job that waits now.
    pub fn recover(&self, max_attempts: u32) -> Result<Vec<JobRecord>, ManagerError> {
        let crashed = to_json(&JobFailure::crashed(max_attempts));
        self.write(|transaction| {
            transaction.execute(
                "UPDATE jobs SET state = 'cancelled', ended = ?1
                 WHERE state = 'running' AND cancel_asked",
                [now()],
            )?;
            transaction.execute(
                "UPDATE jobs SET state = 'failed', ended = ?1, failure = ?2
                 WHERE state = 'running' AND barren >= ?3",
                params![now(), crashed, max_attempts],
            )?;
            let queue = "UPDATE jobs SET state = 'queued' WHERE state = 'running'";
            transaction.execute(queue, [])?;
            Ok(())
        })?;
        self.list(Some(JobState::Queued), None, usize::MAX >> 1)
    }

    /// Takes the job of one of `kinds` whose turn it is. That it was started is kept before it is.
    pub fn claim(&self, kinds: &[JobKind]) -> Result<Option<Claimed>, ManagerError> {
        let names: Vec<String> = kinds.iter().map(|kind| format!("'{}'", kind.name())).collect();
        let sql = format!(
            "SELECT id, task FROM jobs WHERE state = 'queued' AND kind IN ({})
             ORDER BY place LIMIT 1",
            names.join(", ")
        );
        self.write(|transaction| {
            let next = transaction
                .query_row(&sql, [], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))
                .optional()?;
            let Some((id, task)) = next else { return Ok(None) };
            transaction.execute(
                "UPDATE jobs SET state = 'running', started = ?2, attempts = attempts + 1,
                     barren = barren + 1, progress = '{}' WHERE id = ?1",
                params![id, now()],
            )?;
            Ok(Some(Claimed { record: read(transaction, &id)?, task }))
        })
    }

    /// Keeps how far a job is, and that its start was not in vain once it `worked`.
    pub fn put_progress(
        &self,
        id: &str,
        progress: &JobProgress,
        worked: bool,
    ) -> Result<(), ManagerError> {
        self.write(|transaction| {
            transaction.execute(
                "UPDATE jobs SET progress = ?2, barren = CASE WHEN ?3 THEN 0 ELSE barren END
                 WHERE id = ?1",
                params![id, to_json(progress), worked],
            )?;
            Ok(())
        })
    }

    /// Keeps how a job ended.
    pub fn finish(
        &self,
        id: &str,
        progress: &JobProgress,
        ending: &Ending,
    ) -> Result<JobRecord, ManagerError> {
        let (state, failure, summary) = match ending {
            Ending::Succeeded(summary) => {
                (JobState::Succeeded, None, summary.as_ref().map(to_json))
            }
            Ending::Failed(failure) => (JobState::Failed, Some(to_json(failure)), None),
            Ending::Cancelled => (JobState::Cancelled, None, None),
            Ending::Interrupted => (JobState::Queued, None, None),
        };
        let ended = state.is_final().then(now);
        self.write(|transaction| {
            transaction.execute(
                "UPDATE jobs SET state = ?2, failure = ?3, summary = ?4, ended = ?5, progress = ?6,
                     barren = 0 WHERE id = ?1",
                params![id, state.name(), failure, summary, ended, to_json(progress)],
            )?;
            read(transaction, id)
        })
    }

    /// Ends a job that waits, and marks one that runs; leaves one that has ended.
    pub fn cancel(&self, id: &str) -> Result<JobRecord, ManagerError> {
        self.write(|transaction| {
            transaction.execute(
                "UPDATE jobs SET state = 'cancelled', ended = ?2
                 WHERE id = ?1 AND state = 'queued'",
                params![id, now()],
            )?;
            let mark = "UPDATE jobs SET cancel_asked = 1 WHERE id = ?1 AND state = 'running'";
            transaction.execute(mark, [id])?;
            read(transaction, id)
        })
    }

    /// Puts a job that failed or was cancelled at the end of the queue. While it waits there it is
    /// counted for who resumed it, if that is known.
    pub fn resume(
        &self,
        id: &str,
        owner: Option<&JobOwner>,
        max_queued: usize,
    ) -> Result<JobRecord, ManagerError> {
        self.write(|transaction| {
            let JobRecord { id, run_id, state, .. } = read(transaction, id)?;
            if !matches!(state, JobState::Failed | JobState::Cancelled) {
                return Err(ManagerError::WrongState { id, state, action: "resumed" }.into());
            }
            check_free(transaction, &run_id)?;
            check_room(transaction, max_queued)?;
            owner.map_or(Ok(()), |owner| check_share(transaction, owner))?;
            transaction.execute(
                "UPDATE jobs SET state = 'queued', cancel_asked = 0, failure = NULL, ended = NULL,
                     barren = 0, place = (SELECT max(place) + 1 FROM jobs),
                     owner = ifnull(?2, owner) WHERE id = ?1",
                params![id, owner.map(|owner| &owner.name)],
            )?;
            read(transaction, &id)
        })
    }

    /// Forgets a job that has ended. `last_of_run` is called where no other job has its run; if it
    /// fails, the job stays.
    pub fn delete(
        &self,
        id: &str,
        last_of_run: impl FnOnce(&str) -> Result<(), ManagerError>,
    ) -> Result<(), ManagerError> {
        self.write(|transaction| {
            let JobRecord { id, run_id, state, .. } = read(transaction, id)?;
            if !state.is_final() {
                return Err(ManagerError::WrongState { id, state, action: "deleted" }.into());
            }
            transaction.execute("DELETE FROM jobs WHERE id = ?1", [&id])?;
            let sql = "SELECT count(*) FROM jobs WHERE run_id = ?1";
            if transaction.query_row(sql, [&run_id], |row| row.get::<_, u64>(0))? == 0 {
                last_of_run(&run_id)?;
            }
            Ok(())
        })
    }

    fn write<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Fault>,
    ) -> Result<T, ManagerError> {
        self.db.transaction(work).map_err(|fault| match fault {
            Fault::Refused(error) => error,
            Fault::Sqlite(source) => self.db.sqlite(source).into(),
        })
    }
}

#[cfg(test)]
mod tests;
