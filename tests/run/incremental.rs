//! Second runs do only what is new: nothing else is embedded or asked again.

use std::path::Path;
use std::process::Output;

use crate::support::run::{
    Llm, World, assert_code, assert_same_exports, count, exported_ids, exports, finish, pairwright,
    query, root, said,
};

const FOUR: [&str; 4] = ["coffee-cup", "moose", "raccoon", "two-dogs"];

/// A finished run in `out`, and its stub.
fn finished(config: &str) -> (World, Llm) {
    let world = World::with_photos(&FOUR);
    world.configure(config);
    let llm = Llm::default();
    assert_code(&world.run("out", &llm), 0);
    assert!(llm.stub.calls() >= FOUR.len());
    (world, llm)
}

/// Photos embedded so far, over all runs in this folder.
fn embedded(out: &Path) -> usize {
    count(out, "SELECT items FROM stage_times WHERE stage = 'embed'")
}

fn answers(out: &Path) -> usize {
    count(out, "SELECT count(*) FROM answers")
}

/// Runs again with more arguments.
fn again(world: &World, llm: &Llm, arguments: &[&str]) -> Output {
    let mut command = world.command(&world.path("out"), &llm.target());
    let output = finish(command.args(arguments));
    assert_code(&output, 0);
    output
}

#[test]
fn the_same_again_asks_nothing_and_gives_the_same_bytes() {
    let (world, llm) = finished("");
    let out = world.path("out");
    let (calls, before) = (llm.stub.calls(), exports(&out));
    let written = |name: &str| fs_err::metadata(out.join(name))?.modified();
    let times =
        || ["report.html", "dataset/llava.json"].map(|name| written(name).expect("a file's time"));
    let first = times();
    assert_eq!(embedded(&out), FOUR.len());
    again(&world, &llm, &[]);
    assert_eq!(llm.stub.calls(), calls);
    assert_eq!(embedded(&out), FOUR.len());
    assert_same_exports(&out, &before, "a second run");
    assert_eq!(times(), first, "nothing changed, and yet something was written");
    assert_code(&finish(pairwright(&["verify", "--out"]).arg(&out)), 0);

    // What somebody else has changed, or another setting changes, is written again.
    fs_err::write(out.join("dataset/llava.json"), "[]\n").expect("write");
    again(&world, &llm, &[]);
    assert_same_exports(&out, &before, "a run over a changed export");
    fs_err::remove_file(out.join("report.html")).expect("remove");
    again(&world, &llm, &[]);
    let second = times();
    world.configure("report.samples = 1\n");
    again(&world, &llm, &[]);
    assert_ne!(times()[0], second[0]);
}

#[test]
fn a_quick_check_reads_photos_of_another_time_only() {
    let (world, _) = finished("");
    let out = world.path("out");
    let verify = |flags: &[&str]| finish(pairwright(&["verify", "--out"]).arg(&out).args(flags));
    let quick = verify(&["--trust-stamps"]);
    assert_code(&quick, 0);
    assert!(said(&quick).contains("4 of 4 by size and time of change"), "{}", said(&quick));

    // Copied in place: another time, the same bytes.
    let photo = world.path("photos/moose.jpg");
    let bytes = fs_err::read(&photo).expect("a photo");
    fs_err::write(&photo, &bytes).expect("write");
    let quick = verify(&["--trust-stamps"]);
    assert_code(&quick, 0);
    assert!(said(&quick).contains("3 of 4 by size and time of change"), "{}", said(&quick));

    fs_err::write(&photo, &bytes[..bytes.len() - 1]).expect("write");
    for flags in [&["--trust-stamps"][..], &[]] {
        let wrong = verify(flags);
        assert_code(&wrong, 5);
        assert!(said(&wrong).contains("changed since it was embedded"), "{}", said(&wrong));
    }
}

#[test]
fn measures_are_taken_once_and_add_columns_only() {
    let (world, llm) = finished("");
    let out = world.path("out");
    let (calls, before) = (llm.stub.calls(), exports(&out));
    world.configure(
        "measure.enabled = [\"sentence_similarity_min\", \"sentence_similarity_mean\", \
         \"objects_unsupported\", \"near_duplicate_of\", \"length_words\", \"language\"]\n",
    );
    again(&world, &llm, &[]);
    let taken = || query(&out, "SELECT answer_key, measure, version, value FROM measures");
    let first = taken();
    assert_eq!(first.len(), 6 * exported_ids(&out).len());
    let ordered = "SELECT count(*) FROM measures a JOIN measures b USING (answer_key)
        WHERE a.measure = 'sentence_similarity_min' AND b.measure = 'sentence_similarity_mean'
        AND a.value <= b.value + 1e-9 AND abs(b.value) <= 1";
    assert_eq!(6 * count(&out, ordered), first.len());
    let page = fs_err::read_to_string(out.join("report.html")).expect("a report");
    assert!(page.contains("sentence_similarity_mean"));
    again(&world, &llm, &[]);
    assert_eq!(taken(), first);
    let measured = count(&out, "SELECT items FROM stage_times WHERE stage = 'measure'");
    assert_eq!(measured, first.len());
    assert_eq!(llm.stub.calls(), calls);
    let [llava, samples, _] = exports(&out);
    assert_eq!(llava, before[0], "trainers get the same");
    let lines = |bytes: &[u8]| -> Vec<serde_json::Value> {
        let text = String::from_utf8(bytes.to_vec()).expect("UTF-8");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    };
    let mut measured = lines(&samples);
    for sample in &mut measured {
        let sample = sample.as_object_mut().expect("an object");
        let measures = sample.remove("measures").expect("measured");
        for name in ["sentence_similarity_min", "near_duplicate_of", "length_words"] {
            assert!(measures[name].is_number(), "{measures}");
        }
        sample.remove("measure_details");
    }
    assert_eq!(measured, lines(&before[1]));
    // Without the setting the exports are what they were.
    world.configure("");
    again(&world, &llm, &[]);
    assert_same_exports(&out, &before, "a run that takes no measure any more");
}

#[test]
fn two_more_photos_cost_two_more_photos() {
    let (world, llm) = finished("");
    let out = world.path("out");
    let old_answers = query(&out, "SELECT answer_key, text FROM answers ORDER BY 1");
    let (calls, before) = (llm.stub.calls(), exported_ids(&out));
    world.add_photo("tabby-cat", "a-cat");
    world.add_photo("deep-space", "stars");
    again(&world, &llm, &[]);

    assert_eq!(embedded(&out), FOUR.len() + 2);
    let new_answers = answers(&out) - old_answers.len();
    assert_eq!(llm.stub.calls() - calls, new_answers);
    assert!((2..=10).contains(&new_answers), "{new_answers} answers for two photos");
    let all = query(&out, "SELECT answer_key, text FROM answers ORDER BY 1");
    assert!(old_answers.iter().all(|one| all.contains(one)), "old answers stay as they were");
    let mut expected = before;
    expected.extend(["a-cat-1".to_owned(), "stars-1".to_owned()]);
    assert_eq!(exported_ids(&out), expected);
}

#[test]
fn a_changed_prompt_gives_new_answers_and_no_new_embedding() {
    let (world, llm) = finished("");
    let out = world.path("out");
    let (calls, before, first) = (llm.stub.calls(), exported_ids(&out), answers(&out));
    fs_err::create_dir(world.path("prompts")).expect("create");
    for name in ["answer.system.txt", "answer.user.txt"] {
        let text = fs_err::read_to_string(root().join("prompts").join(name)).expect("a prompt");
        world.write(&format!("prompts/{name}"), format!("{text}Reply in one paragraph.\n"));
    }
    again(&world, &llm, &["--prompts", &world.path("prompts").display().to_string()]);
    assert_eq!(embedded(&out), FOUR.len());
    assert!(llm.stub.calls() - calls >= FOUR.len(), "every pair is asked again");
    assert_eq!(llm.stub.calls() - calls, answers(&out) - first);
    let asked = llm.stub.requests().last().expect("a request").to_string();
    assert!(asked.contains("Reply in one paragraph"), "{asked}");
    assert_eq!(exported_ids(&out), before);

    let calls = llm.stub.calls();
    again(&world, &llm, &["--prompts", &root().join("prompts").display().to_string()]);
    assert_eq!(llm.stub.calls(), calls, "the answers to the first prompt were kept");
}

#[test]
fn changed_filters_judge_again_without_asking_again() {
    let (world, llm) = finished("answer.attempts = 1");
    let out = world.path("out");
    let calls = llm.stub.calls();
    let verdicts = || query(&out, "SELECT DISTINCT verdict FROM answers");
    assert_eq!(verdicts(), ["accepted"]);
    let before = exports(&out);

    world.configure("answer.attempts = 1\nfilters.min_words = 500");
    // Nothing is left of it.
    assert_code(&world.run("out", &llm), 7);
    assert_eq!(llm.stub.calls(), calls);
    let after = verdicts();
    assert!(after.len() == 1 && after[0] != "accepted", "{after:?}");
    assert!(!out.join("dataset/llava.json").exists(), "no file that a loader stumbles over");
    assert_eq!(embedded(&out), FOUR.len());

    world.configure("answer.attempts = 1");
    again(&world, &llm, &[]);
    assert_eq!(llm.stub.calls(), calls);
    assert_same_exports(&out, &before, "the first filters again");
}

#[test]
fn another_strategy_draws_again_without_embedding_again() {
    let (world, llm) = finished("");
    let out = world.path("out");
    let strategies = || {
        let text = fs_err::read_to_string(out.join("dataset/samples.jsonl")).expect("an export");
        (text.matches("\"softmax\"").count(), text.matches("\"mmr\"").count())
    };
    let before = exports(&out);
    assert_eq!(strategies(), (FOUR.len(), 0));
    again(&world, &llm, &["--strategy", "mmr"]);
    assert_eq!(strategies(), (0, FOUR.len()));
    assert_eq!(embedded(&out), FOUR.len());

    let calls = llm.stub.calls();
    again(&world, &llm, &[]);
    assert_eq!(llm.stub.calls(), calls, "the answers to the first pairs were kept");
    assert_same_exports(&out, &before, "the first strategy again");
}

#[test]
fn what_left_the_source_leaves_the_dataset() {
    let (world, llm) = finished("");
    let out = world.path("out");
    let (calls, mut expected) = (llm.stub.calls(), exported_ids(&out));
    for ending in ["jpg", "txt"] {
        fs_err::remove_file(world.path(&format!("photos/moose.{ending}"))).expect("remove");
    }
    let output = again(&world, &llm, &[]);
    assert!(said(&output).contains("1 gone"), "{}", said(&output));
    assert!(expected.remove("moose-1"));
    assert_eq!(exported_ids(&out), expected);
    assert_eq!(llm.stub.calls(), calls);
    let report = fs_err::read_to_string(out.join("report.html")).expect("a report");
    assert!(report.contains("raccoon") && !report.contains("moose.jpg"));

    world.add_photo("moose", "moose");
    again(&world, &llm, &[]);
    assert!(exported_ids(&out).contains("moose-1"), "it is back with its photo");
    assert_eq!(llm.stub.calls(), calls, "and its answer was kept");
}

#[test]
fn a_twin_takes_the_place_of_the_photo_that_left() {
    let (world, llm) = finished("");
    let out = world.path("out");
    world.add_photo("moose", "twin");
    again(&world, &llm, &[]);
    assert!(!exported_ids(&out).contains("twin-1"));
    for ending in ["jpg", "txt"] {
        fs_err::remove_file(world.path(&format!("photos/moose.{ending}"))).expect("remove");
    }
    again(&world, &llm, &[]);
    assert!(exported_ids(&out).contains("twin-1"), "{:?}", exported_ids(&out));
}

#[test]
fn a_run_folder_alone_says_how_it_is_made() {
    let (world, llm) = finished("answer.attempts = 3\nseed = 5");
    let out = world.path("out");
    let (calls, before) = (llm.stub.calls(), exports(&out));
    let resume = || finish(pairwright(&["run", "--out"]).arg(&out));
    assert_code(&resume(), 0);
    assert_eq!(llm.stub.calls(), calls);
    assert_same_exports(&out, &before, "a run from run.toml");

    fs_err::remove_file(world.path("config.toml")).expect("remove");
    world.add_photo("tabby-cat", "cat");
    assert_code(&resume(), 0);
    assert!(exported_ids(&out).contains("cat-1"));
    assert!(llm.stub.calls() > calls);
}

/// Answers that filters of an earlier release accepted are judged by today's, without a server.
#[test]
fn answers_of_an_earlier_release_are_judged_again_without_a_server() {
    let (world, _) = finished("answer.attempts = 1");
    let out = world.path("out");
    let texts = [
        "Tags such as <video> and <audio> are explained on the board beside the door.",
        "<think>The user wants a text.</think> A quiet morning by the sea, with gulls and sails.",
        "抱歉，我无法查看图片，因此不能完成这个请求。请您提供更多的信息。",
    ];
    let store = rusqlite::Connection::open(out.join("run.sqlite")).expect("a store");
    for (text, place) in texts.iter().zip(0..) {
        let sql = "UPDATE answers SET text = ?1, verdict = 'accepted', filter_conf = 'filters2-0'
            WHERE answer_key = (SELECT answer_key FROM answers ORDER BY answer_key LIMIT 1 OFFSET ?2)";
        assert_eq!(store.execute(sql, rusqlite::params![text, place]).expect("changed"), 1);
    }
    drop(store);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let target = format!("openai:http://{}/v1", closed.local_addr().expect("bound"));
    drop(closed);
    assert_code(&finish(&mut world.command(&out, &target)), 0);
    let sql = "SELECT verdict FROM answers WHERE verdict <> 'accepted' ORDER BY 1";
    assert_eq!(query(&out, sql), ["image_token", "reasoning", "refusal"]);
    assert_eq!(exported_ids(&out).len(), FOUR.len() - texts.len());
    assert_code(&finish(pairwright(&["verify", "--out"]).arg(&out)), 0);
}
