//! LLM servers that misbehave, a user who interrupts, a second process, a full disk.

use std::path::Path;
use std::process::Output;
use std::time::Duration;

mod disk;
mod nothing;
mod refusals;
mod unfit;

use crate::support::run::{
    Llm, PHOTOS, World, assert_code, count, exported_ids, finish, pairwright, query, said, signal,
    start, wait_until,
};
use crate::support::stub_llm::{After, Fault, StubOptions};

/// One call at a time, so that a script of faults meets the pairs in order.
const ONE_BY_ONE: &str =
    "llm.max_in_flight = 1\nllm.max_attempts = 3\nllm.deadline_s = 20.0\nanswer.attempts = 1\n";

fn world(more: &str) -> World {
    let world = World::with_photos(&PHOTOS);
    world.configure(&format!("{ONE_BY_ONE}{more}"));
    world
}

fn answers(out: &Path) -> usize {
    count(out, "SELECT count(*) FROM answers")
}

const FAILURES: &str = "SELECT code, attempts FROM failures";

/// Runs the folder again with a server that works, expects all photos, and returns the calls.
#[track_caller]
fn completes(world: &World, llm: &Llm) -> usize {
    let (out, before) = (world.path("out"), llm.stub.calls());
    assert_code(&world.run("out", llm), 0);
    assert_eq!(count(&out, "SELECT count(*) FROM failures"), 0);
    assert_eq!(exported_ids(&out).len(), PHOTOS.len());
    assert_code(&finish(pairwright(&["verify", "--out"]).arg(&out)), 0);
    llm.stub.calls() - before
}

#[test]
fn a_server_that_is_down_costs_only_the_answers() {
    let world = world("");
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = closed.local_addr().expect("bound").port();
    drop(closed);
    let out = world.path("out");
    let target = format!("openai:http://127.0.0.1:{port}/v1");
    let output = finish(&mut world.command(&out, &target));
    assert_code(&output, 4);
    let text = said(&output);
    assert!(text.contains(&target["openai:".len()..]), "{text}");
    assert!(text.contains("the same command makes them: pairwright run --out"), "{text}");
    assert_eq!(count(&out, "SELECT count(*) FROM pairs"), PHOTOS.len());

    let llm = Llm::default();
    assert_eq!(completes(&world, &llm), PHOTOS.len());
    let embedded = count(&out, "SELECT items FROM stage_times WHERE stage = 'embed'");
    assert_eq!(embedded, PHOTOS.len(), "no photo was embedded twice");
}

#[test]
fn a_key_that_is_refused_ends_the_answers_at_once() {
    let world = world("");
    let strict = StubOptions { key: Some("secret".into()), ..StubOptions::default() };
    let llm = Llm::start(strict);
    let output = world.run("out", &llm);
    assert_code(&output, 4);
    assert!(said(&output).contains("401"), "{}", said(&output));
    assert_eq!(llm.stub.calls(), 0, "the list of models told already");

    // A server that lists its models to everybody.
    let llm = Llm::default();
    llm.stub.always(Fault::Status(401, "no such key"));
    let output = world.run("out", &llm);
    assert_code(&output, 4);
    assert!(said(&output).contains("no such key"), "{}", said(&output));
    assert_eq!(llm.stub.calls(), 1);
    llm.stub.always(Fault::None);
    assert_eq!(completes(&world, &llm), PHOTOS.len());
}

#[test]
fn a_busy_server_is_asked_again() {
    let world = world("llm.max_attempts = 4");
    let llm = Llm::default();
    let later = || Fault::RateLimit(After::Seconds(1));
    llm.stub.script([Fault::None, later(), later(), Fault::None, later()]);
    assert_eq!(completes(&world, &llm), PHOTOS.len() + 3);
}

/// The second pair meets `fault` at each of its three attempts, the others none.
fn one_pair_fails(more: &str, fault: &Fault, code: &str) {
    let world = world(more);
    let (llm, out) = (Llm::default(), world.path("out"));
    llm.stub.script([Fault::None, fault.clone(), fault.clone(), fault.clone()]);
    let output = world.run("out", &llm);
    assert_code(&output, 3);
    assert_eq!(query(&out, FAILURES), [format!("{code} | 3")]);
    assert!(said(&output).contains(code), "{}", said(&output));
    assert_eq!(llm.stub.calls(), PHOTOS.len() + 2);
    assert_eq!(exported_ids(&out).len(), PHOTOS.len() - 1, "the others are exported");
    let report = fs_err::read_to_string(out.join("report.html")).expect("a report");
    assert!(report.contains(code));
    assert_eq!(completes(&world, &llm), 1);
}

#[test]
fn a_call_that_always_fails_is_left_for_later() {
    one_pair_fails("", &Fault::Status(500, "out of luck"), "llm_server_error");
}

#[test]
fn a_call_that_hangs_is_left_for_later() {
    one_pair_fails("llm.deadline_s = 0.3\n", &Fault::Hang, "llm_timeout");
}

#[test]
fn garbage_is_left_for_later() {
    one_pair_fails("", &Fault::Body("<html>Gateway says hello</html>"), "llm_garbage");
}

#[test]
fn a_broken_connection_is_left_for_later() {
    one_pair_fails("", &Fault::Cut, "llm_disconnected");
}

#[test]
fn a_server_that_only_fails_is_given_up() {
    let world = world("");
    let llm = Llm::default();
    llm.stub.always(Fault::Status(500, "out of luck"));
    let output = world.run("out", &llm);
    assert_code(&output, 4);
    assert!(said(&output).contains("out of luck"), "{}", said(&output));
    assert!(llm.stub.calls() < 3 * PHOTOS.len(), "{} calls", llm.stub.calls());
    llm.stub.always(Fault::None);
    assert_eq!(completes(&world, &llm), PHOTOS.len());
}

#[test]
fn ctrl_c_keeps_what_is_in_flight_and_says_how_to_resume() {
    let world = world("");
    let options = StubOptions { delay: Duration::from_millis(300), ..StubOptions::default() };
    let (llm, out) = (Llm::start(options), world.path("out"));
    let child = start(&mut world.command(&out, &llm.target()));
    wait_until("the second call is under way", || llm.stub.calls() >= 2);
    signal(child.id(), "INT");
    let output: Output = child.wait_with_output().expect("it ended");
    assert_code(&output, 130);
    let resume = format!("To resume: pairwright run --out {}", out.display());
    assert!(said(&output).contains(&resume), "{}", said(&output));
    let calls = llm.stub.calls();
    assert!(calls < PHOTOS.len(), "it went on to the end");
    assert_eq!(answers(&out), calls, "every call made was kept");

    assert_code(&finish(pairwright(&["run", "--out"]).arg(&out)), 0);
    assert_eq!(llm.stub.calls(), PHOTOS.len());
    assert_eq!(exported_ids(&out).len(), PHOTOS.len());
}

#[test]
fn a_second_ctrl_c_gives_up_what_is_in_flight() {
    let world = world("");
    let (llm, out) = (Llm::default(), world.path("out"));
    llm.stub.always(Fault::Hang);
    let mut child = start(&mut world.command(&out, &llm.target()));
    wait_until("a call hangs", || llm.stub.calls() == 1);
    // Signals that come together are taken as one, so the second is sent until it is heard.
    while child.try_wait().expect("asked").is_none() {
        signal(child.id(), "INT");
        std::thread::sleep(Duration::from_millis(100));
    }
    let output = child.wait_with_output().expect("it ended");
    assert_code(&output, 130);
    llm.stub.always(Fault::None);
    assert_eq!(completes(&world, &llm), PHOTOS.len());
}

#[test]
fn one_folder_serves_one_process() {
    let world = world("");
    let (llm, out) = (Llm::default(), world.path("out"));
    llm.stub.script([Fault::Hang]);
    let mut first = start(&mut world.command(&out, &llm.target()));
    wait_until("the first is at work", || llm.stub.calls() == 1);
    let second = world.run("out", &llm);
    assert_code(&second, 2);
    let text = said(&second);
    assert!(text.contains("in use") && text.contains(&out.display().to_string()), "{text}");
    assert!(first.try_wait().expect("asked").is_none(), "the first works on");
    first.kill().expect("kill");
    first.wait().expect("it ended");
    completes(&world, &llm);
}
