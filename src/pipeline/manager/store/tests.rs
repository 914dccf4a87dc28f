use super::*;
use crate::config::Config;

fn store() -> (tempfile::TempDir, JobStore) {
    let folder = tempfile::tempdir().expect("temp dir");
    let store = JobStore::open(&folder.path().join("jobs.sqlite")).expect("a new store");
    (folder, store)
}

fn submit(store: &JobStore, run: &str) -> JobRecord {
    let (run_id, config) = (Some(run.to_owned()), Config::default());
    let spec =
        JobSpec { run_id, config, answers: true, request_id: None, spec_json: String::new() };
    store.submit(&spec, 100).expect("submitted")
}

fn claim(store: &JobStore) -> Option<String> {
    store.claim().expect("read").map(|claimed| claimed.record.run_id)
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
    store.resume(&job.id, 100).expect("it failed");
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
    let resumed = store.resume(&job.id, 100).expect("it was cancelled");
    assert!(!resumed.cancel_asked && resumed.state == JobState::Queued);
}
