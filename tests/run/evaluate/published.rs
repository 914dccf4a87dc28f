//! The published files, judged by scripted judges: the exact counts, as
//! `tests/golden/make_evaluation.py` finds them without our code.

use std::collections::HashSet;
use std::path::Path;

use serde_json::Value;

use super::{Desk, published, tally};
use crate::support::judge_stub::{JudgeStub, Script, Weather};
use crate::support::run::{assert_code, finish, pairwright, root, said};

const FILES: [&str; 3] = ["gpt4v", "llava-v1.5-7b", "InstructBLIP-7B"];
const PAIRS: [(usize, usize); 3] = [(0, 1), (0, 2), (1, 2)];

fn golden() -> Value {
    let text = fs_err::read(root().join("tests/golden/evaluation.json")).expect("golden");
    serde_json::from_slice::<Value>(&text).expect("JSON")["published"].take()
}

fn expected(golden: &Value, (one, other): (usize, usize), judge: &str) -> Value {
    golden["pairs"][format!("{} {}", FILES[one], FILES[other])][judge].clone()
}

fn counts(value: &Value) -> [u64; 4] {
    serde_json::from_value(value.clone()).expect("four counts")
}

/// Judges every pair with `script`, asserts the golden counts, and hands the results to `check`.
fn every_pair(name: &str, script: &Script, weather: Weather, check: impl Fn(&Value, &JudgeStub)) {
    let Some(folder) = published() else { return };
    let golden = golden();
    for pair in PAIRS {
        let desk = Desk::default();
        let stub = JudgeStub::start(script.clone(), weather);
        let results = judged(&desk, &folder, pair, &stub);
        let expected = expected(&golden, pair, name);
        assert_eq!(tally(&results, "strict"), counts(&expected["strict"]), "{pair:?}");
        assert_eq!(tally(&results, "paper"), counts(&expected["paper"]), "{pair:?}");
        assert_eq!(letters(&results), counts(&expected["letters"]), "{pair:?}");
        check(&results, &stub);
    }
}

fn judged(desk: &Desk, folder: &Path, (one, other): (usize, usize), stub: &JudgeStub) -> Value {
    let path = |name: &str| folder.join(format!("{name}.json"));
    let (questions, a, b) =
        (path("MM-Instruct-Eval-question"), path(FILES[one]), path(FILES[other]));
    let output = desk.judge_files([&questions, &a, &b], stub, "out", &[]);
    assert_code(&output, 0);
    assert!(said(&output).contains("report"), "{}", said(&output));
    desk.results("out")
}

fn letters(results: &Value) -> [u64; 4] {
    let names = ["first_place", "second_place", "neither", "unparsed"];
    names.map(|name| results["position"][name].as_u64().expect("a count"))
}

#[test]
fn always_a_is_all_ties_and_all_bias() {
    every_pair("always_a", &Script::AlwaysA, Weather::Fine, |results, stub| {
        assert_eq!(results["consistency"]["order_flips"], 99);
        assert_eq!(results["consistency"]["agreed_ties"], 0);
        assert_eq!(results["position"]["questions_first"], 99);
        // 2 / 2^99.
        let p = results["position"]["p_value"].as_f64().expect("a number");
        assert!((p / 2f64.powi(-98) - 1.0).abs() < 1e-9, "{p}");
        assert_eq!((stub.calls(), stub.distinct()), (198, 198));
    });
}

#[test]
fn who_prefers_the_longer_is_fair_to_places_and_not_to_lengths() {
    every_pair("longer", &Script::Longer, Weather::Fine, |results, _| {
        assert_eq!(results["consistency"]["agreed"], 99);
        assert_eq!(results["position"]["p_value"], 1.0);
        assert!(results["strict"]["length"]["p_value"].as_f64().expect("p") < 1e-12);
        let share = results["strict"]["length"]["longer_wins"]["value"].as_f64().expect("share");
        assert!(share > 0.9, "{share}: words and characters mostly agree");
    });
}

#[test]
fn garbage_is_counted_apart_after_three_askings() {
    every_pair("garbage", &Script::Garbage, Weather::Fine, |results, stub| {
        let unparsed = letters(results)[3];
        assert_eq!(stub.calls() as u64, 198 + 2 * unparsed, "two more askings each");
        assert_eq!(stub.calls(), stub.distinct(), "each asking has its own seed");
        assert_eq!(results["cost"]["replies"].as_u64(), Some(stub.calls() as u64));
    });
}

#[test]
fn rate_limits_and_hangs_change_no_count() {
    every_pair("longer", &Script::Longer, Weather::Foul, |results, stub| {
        assert!(stub.calls() > 198 + 28, "{} calls", stub.calls());
        assert_eq!(stub.answered(), 198);
        assert_eq!(results["cost"]["requests"].as_u64(), Some(stub.calls() as u64));
    });
}

#[test]
fn who_favours_a_file_gives_it_every_question() {
    let Some(folder) = published() else { return };
    let rows = fs_err::read_to_string(folder.join("InstructBLIP-7B.json")).expect("readable");
    let texts = rows.lines().filter(|line| !line.trim().is_empty()).map(|line| {
        let row: Value = serde_json::from_str(line).expect("JSON");
        row["text"].as_str().expect("text").trim().to_owned()
    });
    let favoured: HashSet<String> = texts.collect();
    let desk = Desk::default();
    let stub = JudgeStub::start(Script::Favours(favoured), Weather::Fine);
    let results = judged(&desk, &folder, (2, 0), &stub);
    for rule in ["strict", "paper"] {
        assert_eq!(tally(&results, rule), [99, 0, 0, 0]);
    }
    assert_eq!(results["first"]["name"], "InstructBlip");
    assert_eq!(results["position"]["p_value"], 1.0);
    assert_eq!(results["strict"]["by_instruction"].as_array().expect("groups").len(), 33);
    let first = &results["strict"]["total"]["first"];
    let low = first["low"].as_f64().expect("a number");
    // scipy.stats.binomtest(99, 99).proportion_ci(method="wilson").low
    assert!((low - 0.962_646_787_932_172_5).abs() < 1e-12, "{low}");
}

#[test]
fn the_leaderboard_ranks_as_scipy_does() {
    let Some(folder) = published() else { return };
    let desk = Desk::default();
    let stub = JudgeStub::start(Script::Longer, Weather::Fine);
    let mut command = pairwright(&["evaluate", "leaderboard", "--llm", &stub.target()]);
    command.arg("--questions").arg(folder.join("MM-Instruct-Eval-question.json")).arg("--answers");
    command.args(FILES.map(|name| folder.join(format!("{name}.json"))));
    let output = finish(command.arg("--out").arg(desk.path("board")));
    assert_code(&output, 0);
    assert_eq!(stub.calls(), 3 * 198);
    let results = desk.results("board");
    let ranking = results["ranking"].as_array().expect("a ranking");
    let expected: [f64; 3] = serde_json::from_value(golden()["strengths"].take()).expect("three");
    for (name, strength) in ["GPT4-V", "llava-v1.5-7b", "InstructBlip"].iter().zip(expected) {
        let row = ranking.iter().find(|row| row["name"] == *name).expect("ranked");
        let found = row["strength"].as_f64().expect("a number");
        assert!((found - strength).abs() < 1e-6, "{name}: {found}, SciPy {strength}");
        let bound = |index: usize| row["interval"][index].as_f64().expect("a bound");
        assert!(bound(0) < found && found < bound(1), "{row}");
    }
    assert_eq!(ranking[0]["name"], "llava-v1.5-7b");
    assert_eq!(results["smoothed"], false);

    // Again: nothing is asked, and the seeded intervals are the same.
    let again = finish(pairwright(&["evaluate", "leaderboard", "--out"]).arg(desk.path("board")));
    assert_code(&again, 0);
    assert_eq!((stub.calls(), desk.results("board")), (3 * 198, results));
}

#[test]
fn a_baseline_is_met_by_everyone_else_and_a_dry_run_asks_nothing() {
    let Some(folder) = published() else { return };
    let desk = Desk::default();
    let stub = JudgeStub::start(Script::Longer, Weather::Fine);
    let board = |more: &[&str]| {
        let mut command = pairwright(&["evaluate", "leaderboard", "--llm", &stub.target()]);
        command.arg("--questions").arg(folder.join("MM-Instruct-Eval-question.json"));
        command.arg("--answers").args(FILES.map(|name| folder.join(format!("{name}.json"))));
        let output = finish(command.arg("--out").arg(desk.path("board")).args(more));
        assert_code(&output, 0);
        said(&output)
    };
    let dry =
        board(&["--baseline", "GPT4-V", "--dry-run", "--price-in", "2.5", "--price-out", "10"]);
    assert!(dry.contains("calls           396, of which 0 are answered"), "{dry}");
    assert!(dry.contains("reply tokens    at most 25344"), "{dry}");
    assert!(dry.contains("cost            at most about 0."), "{dry}");
    assert_eq!(stub.calls(), 0);
    assert!(!desk.path("board").exists(), "a dry run makes no folder");
    board(&["--baseline", "GPT4-V"]);
    assert_eq!(stub.calls(), 396);
    let dry = board(&["--dry-run"]);
    assert!(dry.contains("calls           594, of which 396 are answered already"), "{dry}");
}
