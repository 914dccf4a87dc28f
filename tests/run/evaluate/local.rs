//! The real small LLM as a judge that only reads text: it runs, it resumes after a kill, and what
//! it is worth is told. Skipped, loudly, where `make setup` has not fetched it.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Desk, published};
use crate::support::run::{assert_code, finish, pairwright, root, said, start};

const QUESTIONS: usize = 4;

/// The first questions of the published benchmark and their answers.
fn cut(desk: &Desk, folder: &Path) {
    let files = [
        ("MM-Instruct-Eval-question.json", "q.jsonl"),
        ("gpt4v.json", "a.jsonl"),
        ("llava-v1.5-7b.json", "b.jsonl"),
    ];
    for (from, to) in files {
        let text = fs_err::read_to_string(folder.join(from)).expect("readable");
        let lines: Vec<&str> = text.lines().take(QUESTIONS).collect();
        desk.write(to, lines.join("\n"));
    }
}

fn command(desk: &Desk) -> Command {
    let mut command = pairwright(&["evaluate", "judge", "--llm", "local", "--max-tokens", "8"]);
    for (flag, name) in [("--questions", "q.jsonl"), ("--a", "a.jsonl"), ("--b", "b.jsonl")] {
        command.arg(flag).arg(desk.path(name));
    }
    command.arg("--out").arg(desk.path("out"));
    command
}

/// The replies kept so far.
fn kept(desk: &Desk) -> Vec<String> {
    let path = desk.path("out/evaluation.sqlite");
    let Ok(store) = rusqlite::Connection::open(path) else { return Vec::new() };
    let sql = "SELECT task_key || attempt || text FROM replies ORDER BY 1";
    let Ok(mut statement) = store.prepare(sql) else { return Vec::new() };
    let rows = statement.query_map([], |row| row.get(0)).expect("rows");
    rows.map(|row| row.expect("a row")).collect()
}

#[test]
fn a_small_model_judges_from_captions_and_resumes() {
    let Some(folder) = published() else { return };
    if !root().join("runtime/demo-llm.path").is_file() {
        eprintln!("SKIPPED: no local LLM; run `make setup`");
        return;
    }
    let desk = Desk::default();
    cut(&desk, &folder);
    let (mut child, started) = (start(&mut command(&desk)), Instant::now());
    while kept(&desk).is_empty() && started.elapsed() < Duration::from_secs(200) {
        std::thread::sleep(Duration::from_millis(50));
    }
    child.kill().expect("kill -9");
    child.wait().expect("it ended");
    let before = kept(&desk);
    assert!(!before.is_empty(), "a reply within 200 s");

    let mut command = pairwright(&["evaluate", "judge", "--out"]);
    let output = finish(command.arg(desk.path("out")));
    assert_code(&output, 0);
    let after = kept(&desk);
    assert!(before.iter().all(|reply| after.contains(reply)), "no reply is asked again");
    let results = desk.results("out");
    assert_eq!(results["judge"]["sight"], "caption");
    assert_eq!(results["strict"]["total"]["missing"], 0);
    let verdicts = results["verdicts"].as_array().expect("verdicts");
    assert_eq!(verdicts.len(), QUESTIONS);
    for side in verdicts.iter().flat_map(|one| [&one["forward"], &one["backward"]]) {
        let reply = &side["replies"][0];
        // A wrong chat template drops the prompt and still answers.
        assert!(reply["prompt_tokens"].as_u64().expect("a count") > 100, "{reply}");
        assert!(side["settled"] == Value::Bool(true), "{side}");
    }
    assert!(said(&output).contains("sign test"), "{}", said(&output));
}
