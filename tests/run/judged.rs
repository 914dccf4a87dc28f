//! Measures that a judge takes: what it says is kept and read, whatever it says, and asked once.

use std::path::Path;
use std::process::Output;

use crate::support::judge_stub::{JudgeStub, Script, Weather};
use crate::support::run::{
    Llm, World, assert_code, count, exported_ids, finish, pairwright, query, said, start,
    wait_until,
};

const FOUR: [&str; 4] = ["coffee-cup", "moose", "raccoon", "two-dogs"];

const RATINGS: &str = "\"relevance\", \"image_correspondence\", \"visual_dependency\", \
    \"formatting\", \"inapplicable\"";
const CLAIMS: &str = "\"unsupported_share\", \"contradicted_share\"";

fn configure(world: &World, judge: &JudgeStub, measures: &str, more: &str) {
    let target = judge.target();
    world.configure(&format!(
        "measure.enabled = [{measures}]\nmeasure.judge.llm.target = \"{target}\"\n\
         measure.judge.llm.model = \"stub-judge\"\nmeasure.judge.llm.max_attempts = 1\n\
         measure.judge.llm.max_in_flight = 2\n{more}"
    ));
}

/// A run with the judge, and what it printed.
fn run(script: Script, measures: &str, more: &str) -> (World, JudgeStub, Output) {
    let world = World::with_photos(&FOUR);
    let judge = JudgeStub::start(script, Weather::Fine);
    configure(&world, &judge, measures, more);
    let output = world.run("out", &Llm::default());
    assert_code(&output, 0);
    (world, judge, output)
}

fn answer(prompt: &str) -> &str {
    let (_, rest) = prompt.split_once("<answer>\n").expect("the answer opens");
    rest.split_once("\n</answer>").expect("the answer closes").0
}

/// A judge that knows its work: ratings that differ, and two claims of which one is unsupported.
fn good(prompt: &str) -> String {
    let answer = answer(prompt);
    if prompt.contains("List the claims") {
        let words: Vec<&str> = answer.split_whitespace().take(6).collect();
        let claim = |words: &[&str], verdict| serde_json::json!({"quote": words.join(" "), "verdict": verdict, "why": "so"});
        let claims = [claim(&words[..3], "supported"), claim(&words[3..], "not_stated")];
        return serde_json::json!({ "claims": claims }).to_string();
    }
    let rating = answer.len() % 5 + 1;
    format!(
        "{{\"relevance\": {rating}, \"image_correspondence\": 4, \"visual_dependency\": 3, \
         \"formatting\": 5, \"premise\": true}}"
    )
}

/// Measure, value and detail of each sample, without a second run of the same.
pub fn values(out: &Path) -> Vec<String> {
    query(out, "SELECT answer_key, measure, value, detail FROM measures ORDER BY 1, 2")
}

#[test]
fn a_judge_that_reaches_its_cap_ends_the_run_and_is_counted_once() {
    let world = World::with_photos(&FOUR);
    let judge = JudgeStub::start(Script::Writes(good), Weather::Fine);
    let (llm, measures) = (Llm::default(), format!("{RATINGS}, {CLAIMS}"));
    configure(&world, &judge, &measures, "measure.judge.llm.max_tokens_total = 3000\n");
    let output = world.run("out", &llm);
    assert_code(&output, 6);
    assert!(said(&output).contains("measure.judge.llm.max_tokens_total"), "{}", said(&output));
    let out = world.path("out");
    let samples = exported_ids(&out).len();
    assert!(samples > 0 && judge.calls() < 2 * samples, "{} calls", judge.calls());
    configure(&world, &judge, &measures, "");
    assert_code(&world.run("out", &llm), 0);
    assert_eq!(judge.calls(), 2 * samples);
    let ledger = rusqlite::Connection::open(out.join("llm.sqlite")).expect("a ledger");
    let sql = "SELECT sum(calls) FROM spending WHERE role = 'measure'";
    let counted: usize = ledger.query_row(sql, [], |row| row.get(0)).expect("a sum");
    assert_eq!(counted, judge.calls(), "each call once");
}

#[test]
fn each_sample_is_judged_once_and_a_second_run_asks_nothing() {
    let (world, judge, output) = run(Script::Writes(good), &format!("{RATINGS}, {CLAIMS}"), "");
    let out = world.path("out");
    let samples = exported_ids(&out).len();
    assert_eq!((judge.calls(), judge.distinct()), (2 * samples, 2 * samples), "{}", said(&output));
    let request = judge.last_request();
    assert!(request["response_format"]["json_schema"]["schema"].is_object(), "{request}");
    assert_eq!(request["temperature"], 0.0);
    assert_eq!(values(&out).len(), 7 * samples);
    let shares = "SELECT count(*) FROM measures WHERE measure = 'unsupported_share' AND value = 0.5
        AND detail ->> '$.claims[1].verdict' = 'not_stated'";
    assert_eq!(count(&out, shares), samples);
    assert_eq!(
        count(&out, "SELECT count(*) FROM measures WHERE measure = 'inapplicable' AND value = 0"),
        samples
    );
    // The first measures alone, then all again from the replies that are kept.
    let before = values(&out);
    let (llm, calls) = (Llm::default(), judge.calls());
    assert_code(&world.run("out", &llm), 0);
    rusqlite::Connection::open(out.join("run.sqlite"))
        .and_then(|store| store.execute("DELETE FROM measures WHERE measure > 'g'", []))
        .expect("a store");
    assert_code(&world.run("out", &llm), 0);
    assert_eq!((values(&out), judge.calls(), llm.stub.calls()), (before, calls, 0));
    // A judge that is gone is not missed where nothing is left to ask.
    drop(judge);
    assert_code(&world.run("out", &llm), 0);
}

#[test]
fn what_cannot_be_read_is_asked_again_with_the_reason_and_never_guessed() {
    fn prose(_: &str) -> String {
        "A lovely sample, well done!".to_owned()
    }
    fn second_thought(prompt: &str) -> String {
        if prompt
            .starts_with("That reply cannot be used: it rates on another scale than 1 to 5 (9)")
        {
            return "Relevance: 2/5\nImage correspondence: 3/5\nVisual dependency: 4/5\n\
                Formatting: 5/5\nPremise: no"
                .to_owned();
        }
        r#"{"relevance": 9, "image_correspondence": 7, "visual_dependency": 8, "formatting": 9}"#
            .to_owned()
    }
    fn half(_: &str) -> String {
        r#"{"relevance": 2, "image_correspondence": 3, "visual_dep"#.to_owned()
    }
    fn elsewhere(_: &str) -> String {
        r#"{"claims": [{"quote": "a zebra on a unicycle", "verdict": "supported", "why": ""}]}"#
            .to_owned()
    }
    let refused = "SELECT DISTINCT measure, value, detail ->> 'refused' FROM measures ORDER BY 1";
    for (script, measures, asked, expected) in [
        (prose as fn(&str) -> String, "\"relevance\"", 2, "relevance |  | judge_unreadable"),
        (second_thought, "\"relevance\"", 2, "relevance | 2 | "),
        (second_thought, "\"inapplicable\"", 2, "inapplicable | 1 | "),
        (half, "\"relevance\"", 2, "relevance | 2 | "),
        (half, "\"formatting\"", 2, "formatting |  | judge_incomplete"),
        (elsewhere, "\"unsupported_share\"", 2, "unsupported_share |  | claim_not_in_answer"),
    ] {
        let (world, judge, output) = run(Script::Writes(script), measures, "");
        let out = world.path("out");
        let samples = exported_ids(&out).len();
        assert_eq!(query(&out, refused), [expected], "{measures}");
        assert_eq!(judge.calls(), asked * samples, "{expected}");
        let code = expected.rsplit(' ').next().expect("a word");
        let noticed = said(&output).contains(&format!("replies are refused as {code}"));
        assert_eq!(noticed, !code.is_empty() && code.starts_with(['j', 'c']), "{}", said(&output));
    }
}

#[test]
fn a_judge_that_always_says_the_same_is_told_of() {
    let five = r#"{"relevance": 5, "image_correspondence": 5, "visual_dependency": 5, "formatting": 5, "premise": true}"#;
    let more = "matching.per_image = 6\nmatching.check = []\nmatching.min_similarity = -1.0\n";
    let (world, _judge, output) = run(Script::Says(five), RATINGS, more);
    let samples = exported_ids(&world.path("out")).len();
    assert!(samples >= 20, "{samples} samples");
    let told = format!("all {samples} samples have the same relevance, 5");
    assert!(said(&output).contains(&told), "{}", said(&output));
    assert!(!said(&output).contains("the same inapplicable"), "{}", said(&output));
    let page = fs_err::read_to_string(world.path("out").join("report.html")).expect("a report");
    assert!(page.contains(&told));
}

#[test]
fn a_judge_that_fails_in_the_middle_is_asked_for_the_rest() {
    let world = World::with_photos(&FOUR);
    let llm = Llm::default();
    let broken = JudgeStub::start(Script::Writes(good), Weather::Breaks(2));
    configure(&world, &broken, RATINGS, "");
    let output = world.run("out", &llm);
    assert!([Some(3), Some(4)].contains(&output.status.code()), "{}", said(&output));
    let out = world.path("out");
    let (samples, answered) = (exported_ids(&out).len(), broken.answered());
    assert_eq!(answered, 2);
    assert_eq!(count(&out, "SELECT count(*) FROM measures"), 5 * answered, "no failure is a value");
    assert!(count(&out, "SELECT count(*) FROM judge_failures") > 0);
    let mended = JudgeStub::start(Script::Writes(good), Weather::Fine);
    configure(&world, &mended, RATINGS, "");
    let calls = llm.stub.calls();
    assert_code(&world.run("out", &llm), 0);
    assert_eq!((mended.calls(), llm.stub.calls()), (samples - answered, calls));
    assert_eq!(count(&out, "SELECT count(*) FROM measures"), 5 * samples);
    assert_eq!(count(&out, "SELECT count(*) FROM judge_failures"), 0);
}

#[test]
fn a_judged_run_that_is_killed_pays_for_nothing_twice() {
    let world = World::with_photos(&FOUR);
    let llm = Llm::default();
    let judge = JudgeStub::start(Script::Writes(good), Weather::Slow(50));
    configure(&world, &judge, &format!("{RATINGS}, {CLAIMS}"), "matching.per_image = 2\n");
    let out = world.path("out");
    let mut kept = Vec::new();
    for kill in 1..=3 {
        let mut child = start(&mut world.command(&out, &llm.target()));
        wait_until("the judge is asked", || judge.answered() >= 3 * kill);
        child.kill().expect("kill -9");
        child.wait().expect("it ended");
        let all = query(&out, "SELECT answer_key, conf, text FROM judge_replies ORDER BY 1, 2");
        assert!(kept.iter().all(|one| all.contains(one)), "what was kept stays");
        kept = all;
    }
    assert_code(&finish(&mut world.command(&out, &llm.target())), 0);
    let samples = exported_ids(&out).len();
    assert_eq!(count(&out, "SELECT count(*) FROM measures"), 7 * samples);
    assert_eq!(judge.distinct(), 2 * samples, "no question is put in two ways");
    // Only what was under way at a kill, two calls each time, was answered twice.
    assert!(judge.calls() <= 2 * samples + 3 * 2, "{} calls", judge.calls());
}

/// The judge sees: it names what is on the known picture, and rates what it is shown.
fn seeing(prompt: &str) -> String {
    if prompt.contains("four squares") {
        return "Green, black, red, yellow.".to_owned();
    }
    good(prompt)
}

#[test]
fn a_judge_that_sees_gets_the_photo_and_one_that_does_not_is_found_out() {
    let (world, judge, _) = run(Script::Writes(seeing), RATINGS, "measure.judge.see = \"image\"\n");
    let out = world.path("out");
    let samples = exported_ids(&out).len();
    assert_eq!(judge.calls(), samples + 1, "the probe is asked once");
    let request = judge.last_request();
    let parts = request["messages"][1]["content"].as_array().expect("parts");
    let url = parts.iter().find_map(|part| part["image_url"]["url"].as_str()).expect("a photo");
    assert!(url.starts_with("data:image/jpeg;base64,"), "{}", &url[..40]);
    let text = parts.iter().find_map(|part| part["text"].as_str()).expect("a text");
    assert!(text.contains("it is attached") && !text.contains("<captions>"), "{text}");
    assert_eq!(count(&out, "SELECT count(*) FROM measures"), 5 * samples);
    // What is seen is part of the key: by captions everything is judged anew.
    configure(&world, &judge, RATINGS, "");
    assert_code(&world.run("out", &Llm::default()), 0);
    assert_eq!(judge.calls(), 2 * samples + 1);

    let world = World::with_photos(&FOUR);
    let blind = JudgeStub::start(Script::Says("I see a nice photo."), Weather::Fine);
    configure(&world, &blind, RATINGS, "measure.judge.see = \"both\"\n");
    let output = world.run("out", &Llm::default());
    assert_ne!(output.status.code(), Some(0), "{}", said(&output));
    assert!(said(&output).contains("llm_blind"), "{}", said(&output));
    assert_eq!((blind.calls(), count(&world.path("out"), "SELECT count(*) FROM measures")), (1, 0));
}

#[test]
fn an_answer_is_held_against_one_by_who_has_not_seen_the_photo() {
    let world = World::with_photos(&FOUR);
    world.configure("measure.enabled = [\"blind_gap\"]\n");
    let llm = Llm::default();
    assert_code(&world.run("out", &llm), 0);
    let out = world.path("out");
    let samples = exported_ids(&out).len();
    let gaps =
        "SELECT count(*) FROM measures WHERE measure = 'blind_gap' AND value > 0 AND value < 1.2
        AND detail ->> 'by' = 'similarity' AND length(detail ->> 'blind') > 20";
    assert_eq!(count(&out, gaps), samples);
    // Once it is asked whether it gives log-probabilities, which it does not.
    assert_eq!(llm.stub.calls(), count(&out, "SELECT count(*) FROM answers") + samples + 1);
    let request = llm.stub.requests().pop().expect("a request");
    let asked = request["messages"][1]["content"].as_str().expect("a text");
    let photos = FOUR.map(|name| {
        let path = crate::support::run::root().join(format!("samples/photos/{name}.txt"));
        fs_err::read_to_string(path).expect("a description")
    });
    assert!(photos.iter().all(|said| !asked.contains(said.trim())), "{asked}");
    let calls = llm.stub.calls();
    assert_code(&world.run("out", &llm), 0);
    assert_eq!(llm.stub.calls(), calls);
}

#[test]
fn a_server_that_tells_log_probabilities_says_what_needs_the_photo() {
    /// Answers with words of the caption, and with some of its own.
    fn writes(prompt: &str) -> String {
        let caption = prompt.lines().find_map(|line| line.strip_prefix("- ")).unwrap_or("nothing");
        let words = caption.split_whitespace().take(8).collect::<Vec<_>>().join(" ");
        format!("Here we would begin with this: {words}, which everybody likes to look at.")
    }
    let world = World::with_photos(&FOUR);
    let llm = JudgeStub::start(Script::Writes(writes), Weather::Fine);
    world.configure("measure.enabled = [\"blind_gap\"]\nllm.model = \"stub-judge\"\n");
    let out = world.path("out");
    let run = || finish(&mut world.command(&out, &llm.target()));
    assert_code(&run(), 0);
    let samples = exported_ids(&out).len();
    let gaps = "SELECT count(*) FROM measures WHERE measure = 'blind_gap' AND value > 0.5
        AND detail ->> 'by' = 'log_probabilities' AND detail ->> 'with' > detail ->> 'without'";
    assert_eq!(count(&out, gaps), samples, "{:?}", values(&out));
    assert_eq!(count(&out, "SELECT count(*) FROM judge_replies"), 2 * samples);
    let request = llm.last_request();
    let last = request["messages"].as_array().and_then(|all| all.last()).expect("messages");
    assert_eq!(
        (last["role"].as_str(), request["max_tokens"].as_u64()),
        (Some("assistant"), Some(1))
    );
    let calls = llm.calls();
    assert_code(&run(), 0);
    assert_eq!(llm.calls(), calls);
}

#[test]
fn a_dry_run_tells_what_a_judge_would_cost_and_asks_nobody() {
    let world = World::with_photos(&FOUR);
    let (llm, judge) = (Llm::default(), JudgeStub::start(Script::Writes(good), Weather::Fine));
    let prices = "measure.judge.llm.price_per_million_prompt_tokens = 2.0\n\
        measure.judge.llm.price_per_million_completion_tokens = 10.0\n";
    configure(&world, &judge, "", prices);
    assert_code(&world.run("out", &llm), 0);
    let out = world.path("out");
    let samples = exported_ids(&out).len() as u64;
    let look = |more: &[&str]| {
        let mut command = pairwright(&["filter", "--dry-run", "--measures"]);
        command.arg("length_words,relevance,unsupported_share,contradicted_share");
        let output = finish(command.arg("--out").arg(&out).args(more));
        assert_code(&output, 0);
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let told = look(&[]);
    assert!(told.contains("claims: unsupported_share, contradicted_share"), "{told}");
    assert!(told.contains("cost            at most about 0.0"), "{told}");
    let judging = || -> Vec<(u64, u64)> {
        let told: serde_json::Value = serde_json::from_str(&look(&["--json"])).expect("JSON");
        let questions = told["judging"].as_array().expect("a list").iter();
        let number = |one: &serde_json::Value, name: &str| one[name].as_u64().expect("a number");
        questions.map(|one| (number(one, "calls"), number(one, "kept"))).collect()
    };
    assert_eq!(judging(), [(samples, 0), (samples, 0)]);
    assert_eq!(judge.calls(), 0);
    let unknown = pairwright(&["filter", "--dry-run", "--measures", "charm", "--out"]);
    let unknown = finish({ unknown }.arg(&out));
    assert_code(&unknown, 2);
    assert!(said(&unknown).contains("charm"), "{}", said(&unknown));
    configure(&world, &judge, &format!("{RATINGS}, {CLAIMS}"), prices);
    assert_code(&world.run("out", &llm), 0);
    assert_eq!(judge.calls() as u64, 2 * samples, "as it was told");
    assert_eq!(judging(), [(0, 0), (0, 0)], "nothing is left");
}
