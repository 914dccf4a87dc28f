//! Bad input: precise errors before any call is paid for, or counted outcomes after; never a
//! silent tie.

use super::{Desk, answer, question, tally};
use crate::support::judge_stub::{JudgeStub, Script, Weather};
use crate::support::run::{assert_code, finish, pairwright, said};

/// Judges and asserts a refusal with every word of `wanted`, before any call.
#[track_caller]
fn refused(desk: &Desk, more: &[&str], wanted: &[&str]) {
    let stub = JudgeStub::start(Script::Longer, Weather::Fine);
    let output = desk.judge(&stub, "out", more);
    assert_code(&output, 2);
    let said = said(&output);
    for words in wanted {
        assert!(said.contains(words), "{words:?} is not in {said}");
    }
    assert_eq!(stub.calls(), 0, "nothing is paid for");
}

#[test]
fn answer_files_of_other_lengths() {
    let desk = Desk::with_two();
    desk.write("b.jsonl", answer(1, "x", "n"));
    refused(&desk, &[], &["b.jsonl: no answer to questions: 0", "nothing was asked"]);
}

#[test]
fn ids_that_do_not_match_and_ids_that_come_twice() {
    let desk = Desk::with_two();
    desk.write(
        "a.jsonl",
        [answer(0, "x", "m"), answer(0, "y", "m"), answer(7, "z", "m")].join("\n"),
    );
    let wanted = ["a.jsonl: ids twice: 0", "no answer to questions: 1", "unknown questions: 7"];
    refused(&desk, &[], &wanted);
}

#[test]
fn shifted_answers() {
    let desk = Desk::with_two();
    let shifted = answer(0, "x", "m").replace("Do task 0.", "Do task 1.");
    desk.write("a.jsonl", [shifted, answer(1, "y", "m")].join("\n"));
    refused(&desk, &[], &["answers to another instruction under the same id: 0"]);
}

#[test]
fn a_missing_image() {
    let desk = Desk::with_two();
    fs_err::create_dir(desk.path("images")).expect("create");
    desk.write("images/0.jpg", b"\xff\xd8\xff\xe0....");
    let images = desk.path("images");
    let images = ["--images", images.to_str().expect("UTF-8")];
    refused(&desk, &images, &["question 1:", "1.jpg", "nothing was asked"]);
}

#[test]
fn a_missing_caption() {
    let desk = Desk::with_two();
    desk.write("q.jsonl", [question(0, "A cat."), question(1, "")].join("\n"));
    refused(&desk, &[], &["question 1 has no caption to show instead"]);
}

#[test]
fn files_that_are_missing_or_no_answers() {
    let desk = Desk::with_two();
    desk.write("a.jsonl", "{\"question_id\": 0}\n");
    refused(&desk, &[], &["a.jsonl, line 1: missing field `text`"]);
    fs_err::remove_file(desk.path("a.jsonl")).expect("remove");
    refused(&desk, &[], &["a.jsonl"]);
}

#[test]
fn empty_answers_are_refused_or_counted_as_forfeits() {
    let desk = Desk::with_two();
    desk.write("a.jsonl", [answer(0, "", "m"), answer(1, "rather long", "m")].join("\n"));
    refused(&desk, &[], &["a.jsonl: empty answers: 0"]);
    let stub = JudgeStub::start(Script::Longer, Weather::Fine);
    assert_code(&desk.judge(&stub, "out", &["--empty-answers", "lose"]), 0);
    let results = desk.results("out");
    assert_eq!((tally(&results, "strict"), stub.calls()), ([1, 0, 1, 0], 2));
    assert_eq!(results["strict"]["total"]["forfeits"], 1);
}

#[test]
fn a_judge_that_answers_prose_is_no_tie() {
    let desk = Desk::with_two();
    let stub = JudgeStub::start(Script::Says("Lovely pictures, both of them."), Weather::Fine);
    let output = desk.judge(&stub, "out", &[]);
    assert_code(&output, 0);
    let results = desk.results("out");
    for rule in ["strict", "paper"] {
        assert_eq!(tally(&results, rule), [0, 0, 0, 2]);
    }
    assert_eq!(stub.calls(), 4 * 3, "asked three times, then counted apart");
    assert!(said(&output).contains("unparsed 2"), "{}", said(&output));
}

#[test]
fn a_judge_that_says_both_is_no_tie() {
    let desk = Desk::with_two();
    let stub = JudgeStub::start(Script::Says("A\nB"), Weather::Fine);
    assert_code(&desk.judge(&stub, "out", &["--attempts", "1"]), 0);
    let results = desk.results("out");
    assert_eq!((tally(&results, "strict"), stub.calls()), ([0, 0, 0, 2], 4));
    assert_eq!(results["verdicts"][0]["forward"]["replies"][0]["reason"], "ambiguous");
}

#[test]
fn a_judge_that_always_says_a_is_told_as_biased() {
    let desk = Desk::default();
    let rows = |row: &dyn Fn(i64) -> String| (0..12).map(row).collect::<Vec<_>>().join("\n");
    desk.write("q.jsonl", rows(&|id| question(id, "A cat.")));
    desk.write("a.jsonl", rows(&|id| answer(id, "one", "m")));
    desk.write("b.jsonl", rows(&|id| answer(id, "two", "n")));
    let output = desk.judge(&JudgeStub::start(Script::AlwaysA, Weather::Fine), "out", &[]);
    assert_code(&output, 0);
    let said = said(&output);
    assert!(said.contains("the judge favours the answer shown FIRST"), "{said}");
    assert!(said.contains("12 flip with the order"), "{said}");
}

#[test]
fn a_judge_that_refuses_us_ends_the_work_and_loses_nothing() {
    let desk = Desk::with_two();
    let stub = JudgeStub::start(Script::Longer, Weather::Locked);
    let output = desk.judge(&stub, "out", &["--llm-in-flight", "1"]);
    assert_code(&output, 4);
    assert!(said(&output).contains("HTTP 401"), "{}", said(&output));
    let results = desk.results("out");
    assert_eq!(results["strict"]["total"]["missing"], 2, "missing, not tied");
    let stub = JudgeStub::start(Script::Longer, Weather::Fine);
    let mut command = pairwright(&["evaluate", "judge", "--llm", &stub.target(), "--out"]);
    assert_code(&finish(command.arg(desk.path("out"))), 0);
    assert_eq!(tally(&desk.results("out"), "strict"), [1, 0, 1, 0]);
}

#[test]
fn a_new_evaluation_needs_its_files_and_ranges_are_checked() {
    let desk = Desk::with_two();
    let output = finish(pairwright(&["evaluate", "judge", "--out"]).arg(desk.path("new")));
    assert_code(&output, 2);
    assert!(said(&output).contains("--questions, --a and --b"), "{}", said(&output));
    refused(&desk, &["--attempts", "0"], &["attempts is 0, must be 1 to 10"]);
    refused(&desk, &["--temperature", "9"], &["settings.temperature", "0 to 2"]);
}
