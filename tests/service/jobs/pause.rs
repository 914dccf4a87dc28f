//! An LLM that goes away costs no pair: the answers wait, and go on by themselves.

use pairwright::Failure;
use std::time::{Duration, Instant};

use pairwright::config::Config;
use pairwright::jobs::{JobRecord, JobState, ManagerOptions, PhaseProgress};
use pairwright::llm::{LlmError, LlmFault};
use pairwright::run::Resources;
use pairwright::work::BackendState;
use pairwright::work::Phase;

use super::server::{Server, answering, backend, shared};
use crate::support::run::{Llm, PHOTOS, wait_until};
use crate::support::stub_llm::{Fault, StubOptions};

fn with_llm(server: &Server, base_url: &str) -> Config {
    server.config(&format!(
        "[llm]\ntarget = \"openai:{base_url}\"\nmodel = \"stub-model\"\nmax_in_flight = 1\n\
         max_attempts = 2\nbackoff_base_s = 0.01\nbackoff_cap_s = 0.02\n"
    ))
}

fn port(base_url: &str) -> u16 {
    let url = reqwest::Url::parse(base_url).expect("a URL");
    url.port().expect("a port")
}

fn stub_at(port: u16) -> Llm {
    let delay = Duration::from_millis(50);
    Llm::start(StubOptions { port, delay, ..StubOptions::default() })
}

#[test]
fn a_server_that_dies_and_comes_back_loses_no_pair() {
    let server = Server::new(&PHOTOS);
    let llm = stub_at(0);
    let config = with_llm(&server, &llm.stub.base_url);
    let port = port(&llm.stub.base_url);
    let resources = Resources { backend: Some(backend(&config)), ..shared() };
    let manager = server.open(resources, ManagerOptions::default());
    let job = server.block(manager.submit(answering("pause", config), None)).expect("submitted");
    wait_until("two calls were made", || llm.stub.calls() >= 2);
    drop(llm);

    let paused = server
        .until(&manager, &job.id, "the answers pause", |record| record.progress.paused.is_some());
    assert_eq!(paused.state, JobState::Running);
    let why = paused.progress.paused.expect("it is");
    assert!(why.code == "llm_unreachable" && why.message.contains(&port.to_string()), "{why:?}");
    let count = || server.query("pause", "SELECT count(*) FROM pairs")[0].clone();
    wait_until("matching goes on", || count() == PHOTOS.len().to_string());

    let llm = stub_at(port);
    let end = server.end(&manager, &job.id);
    assert_eq!(end.state, JobState::Succeeded, "{:?}", end.failure);
    assert_eq!(end.progress.paused, None);
    let summary = end.summary.expect("it succeeded");
    assert_eq!(summary.answers_accepted, PHOTOS.len() as u64);
    assert!(!summary.is_partial() && summary.exports.len() == 3, "{summary:?}");
    assert!(llm.stub.calls() < PHOTOS.len(), "answers from before were kept");
    server.close(manager);
}

#[test]
fn a_server_that_is_down_from_the_start_pauses_and_can_be_cancelled() {
    let server = Server::new(&PHOTOS);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = closed.local_addr().expect("bound").port();
    drop(closed);
    let config = with_llm(&server, &format!("http://127.0.0.1:{port}/v1"));
    let resources = Resources { backend: Some(backend(&config)), ..shared() };
    let manager = server.open(resources, ManagerOptions::default());
    let job = server.block(manager.submit(answering("down", config), None)).expect("submitted");
    server.until(&manager, &job.id, "paused with everything matched", |record| {
        let over = |one: &PhaseProgress| one.phase == Phase::Match && one.finished;
        record.progress.paused.is_some() && record.progress.phases.iter().any(over)
    });
    let asked = Instant::now();
    server.block(manager.cancel(&job.id)).expect("a job");
    let end = server.end(&manager, &job.id);
    assert_eq!(end.state, JobState::Cancelled);
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());

    let llm = stub_at(port);
    server.block(manager.resume(&job.id, None)).expect("it was cancelled");
    let end = server.end(&manager, &job.id);
    assert_eq!(end.state, JobState::Succeeded, "{:?}", end.failure);
    assert_eq!((end.attempts, llm.stub.calls()), (2, PHOTOS.len()));
    assert_eq!(server.query("down", "SELECT items FROM stage_times WHERE stage = 'embed'"), ["6"]);
    server.close(manager);
}

#[test]
fn a_refused_key_is_reported_and_not_hammered() {
    let server = Server::new(&PHOTOS);
    let llm = Llm::default();
    llm.stub.always(Fault::Status(401, "no such key"));
    let config = with_llm(&server, &llm.stub.base_url);
    let resources = Resources { backend: Some(backend(&config)), ..shared() };
    let manager = server.open(resources, ManagerOptions::default());
    let job = server.block(manager.submit(answering("key", config), None)).expect("submitted");
    let refused = |record: &JobRecord| {
        record.progress.paused.as_ref().is_some_and(|why| why.code == "llm_unauthorized")
    };
    server.until(&manager, &job.id, "the key is refused", refused);
    // The list of models is open to everybody, so each probe finds the server well; still calls
    // come no faster than the back-off of 0.2 s, then 0.4 s.
    let (calls, since) = (llm.stub.calls(), Instant::now());
    wait_until("it was tried four times more", || llm.stub.calls() >= calls + 4);
    let more = llm.stub.calls() - calls;
    let most = since.elapsed().as_millis() as usize / 200 + 1;
    assert!(more <= most, "{more} calls in {:?}", since.elapsed());
    llm.stub.always(Fault::None);
    let end = server.end(&manager, &job.id);
    assert_eq!(end.state, JobState::Succeeded, "{:?}", end.failure);
    assert_eq!(end.summary.expect("it succeeded").answers_accepted, PHOTOS.len() as u64);
    server.close(manager);
}

#[test]
fn one_poisonous_pair_does_not_pause_for_ever() {
    let server = Server::new(&PHOTOS);
    let llm = Llm::default();
    llm.stub.script([Fault::None]);
    llm.stub.script(vec![Fault::Status(500, "out of luck"); 2]);
    let config = with_llm(&server, &llm.stub.base_url);
    let resources = Resources { backend: Some(backend(&config)), ..shared() };
    let manager = server.open(resources, ManagerOptions::default());
    let end = server.succeed(&manager, answering("luck", config));
    let summary = end.summary.expect("it succeeded");
    assert_eq!(summary.answers_accepted, PHOTOS.len() as u64, "the failed call was made again");
    assert_eq!(llm.stub.calls(), PHOTOS.len() + 2);
    server.close(manager);
}

#[test]
fn callers_share_what_is_known_of_the_backend() {
    let server = Server::new(&[]);
    let llm = stub_at(0);
    let config = with_llm(&server, &llm.stub.base_url);
    let port = port(&llm.stub.base_url);
    let backend = backend(&config);
    assert_eq!(backend.state(), BackendState::Untried);
    server.block(async { backend.model().await.map(|_| ()) }).expect("it is there");
    assert_eq!((backend.state(), backend.in_flight()), (BackendState::Up, 1));
    drop(llm);

    let cause = || LlmFault::Unreachable { url: "http://x".into(), cause: "gone".into() };
    let unlucky = LlmError { fault: cause(), attempts: 2 };
    let long = LlmError::from(LlmFault::ContextTooLong { excerpt: String::new() });
    server.block(async {
        // Every place twice, at least four in a row, and no success between.
        let gone = [(); 3].map(|()| backend.report_failure(&unlucky));
        backend.report_success();
        let again = [(); 3].map(|()| backend.report_failure(&unlucky));
        assert_eq!((gone, again), ([false; 3], [false; 3]));
        assert!(!backend.report_failure(&long), "another prompt may pass");
        assert!(backend.report_failure(&unlucky), "the fourth in a row");
        let down = backend.model().await.map(|_| ()).expect_err("it is down");
        assert_eq!(down.code(), "llm_unreachable");
        assert!(down.retry_after <= Duration::from_millis(500), "{:?}", down.retry_after);
    });
    let llm = stub_at(port);
    server.block(async {
        tokio::time::timeout(Duration::from_secs(20), backend.wait()).await.expect("it is back");
    });
    assert_eq!(backend.state(), BackendState::Up);
    drop(llm);
}
