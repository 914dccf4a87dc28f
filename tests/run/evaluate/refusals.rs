//! A server that refuses, by the stub that plays faults: nothing lost, nothing asked twice.

use super::*;
use crate::support::run::{Llm, assert_code, said};
use crate::support::stub_llm::Fault;

const REFUSAL: Fault = Fault::Status(418, "this server is a teapot");

/// `evaluate answer` of five questions, one call at a time.
fn answers(desk: &Desk, llm: &Llm) -> Output {
    let questions: Vec<String> = (0..5).map(|id| question(id, "A cat.")).collect();
    desk.write("q.jsonl", questions.join("\n"));
    let mut command = pairwright(&["evaluate", "answer", "--llm", &llm.target()]);
    command.arg("--questions").arg(desk.path("q.jsonl"));
    command.arg("--config").arg(desk.path("config.toml"));
    command.args(["--see", "caption", "--llm-in-flight", "1", "--llm-model", "stub-model"]);
    finish(command.arg("--out").arg(desk.path("out")))
}

fn answered(desk: &Desk) -> usize {
    fs_err::read_to_string(desk.path("out/answers.jsonl")).expect("answers").lines().count()
}

#[test]
fn credit_that_ends_in_the_middle_loses_no_answer() {
    let (desk, llm) = (Desk::default(), Llm::default());
    llm.stub.script([Fault::None, Fault::None]);
    llm.stub.always(Fault::Status(429, "insufficient_quota"));
    let output = answers(&desk, &llm);
    assert_code(&output, 4);
    assert!(said(&output).contains("insufficient_quota"), "{}", said(&output));
    assert_eq!((answered(&desk), llm.stub.calls()), (2, 3));
    llm.stub.always(REFUSAL);
    assert_code(&answers(&desk, &llm), 3);
    assert_eq!((answered(&desk), llm.stub.calls()), (2, 6), "each is asked, and none is final");
    llm.stub.always(Fault::None);
    assert_code(&answers(&desk, &llm), 0);
    assert_eq!((answered(&desk), llm.stub.calls(), llm.distinct()), (5, 9, 5));
}

#[test]
fn a_question_that_is_refused_among_others_is_refused_for_good() {
    let (desk, llm) = (Desk::default(), Llm::default());
    llm.stub.script([Fault::None, REFUSAL]);
    let output = answers(&desk, &llm);
    assert_code(&output, 0);
    assert!(said(&output).contains("the server refuses questions 1"), "{}", said(&output));
    assert_code(&answers(&desk, &llm), 0);
    assert_eq!((answered(&desk), llm.stub.calls()), (4, 5));
}

#[test]
fn no_answer_at_all_is_an_error_that_names_the_cause() {
    let (desk, llm) = (Desk::default(), Llm::default());
    llm.stub.always(REFUSAL);
    let output = answers(&desk, &llm);
    assert_code(&output, 3);
    let text = said(&output);
    assert!(text.contains("error: nothing was made: no question has an answer: "), "{text}");
    assert!(text.contains("this server is a teapot"), "{text}");
}

#[test]
fn a_judge_that_refuses_one_order_for_good_leaves_it_unparsed() {
    let (desk, llm) = (Desk::with_two(), Llm::default());
    llm.stub.script([Fault::None, REFUSAL]);
    let judge = || {
        let mut command = pairwright(&["evaluate", "judge", "--llm", &llm.target()]);
        for (flag, name) in [("--questions", "q"), ("--a", "a"), ("--b", "b")] {
            command.arg(flag).arg(desk.path(&format!("{name}.jsonl")));
        }
        command.arg("--config").arg(desk.path("config.toml"));
        command.args(["--attempts", "1", "--llm-in-flight", "1", "--llm-model", "stub-model"]);
        finish(command.arg("--out").arg(desk.path("out")))
    };
    assert_code(&judge(), 0);
    assert_code(&judge(), 0);
    assert_eq!(llm.stub.calls(), 4, "both orders of two questions, each once");
    let results = desk.results("out");
    assert_eq!(results["verdicts"][0]["backward"]["failure"]["refused"], true);
    assert_eq!(results["strict"]["total"]["missing"], 0);
}
