//! The queue: order, limits, repeated requests, restarts.

use pairwright::Failure;
use std::time::Duration;

use pairwright::ErrorKind;
use pairwright::jobs::{JobManager, JobRecord, JobSpec, JobState, ManagerError, ManagerOptions};

use super::server::{Server, matching, shared, slow};
use crate::support::run::PHOTOS;

const TWO: [&str; 2] = ["moose", "raccoon"];

fn submit(server: &Server, manager: &JobManager, spec: JobSpec) -> JobRecord {
    server.block(manager.submit(spec, None)).expect("submitted")
}

fn refused(server: &Server, manager: &JobManager, spec: JobSpec) -> ManagerError {
    server.block(manager.submit(spec, None)).expect_err("refused")
}

#[test]
fn jobs_run_one_after_the_other_in_the_order_of_their_coming() {
    let server = Server::new(&TWO);
    let manager = server.open(slow(200), ManagerOptions::default());
    let spec = |run| matching(run, server.config(""));
    let jobs = ["a", "b", "c"].map(|run| submit(&server, &manager, spec(run)));
    assert!(jobs.iter().all(|job| job.state == JobState::Queued && job.attempts == 0));
    server.until(&manager, &jobs[0].id, "the first runs", |one| one.state == JobState::Running);
    let second = server.block(manager.get(&jobs[1].id)).expect("a job");
    assert_eq!(second.state, JobState::Queued);

    let ends = jobs.each_ref().map(|job| server.end(&manager, &job.id));
    for pair in ends.windows(2) {
        assert!(pair[0].ended <= pair[1].started, "{pair:?}");
    }
    let last = &ends[2];
    assert_eq!((last.state, last.attempts), (JobState::Succeeded, 1));
    let phases: Vec<_> =
        last.progress.phases.iter().map(|one| (one.phase.name(), one.done)).collect();
    assert_eq!(phases, [("source", 2), ("embed", 2), ("match", 2)]);
    let summary = last.summary.as_ref().expect("it succeeded");
    assert_eq!((summary.photos, summary.pairs, summary.is_partial()), (2, 2, false));

    let ids = |page: &pairwright::jobs::JobPage| {
        page.jobs.iter().map(|job| job.run_id.clone()).collect::<Vec<_>>()
    };
    let first = server.block(manager.list(2, "", None)).expect("a page");
    assert_eq!(ids(&first), ["c", "b"]);
    let token = first.next_token.expect("one more");
    let rest = server.block(manager.list(2, &token, Some(JobState::Succeeded))).expect("a page");
    assert_eq!((ids(&rest), rest.next_token), (vec!["a".to_owned()], None));
    let none = server.block(manager.list(2, "", Some(JobState::Failed))).expect("a page");
    assert!(none.jobs.is_empty());
    let wrong = server.block(manager.list(2, "No Token", None)).expect_err("no token");
    assert_eq!(wrong.code(), "bad_page_token");
    server.close(manager);
}

#[test]
fn a_repeated_request_gives_the_same_job() {
    let server = Server::new(&TWO);
    let manager = server.open(shared(), ManagerOptions::default());
    let spec = JobSpec { request_id: Some("r-1".into()), ..matching("one", server.config("")) };
    let first = submit(&server, &manager, spec.clone());
    assert_eq!(submit(&server, &manager, spec.clone()).id, first.id);
    server.end(&manager, &first.id);
    let again = submit(&server, &manager, spec.clone());
    assert_eq!((again.id, again.state), (first.id.clone(), JobState::Succeeded));
    // The server's settings may have changed since.
    let later = JobSpec { task: matching("one", server.config("seed = 9")).task, ..spec.clone() };
    assert_eq!(submit(&server, &manager, later).id, first.id);
    let others = [
        JobSpec { run_id: None, ..spec.clone() },
        JobSpec { spec_json: "{\"x\": 1}".into(), ..spec.clone() },
    ];
    for other in others {
        let error = refused(&server, &manager, other);
        assert_eq!((error.code(), error.kind()), ("request_id_reused", ErrorKind::AlreadyExists));
        assert!(error.to_string().contains(&first.id), "{error}");
    }
    // Another request may go on with the run: there is nothing new to do.
    let second = JobSpec { request_id: Some("r-2".into()), ..spec };
    let before = server.pairs("one");
    let end = server.succeed(&manager, second);
    assert_ne!(end.id, first.id);
    assert_eq!(server.pairs("one"), before);
    assert_eq!(server.query("one", "SELECT items FROM stage_times WHERE stage = 'embed'"), ["2"]);
    server.close(manager);
}

#[test]
fn what_cannot_be_queued_is_refused_with_its_reason() {
    let server = Server::new(&TWO);
    let options = ManagerOptions { max_queued: 1, ..ManagerOptions::default() };
    let manager = server.open(slow(500), options);
    let spec = |run: &str| matching(run, server.config(""));
    let long = "x".repeat(64);
    for bad in ["", "-a", "A", "a/b", "../up", "a.b", long.as_str()] {
        assert_eq!(refused(&server, &manager, spec(bad)).code(), "invalid_run_id", "{bad:?}");
    }
    let empty = JobSpec { request_id: Some(String::new()), ..spec("a") };
    assert_eq!(refused(&server, &manager, empty).code(), "invalid_request_id");

    let first = submit(&server, &manager, spec("a"));
    server.until(&manager, &first.id, "it runs", |one| one.state == JobState::Running);
    let busy = refused(&server, &manager, spec("a"));
    assert_eq!((busy.code(), busy.kind()), ("run_busy", ErrorKind::FailedPrecondition));
    let second = submit(&server, &manager, spec("b"));
    let full = refused(&server, &manager, spec("c"));
    assert_eq!((full.code(), full.kind()), ("job_queue_full", ErrorKind::ResourceExhausted));
    for action in [
        server.block(manager.resume(&first.id, None)).map(|_| ()),
        server.block(manager.delete(&first.id)),
    ] {
        assert_eq!(action.expect_err("it runs").code(), "wrong_job_state");
    }
    let missing = server.block(manager.get("nobody")).expect_err("no job");
    assert_eq!(missing.kind(), ErrorKind::NotFound);

    let cancelled = server.block(manager.cancel(&second.id)).expect("a job");
    assert_eq!(cancelled.state, JobState::Cancelled, "it had not begun");
    assert_eq!(server.end(&manager, &first.id).state, JobState::Succeeded);
    let once_more = server.block(manager.cancel(&first.id)).expect("a job");
    assert_eq!(once_more.state, JobState::Succeeded, "what has ended stays as it is");
    assert!(server.data().join("runs/a").is_dir());
    server.block(manager.delete(&first.id)).expect("it has ended");
    assert!(!server.data().join("runs/a").exists());
    assert_eq!(server.block(manager.get(&first.id)).expect_err("gone").code(), "job_not_found");
    server.close(manager);
}

#[test]
fn a_job_that_cannot_work_fails_with_its_reason_and_can_be_resumed() {
    let server = Server::new(&TWO);
    let manager = server.open(shared(), ManagerOptions::default());
    let nowhere = server.world.path("later");
    let job = submit(&server, &manager, matching("late", super::server::config(&nowhere, "")));
    let end = server.end(&manager, &job.id);
    let failure = end.failure.expect("it failed");
    assert_eq!((failure.code.as_str(), failure.kind), ("source_not_found", ErrorKind::NotFound));
    fs_err::rename(server.world.source(), nowhere).expect("rename");
    server.block(manager.resume(&job.id, None)).expect("it failed");
    let end = server.end(&manager, &job.id);
    assert_eq!((end.state, end.attempts, end.failure), (JobState::Succeeded, 2, None));
    server.close(manager);
}

#[test]
fn a_stopped_server_goes_on_where_it_was() {
    let server = Server::new(&PHOTOS);
    let manager = server.open(slow(300), ManagerOptions::default());
    let spec = |run: &str| matching(run, server.config("encoder.batch_size = 2"));
    let [first, second] = ["a", "b"].map(|run| submit(&server, &manager, spec(run)));
    server.until(&manager, &first.id, "some photos are embedded", |one| {
        one.progress.phases.iter().any(|one| one.phase.name() == "embed" && one.done >= 2)
    });
    let other = {
        let data = server.data();
        server.block(async { JobManager::open(&data, shared(), ManagerOptions::default()) })
    };
    assert_eq!(other.err().map(|error| error.code()), Some("data_folder_in_use"));
    assert!(server.block(manager.shutdown(Duration::from_secs(30))));
    assert_eq!(refused(&server, &manager, spec("c")).code(), "stopping");
    let kept = server.block(manager.get(&first.id)).expect("a job");
    assert_eq!(kept.state, JobState::Queued);
    drop(manager);

    let manager = server.open(shared(), ManagerOptions::default());
    let ends = [&first, &second].map(|job| server.end(&manager, &job.id));
    assert!(ends.iter().all(|one| one.state == JobState::Succeeded), "{ends:?}");
    assert_eq!((ends[0].attempts, ends[1].attempts), (2, 1));
    assert!(ends[0].ended <= ends[1].started, "the first kept its turn");
    assert_eq!(server.pairs("a"), server.pairs("b"));
    assert_eq!(server.query("a", "SELECT items FROM stage_times WHERE stage = 'embed'"), ["6"]);
    server.close(manager);
}
