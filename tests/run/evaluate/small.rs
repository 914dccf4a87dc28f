//! What can be said of two questions: sight, second askings, resume, agreement, the report.

use std::time::Duration;

use serde_json::Value;

use super::{Desk, answer, question, tally};
use crate::support::judge_stub::{JudgeStub, Script, Weather};
use crate::support::run::{assert_code, finish, pairwright, root, said, start};

#[test]
fn a_judge_that_sees_gets_the_image_and_the_result_says_so() {
    let desk = Desk::with_two();
    fs_err::create_dir(desk.path("images")).expect("create");
    let photo = fs_err::read(root().join("samples/photos/moose.jpg")).expect("a sample");
    desk.write("images/0.jpg", &photo);
    desk.write("images/1.jpg", &photo);
    let stub = JudgeStub::start(Script::Longer, Weather::Fine);
    let images = desk.path("images");
    let images = ["--images", images.to_str().expect("UTF-8")];
    assert_code(&desk.judge(&stub, "out", &images), 0);
    assert_eq!(desk.results("out")["judge"]["sight"], "image");
    let request = stub.last_request();
    let parts = request["messages"][1]["content"].as_array().expect("parts").clone();
    let url = parts.iter().find_map(|part| part["image_url"]["url"].as_str()).expect("an image");
    assert!(url.starts_with("data:image/jpeg;base64,/9j/"), "{}", &url[..40]);
    let text = parts.iter().find_map(|part| part["text"].as_str()).expect("a text");
    assert!(!text.contains("A cat.") && !text.contains("A dog."), "captions stay out: {text}");

    // The caption instead: another key, so it is asked anew.
    let mut captions = images.to_vec();
    captions.extend(["--see", "caption"]);
    assert_code(&desk.judge(&stub, "out", &captions), 0);
    assert_eq!(
        (stub.calls(), &desk.results("out")["judge"]["sight"]),
        (8, &Value::from("caption"))
    );
    assert!(stub.last_request()["messages"][1]["content"].to_string().contains("A "));
}

#[test]
fn an_unread_reply_is_asked_again_with_another_seed() {
    let desk = Desk::with_two();
    let stub = JudgeStub::start(Script::SecondThought, Weather::Fine);
    assert_code(&desk.judge(&stub, "out", &[]), 0);
    let results = desk.results("out");
    assert_eq!(tally(&results, "strict"), [1, 0, 1, 0]);
    assert_eq!((stub.calls(), stub.distinct()), (8, 8));
    let replies = results["verdicts"][0]["forward"]["replies"].as_array().expect("replies").clone();
    assert_eq!((replies.len(), &replies[0]["reason"]), (2, &Value::from("no_choice")));
    assert_ne!(replies[0]["seed"], replies[1]["seed"]);
    assert_eq!(replies[0]["prompt_sha256"], replies[1]["prompt_sha256"]);
}

#[test]
fn a_changed_answer_is_judged_anew_and_nothing_else() {
    let desk = Desk::with_two();
    let stub = JudgeStub::start(Script::Longer, Weather::Fine);
    assert_code(&desk.judge(&stub, "out", &[]), 0);
    assert_code(&desk.judge(&stub, "out", &[]), 0);
    assert_eq!(stub.calls(), 4, "a finished evaluation asks nothing");
    desk.write(
        "a.jsonl",
        [answer(0, "now the longest", "m"), answer(1, "rather long", "m")].join("\n"),
    );
    assert_code(&desk.judge(&stub, "out", &[]), 0);
    assert_eq!(stub.calls(), 6, "one question in two orders");
    assert_eq!(tally(&desk.results("out"), "strict"), [2, 0, 0, 0]);
    assert_code(&desk.judge(&stub, "out", &["--seed", "1"]), 0);
    assert_eq!(stub.calls(), 10, "another seed is another judge");
}

#[test]
fn a_finished_evaluation_needs_no_judge() {
    let desk = Desk::with_two();
    let stub = JudgeStub::start(Script::Longer, Weather::Fine);
    assert_code(&desk.judge(&stub, "out", &[]), 0);
    let results = desk.results("out");
    drop(stub);
    let mut command = pairwright(&["evaluate", "judge", "--rule", "paper", "--out"]);
    assert_code(&finish(command.arg(desk.path("out"))), 0);
    let again = desk.results("out");
    assert_eq!((&again["rule"], &again["verdicts"]), (&Value::from("paper"), &results["verdicts"]));
}

/// Kills at many moments; replies that were kept are never asked again.
#[test]
fn kills_lose_nothing_that_was_kept() {
    const QUESTIONS: i64 = 30;
    const KILLS: usize = 6;
    let desk = Desk::default();
    let lines =
        |row: &dyn Fn(i64) -> String| (0..QUESTIONS).map(row).collect::<Vec<_>>().join("\n");
    desk.write("q.jsonl", lines(&|id| question(id, "A cat.")));
    desk.write("a.jsonl", lines(&|id| answer(id, &"word ".repeat(1 + id as usize), "m")));
    desk.write("b.jsonl", lines(&|id| answer(id, &"word ".repeat(15), "n")));
    let stub = JudgeStub::start(Script::Longer, Weather::Slow(40));
    let command = || {
        let mut command = pairwright(&["evaluate", "judge", "--llm", &stub.target()]);
        command.args(["--llm-in-flight", "2"]);
        for (flag, name) in [("--questions", "q.jsonl"), ("--a", "a.jsonl"), ("--b", "b.jsonl")] {
            command.arg(flag).arg(desk.path(name));
        }
        command.arg("--out").arg(desk.path("out"));
        command
    };
    let mut killed = 0;
    for kill in 1..=KILLS {
        let (before, started) = (stub.answered(), std::time::Instant::now());
        let mut child = start(&mut command());
        // Some kills hit the start, others the middle of the calls.
        while stub.answered() < before + kill && started.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(5));
        }
        child.kill().expect("kill -9");
        let ended = child.wait_with_output().expect("it ended");
        killed += usize::from(ended.status.code().is_none());
    }
    assert!(killed >= KILLS - 1, "{killed} kills hit");
    let output = finish(&mut command());
    assert_code(&output, 0);
    let results = desk.results("out");
    // 15 words meet 15 at question 14; below it the second is longer.
    assert_eq!(tally(&results, "strict"), [15, 1, 14, 0]);
    let needed = 2 * QUESTIONS as usize;
    assert_eq!(stub.distinct(), needed);
    let most = needed + KILLS * 2;
    assert!(stub.calls() <= most, "{} calls, at most {most}", stub.calls());
}

#[test]
fn concurrency_is_bounded() {
    let desk = Desk::default();
    let rows = |row: &dyn Fn(i64) -> String| (0..12).map(row).collect::<Vec<_>>().join("\n");
    desk.write("q.jsonl", rows(&|id| question(id, "A cat.")));
    desk.write("a.jsonl", rows(&|id| answer(id, "one", "m")));
    desk.write("b.jsonl", rows(&|id| answer(id, "two", "n")));
    let stub = JudgeStub::start(Script::AlwaysA, Weather::Slow(60));
    assert_code(&desk.judge(&stub, "out", &["--llm-in-flight", "3"]), 0);
    assert_eq!((stub.calls(), stub.most_at_once()), (24, 3));
}

#[test]
fn two_judges_are_compared_by_kappa() {
    let desk = Desk::with_two();
    for (script, out) in
        [(Script::Longer, "longer"), (Script::AlwaysA, "a"), (Script::Longer, "twin")]
    {
        assert_code(&desk.judge(&JudgeStub::start(script, Weather::Fine), out, &[]), 0);
    }
    let compare = |a: &str, b: &str| {
        let mut command = pairwright(&["evaluate", "compare", "--json", "--a"]);
        finish(command.arg(desk.path(a)).arg("--b").arg(desk.path(b)))
    };
    let same = compare("longer", "twin");
    assert_code(&same, 0);
    let same: Value = serde_json::from_slice(&same.stdout).expect("JSON");
    assert_eq!((&same["kappa"]["kappa"], &same["compared"]), (&Value::from(1.0), &Value::from(2)));
    let other: Value = serde_json::from_slice(&compare("longer", "a").stdout).expect("JSON");
    assert_eq!(
        (&other["kappa"]["kappa"], &other["counts"]),
        (&Value::from(0.0), &serde_json::json!([[0, 1, 0], [0, 0, 0], [0, 1, 0]]))
    );
    assert_eq!(other["differ"], serde_json::json!([0, 1]));

    // Other answers: no agreement can be told.
    desk.write("a.jsonl", [answer(0, "else", "m"), answer(1, "rather long", "m")].join("\n"));
    assert_code(&desk.judge(&JudgeStub::start(Script::Longer, Weather::Fine), "else", &[]), 0);
    let refused = compare("longer", "else");
    assert_code(&refused, 2);
    assert!(said(&refused).contains("other answers or instructions at questions: 0"));
    let refused = compare("longer", "nowhere");
    assert_code(&refused, 2);
    assert!(said(&refused).contains("no finished evaluation at"), "{}", said(&refused));
}

#[test]
fn the_report_holds_every_question_and_escapes_it() {
    let desk = Desk::with_two();
    let attack = "<script>alert(1)</script> is long & \"bad\"";
    desk.write(
        "a.jsonl",
        [answer(0, attack, "<b>m</b>"), answer(1, "rather long", "<b>m</b>")].join("\n"),
    );
    let stub = JudgeStub::start(Script::Says("<img src=x> B"), Weather::Fine);
    assert_code(&desk.judge(&stub, "out", &["--attempts", "2"]), 0);
    let page = fs_err::read_to_string(desk.path("out").join("report.html")).expect("a report");
    assert_eq!(page.matches("<article").count(), 2);
    assert!(!page.contains("<script>alert") && !page.contains("<img src=x>"));
    assert!(page.contains("&lt;script&gt;alert(1)&lt;&#x2f;script&gt;"), "the answer is there");
    assert_eq!(page.matches("&lt;img src=x&gt; B").count(), 2 * 2 * 2, "every raw reply");
    assert!(page.contains("<select name=\"consistency\"") && page.contains("no_choice"));
    for address in ["http://", "https://", "src=\"", "@import", "url("] {
        let found = page.replace(&stub.base_url, "").contains(address);
        assert!(!found, "the page must load nothing, but has {address}");
    }
    let csv = fs_err::read_to_string(desk.path("out").join("verdicts.csv")).expect("CSV");
    assert_eq!(csv.lines().next().map(|head| head.split(',').count()), Some(15));
    assert!(csv.contains("unparsed,unparsed,unread,unparsed,unparsed,false"), "{csv}");
}

#[test]
fn a_model_answers_in_the_published_format_and_resumes() {
    let desk = Desk::with_two();
    let stub = JudgeStub::start(Script::Says(" A warm answer.\n"), Weather::Fine);
    let run = || {
        let mut command = pairwright(&["evaluate", "answer", "--llm", &stub.target()]);
        command.arg("--questions").arg(desk.path("q.jsonl")).args(["--model-id", "mine"]);
        finish(command.arg("--out").arg(desk.path("answers")))
    };
    assert_code(&run(), 0);
    assert_code(&run(), 0);
    assert_eq!(stub.calls(), 2);
    let text = fs_err::read_to_string(desk.path("answers/answers.jsonl")).expect("answers");
    let rows: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(rows.len(), 2);
    assert_eq!(
        (&rows[1]["question_id"], &rows[1]["prompt"]),
        (&Value::from(1), &Value::from("Do task 1."))
    );
    assert_eq!(
        (&rows[1]["text"], &rows[1]["model_id"]),
        (&Value::from("A warm answer."), &Value::from("mine"))
    );
    assert_eq!(rows[1]["metadata"]["shown"], "caption");
    // Its answers can be judged.
    let files = ["q.jsonl", "answers/answers.jsonl", "b.jsonl"].map(|name| desk.path(name));
    let judge = JudgeStub::start(Script::Longer, Weather::Fine);
    let [questions, a, b] = files.each_ref().map(|path| path.as_path());
    assert_code(&desk.judge_files([questions, a, b], &judge, "out", &[]), 0);
    assert_eq!(tally(&desk.results("out"), "strict"), [2, 0, 0, 0]);
}
