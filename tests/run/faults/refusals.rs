//! Refusals: never taken for a pair's own fault without proof, and nothing lost or asked twice on
//! the way.

use super::*;

/// What nobody has a class for.
const REFUSAL: Fault = Fault::Status(418, "this server is a teapot");

/// The account's credit is spent.
const SPENT: Fault = Fault::Status(429, "insufficient_quota");

const REFUSED: &str = "SELECT code, subject FROM rejections WHERE stage = 'answer'";

fn failures(out: &Path) -> usize {
    count(out, "SELECT count(*) FROM failures")
}

/// The server answers `good` calls and then fails with `fault`.
fn breaks_after(good: usize, fault: &Fault) -> Llm {
    let llm = Llm::default();
    llm.stub.script(std::iter::repeat_n(Fault::None, good));
    llm.stub.always(fault.clone());
    llm
}

#[test]
fn credit_that_ends_in_the_middle_loses_nothing_and_asks_nothing_twice() {
    let (world, llm) = (world(""), breaks_after(2, &SPENT));
    let out = world.path("out");
    let output = world.run("out", &llm);
    assert_code(&output, 4);
    assert!(said(&output).contains("insufficient_quota"), "{}", said(&output));
    assert_eq!((answers(&out), failures(&out), llm.stub.calls()), (2, 1, 3));
    assert_eq!(exported_ids(&out).len(), 2, "what was paid for is exported");

    // Still no credit, and then a server in its place that refuses everything in other words.
    assert_code(&world.run("out", &llm), 4);
    llm.stub.always(REFUSAL);
    let output = world.run("out", &llm);
    assert_code(&output, 3);
    assert!(said(&output).contains("this server is a teapot"), "{}", said(&output));
    assert_eq!((answers(&out), failures(&out), llm.stub.calls()), (2, 4, 3 + 1 + 4));
    assert_eq!(query(&out, REFUSED), Vec::<String>::new());

    llm.stub.always(Fault::None);
    assert_eq!(completes(&world, &llm), 4, "the pairs that had no answer, each once");
    assert_eq!(llm.distinct(), PHOTOS.len());
    assert_eq!(completes(&world, &llm), 0);
}

#[test]
fn one_refused_pair_among_others_is_refused_for_good() {
    let (world, llm) = (world(""), Llm::default());
    let out = world.path("out");
    llm.stub.script([Fault::None, REFUSAL]);
    assert_code(&world.run("out", &llm), 0);
    assert_eq!((answers(&out), failures(&out)), (PHOTOS.len() - 1, 0));
    let refused = query(&out, REFUSED);
    assert!(
        refused.len() == 1 && refused[0].starts_with("llm_bad_request | deep-space"),
        "{refused:?}"
    );
    assert_code(&world.run("out", &llm), 0);
    assert_eq!(llm.stub.calls(), PHOTOS.len(), "never asked again");
}

#[test]
fn a_refusal_with_no_answer_after_it_waits_for_one() {
    let [first @ .., later] = PHOTOS;
    let (world, llm) = (World::with_photos(&first), Llm::default());
    world.configure(ONE_BY_ONE);
    let out = world.path("out");
    llm.stub.script(std::iter::repeat_n(Fault::None, first.len() - 1).chain([REFUSAL]));
    assert_code(&world.run("out", &llm), 3);
    llm.stub.script([REFUSAL]);
    assert_code(&world.run("out", &llm), 3);
    assert_eq!((failures(&out), query(&out, REFUSED).len()), (1, 0));
    world.add_photo(later, later);
    llm.stub.script([REFUSAL]);
    assert_code(&world.run("out", &llm), 0);
    assert_eq!((failures(&out), query(&out, REFUSED).len()), (0, 1));
    assert_eq!(llm.stub.calls(), first.len() + 1 + 2);
}

#[test]
fn a_prompt_that_is_too_long_is_final_only_where_others_fit() {
    let (world, llm) = (world(""), Llm::default());
    let long = Fault::Status(400, "exceed_context_size_error");
    let out = world.path("out");
    llm.stub.always(long.clone());
    assert_code(&world.run("out", &llm), 3);
    assert_eq!(failures(&out), PHOTOS.len(), "no prompt fits: the server is too small");
    llm.stub.always(Fault::None);
    llm.stub.script(std::iter::repeat_n(Fault::None, PHOTOS.len() - 1).chain([long]));
    assert_code(&world.run("out", &llm), 0);
    let refused = query(&out, REFUSED);
    assert!(refused.len() == 1 && refused[0].starts_with("llm_context_too_long"), "{refused:?}");
}

#[test]
fn a_kill_between_refusal_and_answer_leaves_a_failure() {
    let (world, llm) = (world(""), Llm::default());
    let out = world.path("out");
    llm.stub.script([REFUSAL, Fault::Hang]);
    let mut child = start(&mut world.command(&out, &llm.target()));
    wait_until("the second call hangs", || llm.stub.calls() == 2);
    child.kill().expect("kill -9");
    child.wait().expect("it ended");
    assert_eq!((failures(&out), query(&out, REFUSED).len()), (1, 0));
    assert_eq!(completes(&world, &llm), PHOTOS.len());
}

#[test]
fn nothing_but_refusals_names_the_refusal_and_leaves_no_empty_files() {
    let (world, llm) = (world(""), breaks_after(0, &REFUSAL));
    let out = world.path("out");
    let output = world.run("out", &llm);
    assert_code(&output, 3);
    let text = said(&output);
    assert!(text.contains("error: nothing was made: no answer was accepted: 6 of 6"), "{text}");
    assert!(text.contains("this server is a teapot"), "{text}");
    assert!(crate::support::run::EXPORTS.iter().all(|name| !out.join(name).exists()));
    llm.stub.always(Fault::None);
    assert_eq!(completes(&world, &llm), PHOTOS.len());
}

/// As release 0.1.0 left its runs: each refusal kept as final, whatever the server meant by it.
#[test]
fn refusals_that_an_older_release_took_for_final_without_proof_are_asked_once_more() {
    for good in [0, 3] {
        let (world, llm) = (world(""), breaks_after(good, &REFUSAL));
        let out = world.path("out");
        assert_code(&world.run("out", &llm), 3);
        let store = rusqlite::Connection::open(out.join("run.sqlite")).expect("a store");
        store
            .execute_batch(
                "INSERT INTO rejections SELECT 'answer', subject, pair_key, conf, code, reason
                     FROM failures;
                 DELETE FROM failures; DELETE FROM meta WHERE name = 'refusals are proven';",
            )
            .expect("as it was");
        drop(store);
        assert_code(&world.run("out", &llm), 3);
        assert_eq!(failures(&out), PHOTOS.len() - good, "they are failures now");
        llm.stub.always(Fault::None);
        assert_eq!(completes(&world, &llm), PHOTOS.len() - good);
    }
}
