//! Jobs that are deleted, and runs that go by the rules of retention.

use std::time::Duration;

use pairwright::Failure;
use pairwright::jobs::{DataPart, JobManager, JobOwner, ManagerOptions, Retention};

use super::server::{Server, answering, backend, matching, shared, slow};
use crate::support::run::{Llm, PHOTOS};

fn bytes(server: &Server, manager: &JobManager, part: DataPart) -> u64 {
    let parts = server.block(manager.disk_use()).expect("measured");
    parts.into_iter().find(|(one, _)| *one == part).expect("every part").1
}

#[test]
fn only_runs_that_are_done_and_exported_go_by_themselves() {
    let server = Server::new(&PHOTOS[..2]);
    let llm = Llm::default();
    let more = format!(
        "answer.attempts = 1\n[llm]\ntarget = \"openai:{}\"\nmodel = \"stub-model\"\n",
        llm.stub.base_url
    );
    let config = server.config(&more);
    let resources = pairwright::run::Resources { backend: Some(backend(&config)), ..shared() };
    let manager = server.open(resources, ManagerOptions::default());
    let done = server.succeed(&manager, answering("done", config.clone()));
    let pairs_only = server.succeed(&manager, matching("pairs-only", config.clone()));
    let cancelled =
        server.block(manager.submit(matching("cancelled", config.clone()), None)).expect("queued");
    server.block(manager.cancel(&cancelled.id)).expect("cancelled");
    server.end(&manager, &cancelled.id);
    // A run that was done, and goes on with a job that was cancelled: it could be resumed.
    server.succeed(&manager, answering("goes-on", config.clone()));
    let more = server.block(manager.submit(answering("goes-on", config), None)).expect("queued");
    server.block(manager.cancel(&more.id)).expect("cancelled");
    let resumable = server.end(&manager, &more.id).state;

    assert!(bytes(&server, &manager, DataPart::Runs) > 0);
    assert!(bytes(&server, &manager, DataPart::Databases) > 0);
    let none = server.block(manager.retain(Retention::default())).expect("nothing to do");
    assert!(none.is_empty(), "off by default");
    let long = Retention { keep: Some(Duration::from_secs(3600)), max_bytes: Some(1 << 40) };
    assert!(server.block(manager.retain(long)).expect("retained").is_empty());

    let all = Retention { keep: None, max_bytes: Some(0) };
    let removed = server.block(manager.retain(all)).expect("retained");
    assert!(removed.contains(&done.id), "{removed:?}");
    for kept in [&pairs_only.id, &cancelled.id] {
        assert!(!removed.contains(kept), "{removed:?}");
        server.block(manager.get(kept)).expect("still there");
    }
    if resumable.name() == "cancelled" {
        server.block(manager.get(&more.id)).expect("resumable");
        assert!(manager.run_folder("goes-on").expect("a run").exists());
    }
    assert!(!manager.run_folder("done").expect("a run").exists());
    assert!(manager.run_folder("pairs-only").expect("a run").exists());
    let gone = server.block(manager.get(&done.id)).expect_err("forgotten");
    assert_eq!(gone.code(), "job_not_found");
    server.close(manager);
}

#[test]
fn a_running_job_is_not_deleted_and_its_inputs_go_with_their_last_job() {
    let server = Server::new(&PHOTOS);
    let manager = server.open(slow(200), ManagerOptions::default());
    let job =
        server.block(manager.submit(matching("held", server.config("")), None)).expect("queued");
    let refused = server.block(manager.delete(&job.id)).expect_err("not ended");
    assert_eq!(refused.code(), "wrong_job_state");
    server.block(manager.cancel(&job.id)).expect("cancelled");
    server.end(&manager, &job.id);
    let folders = ["libraries", "seeds"].map(|name| server.data().join(name));
    let old = std::time::SystemTime::now() - Duration::from_secs(7200);
    for folder in &folders {
        fs_err::create_dir_all(folder).expect("created");
        for (name, time) in [("old.jsonl", Some(old)), ("young.jsonl", None)] {
            let file = std::fs::File::create(folder.join(name)).expect("created");
            time.map_or(Ok(()), |time| file.set_modified(time)).expect("a time");
        }
    }
    fs_err::write(folders[1].join("young.jsonl"), "123").expect("written");
    assert_eq!(bytes(&server, &manager, DataPart::Seeds), 3);
    server.block(manager.delete(&job.id)).expect("deleted");
    for folder in &folders {
        assert!(!folder.join("old.jsonl").exists() && folder.join("young.jsonl").exists());
    }
    assert_eq!(server.block(manager.delete(&job.id)).expect_err("gone").code(), "job_not_found");
    server.close(manager);
}

#[test]
fn an_owner_has_so_many_jobs_waiting_and_no_more() {
    let server = Server::new(&PHOTOS);
    let manager = server.open(slow(500), ManagerOptions::default());
    let submit = |run: &str, owner: &str| {
        let owner = JobOwner { name: owner.to_owned(), max_queued: 1 };
        server.block(manager.submit(matching(run, server.config("")), Some(owner)))
    };
    let running = submit("a", "ada").expect("queued");
    server.until(&manager, &running.id, "it runs", |job| job.state.name() == "running");
    submit("b", "ada").expect("one may wait");
    let refused = submit("c", "ada").expect_err("a second may not");
    assert_eq!(refused.code(), "quota_exceeded");
    assert!(refused.to_string().contains("ada"), "{refused}");
    submit("d", "bob").expect("another owner's");
    server.close(manager);
}
