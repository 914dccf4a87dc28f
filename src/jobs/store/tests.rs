use super::*;
use crate::base::failure::Failure;
use crate::config::Config;
use crate::jobs::JobTask;

fn store() -> (tempfile::TempDir, JobStore) {
    let folder = tempfile::tempdir().expect("temp dir");
    let store = JobStore::open(&folder.path().join("jobs.sqlite")).expect("a new store");
    (folder, store)
}

fn submit(store: &JobStore, run: &str) -> JobRecord {
    store.submit(&spec(run, matching()), None, 100).expect("submitted")
}

fn spec(run: &str, task: JobTask) -> JobSpec {
    let run_id = Some(run.to_owned());
    JobSpec { run_id, task, request_id: None, spec_json: String::new() }
}

fn matching() -> JobTask {
    JobTask::Match { config: Box::default(), answers: true }
}

fn claim(store: &JobStore) -> Option<String> {
    store.claim(&[JobKind::Match]).expect("read").map(|claimed| claimed.record.run_id)
}

#[test]
fn ids_sort_by_submission_within_a_millisecond_too() {
    let (_folder, store) = store();
    let ids: Vec<_> = (0..50).map(|n| submit(&store, &format!("r{n}")).id).collect();
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    let listed = store.list(None, Some(&ids[20]), 3).expect("listed");
    let runs: Vec<_> = listed.iter().map(|one| one.run_id.as_str()).collect();
    assert_eq!(runs, ["r19", "r18", "r17"]);
}

#[test]
fn a_job_that_kills_the_server_again_and_again_is_not_started_for_ever() {
    let (_folder, store) = store();
    let job = submit(&store, "deadly");
    submit(&store, "next");
    for start in 1..=3 {
        assert_eq!(claim(&store).as_deref(), Some("deadly"), "it keeps its turn");
        let waiting = store.recover(3).expect("recovered").len();
        assert_eq!(waiting, if start < 3 { 2 } else { 1 });
    }
    let end = store.get(&job.id).expect("kept");
    assert_eq!((end.state, end.attempts), (JobState::Failed, 3));
    assert_eq!(end.failure.expect("it failed").code, "crashed_too_often");
    assert_eq!(claim(&store).as_deref(), Some("next"));
    // Resumed by somebody who knows better, it has as many starts again.
    store.resume(&job.id, None, 100).expect("it failed");
    assert_eq!(store.recover(3).expect("recovered").len(), 2);
}

#[test]
fn starts_that_bring_something_are_not_counted() {
    let (_folder, store) = store();
    let job = submit(&store, "slow");
    for _ in 0..10 {
        assert!(claim(&store).is_some());
        store.put_progress(&job.id, &JobProgress::default(), true).expect("kept");
        assert_eq!(store.recover(2).expect("recovered").len(), 1);
    }
    assert_eq!(store.get(&job.id).expect("kept").attempts, 10);
}

#[test]
fn a_cancel_outlives_a_crash() {
    let (_folder, store) = store();
    let job = submit(&store, "cancelled");
    claim(&store);
    assert!(store.cancel(&job.id).expect("marked").cancel_asked);
    assert!(store.recover(5).expect("recovered").is_empty());
    assert_eq!(store.get(&job.id).expect("kept").state, JobState::Cancelled);
    let resumed = store.resume(&job.id, None, 100).expect("it was cancelled");
    assert!(!resumed.cancel_asked && resumed.state == JobState::Queued);
}

#[test]
fn a_resumed_job_waits_within_the_share_of_who_resumed_it() {
    let (_folder, store) = store();
    let owner = JobOwner { name: "key:ada".to_owned(), max_queued: 1 };
    let ids: Vec<_> = ["a", "b"].map(|run| submit(&store, run).id).into();
    for id in &ids {
        store.cancel(id).expect("it waited");
    }
    store.resume(&ids[0], Some(&owner), 100).expect("her first");
    let refused = store.resume(&ids[1], Some(&owner), 100).expect_err("her second");
    assert!(matches!(refused, ManagerError::OwnerQueueFull { limit: 1, .. }), "{refused:?}");
    assert_eq!(store.get(&ids[1]).expect("kept").state, JobState::Cancelled);
    store.resume(&ids[1], None, 100).expect("nobody's share");
}

#[test]
fn a_run_stays_of_its_kind() {
    let (_folder, store) = store();
    let job = submit(&store, "pairs");
    store.cancel(&job.id).expect("it waited");
    let generate = JobTask::Generate { config: Box::default(), into_library: false };
    let refused =
        store.submit(&spec("pairs", generate.clone()), None, 100).expect_err("of kind match");
    assert_eq!(refused.code(), "run_of_another_kind");
    let other = store.submit(&spec("seeds", generate), None, 100).expect("a run of its own");
    assert_eq!((other.kind, other.answers), (JobKind::Generate, false));
    assert!(claim(&store).is_none(), "its turn comes with its own kind");
    assert!(store.claim(&[JobKind::Generate, JobKind::Judge]).expect("read").is_some());
}

/// `jobs` as version 1 made it, with one job that waits.
const VERSION_1: &str = "
    CREATE TABLE jobs (id TEXT PRIMARY KEY, run_id TEXT NOT NULL, request_id TEXT UNIQUE,
        fingerprint TEXT NOT NULL, config TEXT NOT NULL, answers INTEGER NOT NULL,
        spec TEXT NOT NULL, state TEXT NOT NULL, place INTEGER NOT NULL,
        cancel_asked INTEGER NOT NULL DEFAULT 0, created INTEGER NOT NULL, started INTEGER,
        ended INTEGER, attempts INTEGER NOT NULL DEFAULT 0, barren INTEGER NOT NULL DEFAULT 0,
        failure TEXT, progress TEXT NOT NULL, summary TEXT);
    PRAGMA user_version = 1;";

#[test]
fn jobs_of_the_first_version_go_on() {
    let folder = tempfile::tempdir().expect("temp dir");
    let path = folder.path().join("jobs.sqlite");
    let config = Config { seed: 41, ..Config::default() };
    let old = rusqlite::Connection::open(&path).expect("a database");
    old.execute_batch(VERSION_1).expect("made");
    let insert = "INSERT INTO jobs (id, run_id, fingerprint, config, answers, spec, state, place,
        created, progress) VALUES ('1', 'old', 'f', ?1, 1, '', 'running', 1, 0, '{}')";
    old.execute(insert, [serde_json::to_string(&config).expect("JSON")]).expect("written");
    drop(old);
    let store = JobStore::open(&path).expect("upgraded");
    assert_eq!(store.recover(3).expect("recovered").len(), 1);
    let claimed = store.claim(&[JobKind::Match]).expect("read").expect("it waits");
    assert_eq!((claimed.record.kind, claimed.record.answers), (JobKind::Match, true));
    let task: JobTask = serde_json::from_str(&claimed.task).expect("a task");
    assert_eq!(task, JobTask::Match { config: Box::new(config), answers: true });
}

#[test]
fn a_commit_reaches_the_disk_before_it_returns() {
    let (_folder, store) = store();
    let full = 2;
    assert_eq!(store.db.value::<u8>("PRAGMA synchronous", []).expect("set"), full);
}
