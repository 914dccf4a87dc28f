//! Models that see: photos in calls, descriptions that a model writes, photos without a text.

use std::path::Path;

use serde_json::Value;

use crate::support::run::{
    Llm, PHOTOS, World, assert_code, assert_same_exports, count, exported_ids, exports, finish,
    pairwright, query, said, start, wait_until,
};
use crate::support::stub_llm::eyes::{asked, shown};
use crate::support::stub_llm::{Eyes, Fault, StubOptions};

const SEES: &str = "matching.min_similarity = -1.0\nmatching.check = []\n";

fn with_eyes(eyes: Eyes) -> Llm {
    Llm::start(StubOptions { eyes, ..StubOptions::default() })
}

/// Two photos, one of them turned by its EXIF and larger than what is sent.
fn world(more: &str) -> World {
    let world = World::with_photos(&["two-dogs"]);
    let photo = image::open(world.path("photos/two-dogs.jpg")).expect("a sample").to_rgb8();
    let large = image::imageops::resize(&photo, 1600, 800, image::imageops::FilterType::Triangle);
    let mut jpeg = std::io::Cursor::new(Vec::new());
    large.write_to(&mut jpeg, image::ImageFormat::Jpeg).expect("encoded");
    world.write("photos/turned.jpg", turned(jpeg.get_ref()));
    world
        .write("photos/turned.json", r#"{"captions": ["Dogs lie about.", "Two hounds at rest."]}"#);
    world.configure(&format!("{SEES}{more}"));
    world
}

/// The JPEG with an EXIF segment that turns it by a quarter (orientation 6).
fn turned(jpeg: &[u8]) -> Vec<u8> {
    let tiff = b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let length = u16::try_from(2 + 6 + tiff.len()).expect("short").to_be_bytes();
    let segment = [&b"\xff\xe1"[..], &length, b"Exif\0\0", tiff].concat();
    [&jpeg[..2], &segment, &jpeg[2..]].concat()
}

/// The requests that are about photos, without the first one, which asks what the model sees.
fn about_photos(llm: &Llm) -> Vec<Value> {
    let all = llm.stub.requests().into_iter();
    all.filter(|request| !asked(request).contains("four squares")).collect()
}

fn codes(out: &Path, table: &str) -> Vec<String> {
    query(out, &format!("SELECT code, count(*) FROM {table} GROUP BY code ORDER BY code"))
}

#[test]
fn photos_are_shown_upright_small_and_instead_of_or_beside_the_captions() {
    for (see, captions) in [("image", false), ("both", true)] {
        let (world, llm) = (world(&format!("answer.see = {see:?}\n")), with_eyes(Eyes::Good));
        assert_code(&world.run("out", &llm), 0);
        let out = world.path("out");
        assert_eq!(exported_ids(&out).len(), 2);
        assert!(asked(&llm.stub.requests()[0]).contains("four squares"), "asked first");
        let requests = about_photos(&llm);
        let turned: Vec<&Value> = requests
            .iter()
            .filter(|request| {
                let (bytes, photo) = shown(request).expect("a photo in every call");
                assert!(bytes.len() <= 1 << 20);
                (photo.width(), photo.height()) == (512, 1024)
            })
            .collect();
        assert!(!turned.is_empty(), "turned by a quarter and scaled down");
        for request in turned {
            let text = request["messages"].to_string();
            let list = text.contains("- Dogs lie about.\\n- Two hounds at rest.");
            assert_eq!(list, captions, "{see}: {}", asked(request));
            assert_eq!(text.contains("<captions>"), captions);
        }
        let (calls, before) = (llm.stub.calls(), exports(&out));
        assert_code(&world.run("out", &llm), 0);
        assert_eq!(llm.stub.calls(), calls, "nothing is asked twice, the question neither");
        assert_same_exports(&out, &before, "a second run");
    }
}

#[test]
fn a_model_that_does_not_see_is_found_before_anything_is_paid_for() {
    let world = world("answer.see = \"image\"\n");
    for (eyes, code) in [(Eyes::Blind, "llm_blind"), (Eyes::None, "llm_cannot_see")] {
        let llm = with_eyes(eyes);
        let output = world.run(code, &llm);
        assert_code(&output, 2);
        let told = said(&output);
        assert!(told.contains("see"), "{told}");
        assert_eq!((llm.stub.calls(), about_photos(&llm).len()), (1, 0), "{told}");
    }
    // Whoever knows better goes on without the question.
    world.configure(&format!("{SEES}answer.see = \"image\"\nllm.probe = false\n"));
    let llm = with_eyes(Eyes::Blind);
    assert_code(&world.run("llm_blind", &llm), 0);
    assert_eq!(llm.stub.calls(), about_photos(&llm).len());
    let llm = with_eyes(Eyes::None);
    assert_code(&world.run("refused", &llm), 2);
    assert_eq!(count(&world.path("refused"), "SELECT count(*) FROM answers"), 0);
}

#[test]
fn a_photo_that_is_too_large_is_made_smaller_once_for_all() {
    let world = world("answer.see = \"image\"\nllm.max_in_flight = 1\nllm.probe = false\n");
    let llm = with_eyes(Eyes::UpTo(600));
    assert_code(&world.run("out", &llm), 0);
    let sides = about_photos(&llm).into_iter().map(|request| {
        let (_, photo) = shown(&request).expect("a photo");
        photo.width().max(photo.height())
    });
    let sides: Vec<u32> = sides.collect();
    assert!(sides.iter().filter(|side| **side > 600).count() <= 2, "{sides:?}");
    assert!(sides.contains(&512), "{sides:?}");
    // Where no size will do, it is those photos' failure, and never final.
    let llm = with_eyes(Eyes::UpTo(100));
    assert_code(&world.run("none", &llm), 3);
    assert_eq!(codes(&world.path("none"), "failures"), ["llm_photo_too_large | 2"]);
    assert_code(&world.run("none", &with_eyes(Eyes::Good)), 0);
    assert_eq!(exported_ids(&world.path("none")).len(), 2);
}

#[test]
fn a_photo_that_cannot_be_shown_is_its_own_failure() {
    let world = world("answer.see = \"image\"\nllm.max_in_flight = 1\n");
    let out = world.path("out");
    let llm = Llm::default();
    llm.stub.always(Fault::Status(429, "insufficient_quota"));
    assert_code(&world.run("out", &llm), 4);
    assert_eq!(count(&out, "SELECT count(*) FROM pairs"), 2);
    fs_err::remove_file(world.path("photos/turned.jpg")).expect("removed");
    let llm = Llm::default();
    let answer = |world: &World| {
        let mut command = crate::support::run::pairwright(&["answer", "--llm", &llm.target()]);
        finish(command.arg("--out").arg(world.path("out")))
    };
    assert_code(&answer(&world), 3);
    assert_eq!(codes(&out, "failures"), ["image_unreadable | 1"]);
    assert_eq!(count(&out, "SELECT count(*) FROM answers WHERE verdict = 'accepted'"), 1);
    let photo = fs_err::read(world.path("photos/two-dogs.jpg")).expect("read");
    world.write("photos/turned.jpg", photo);
    assert_code(&answer(&world), 3);
    assert_eq!(codes(&out, "failures"), ["photo_changed | 1"]);
}

#[test]
fn photos_without_a_text_are_described_and_answered_from_that() {
    let world = world("describe.mode = \"missing\"\n");
    fs_err::remove_file(world.path("photos/two-dogs.txt")).expect("removed");
    let (out, llm) = (world.path("out"), Llm::default());
    assert_code(&world.run("out", &llm), 0);
    assert_eq!(exported_ids(&out).len(), 2);
    let written = query(
        &out,
        "SELECT text FROM photo_replies WHERE role = 'describe' AND verdict = 'accepted'",
    );
    assert_eq!(written.len(), 1, "only the photo without a text");
    let requests = about_photos(&llm);
    let describing: Vec<&Value> =
        requests.iter().filter(|request| asked(request) == "Describe this photo.").collect();
    assert!(describing.iter().all(|request| shown(request).is_some()));
    let answering = requests.iter().filter(|request| shown(request).is_none());
    let grounded = answering.filter(|request| asked(request).contains(&written[0]));
    assert!(grounded.count() > 0, "the written description stands in the prompt");
    let [_, jsonl, _] = exports(&out);
    assert!(String::from_utf8(jsonl).expect("UTF-8").contains(&written[0][..40]), "in the lineage");
    let lineage = "SELECT llm, see, length(prompt_hash) FROM photo_replies LIMIT 1";
    assert_eq!(query(&out, lineage), ["stub-model | image | 32"]);

    let (calls, before) = (llm.stub.calls(), exports(&out));
    assert_code(&world.run("out", &llm), 0);
    assert_eq!(llm.stub.calls(), calls);
    assert_same_exports(&out, &before, "a second run");

    // With all of them described, the captions stand beside what was written.
    world.configure(&format!("{SEES}describe.mode = \"all\"\ndescribe.see = \"both\"\n"));
    assert_code(&world.run("out", &llm), 0);
    let of_all = llm.stub.requests();
    let beside = of_all.iter().any(|request| {
        let text = asked(request);
        text.contains("- Dogs lie about.\n- Two hounds at rest.")
            && !text.starts_with("Describe")
            && text.split("- ").count() > 3
    });
    assert!(beside, "{:?}", of_all.iter().map(asked).collect::<Vec<_>>());
    // What it began with holds again.
    world.configure(&format!("{SEES}describe.mode = \"missing\"\n"));
    let calls = llm.stub.calls();
    assert_code(&world.run("out", &llm), 0);
    assert_eq!(llm.stub.calls(), calls);
    assert_same_exports(&out, &before, "as at first");
}

#[test]
fn without_them_such_photos_are_refused_by_the_names_of_both_settings() {
    let world = world("");
    fs_err::remove_file(world.path("photos/two-dogs.txt")).expect("removed");
    assert_code(&world.run("out", &Llm::default()), 0);
    let out = world.path("out");
    assert_eq!(codes(&out, "rejections"), ["missing_description | 1"]);
    let reason = &query(&out, "SELECT reason FROM rejections")[0];
    assert!(reason.contains("describe.mode") && reason.contains("answer.see"), "{reason}");
    world.configure(&format!("{SEES}answer.see = \"image\"\n"));
    assert_code(&world.run("out", &Llm::default()), 0);
    assert_eq!(exported_ids(&out).len(), 2, "seen, it needs no text");
}

#[test]
fn what_is_no_description_is_a_rejection_and_the_captions_serve() {
    let world = world("describe.mode = \"all\"\nanswer.attempts = 1\nllm.max_in_flight = 1\n");
    fs_err::remove_file(world.path("photos/two-dogs.txt")).expect("removed");
    let llm = Llm::default();
    let refusal = r#"{"choices": [{"message": {"role": "assistant", "content": "I'm sorry, but I cannot view images, so I am unable to describe this photo for you."}, "finish_reason": "stop"}]}"#;
    // Two attempts at each of two photos.
    llm.stub.script([
        Fault::Body(refusal),
        Fault::Body(refusal),
        Fault::Body(refusal),
        Fault::Body(refusal),
    ]);
    world.run("out", &llm);
    let out = world.path("out");
    let refused = "SELECT code, count(*) FROM rejections WHERE stage = 'describe' GROUP BY code";
    assert_eq!(query(&out, refused), ["refusal | 2"]);
    let matched = "SELECT i.id FROM matches m JOIN items i ON i.seq = m.seq";
    assert_eq!(query(&out, matched), ["turned"], "by its captions; the other has nothing");
    // More attempts are for the other alone: this one's answers were written from its captions.
    let answered = "SELECT a.answer_key, a.text FROM answers a JOIN pairs p USING (pair_key)
        JOIN items i ON i.seq = p.seq WHERE i.id = 'turned' ORDER BY a.answer_key";
    let before = query(&out, answered);
    assert!(!before.is_empty());
    world.configure(&format!(
        "{SEES}describe.mode = \"all\"\nanswer.attempts = 1\ndescribe.attempts = 4\n"
    ));
    world.run("out", &llm);
    let described = "SELECT i.id FROM photo_replies w JOIN items i ON i.item_key = w.key
        WHERE w.verdict = 'accepted'";
    assert_eq!(query(&out, described), ["two-dogs"]);
    assert_eq!(query(&out, refused), ["refusal | 1"]);
    assert_eq!(query(&out, answered), before);
}

#[test]
fn fewer_attempts_than_were_made_leave_no_photo_behind() {
    let set = |attempts: u32| {
        format!(
            "{SEES}describe.mode = \"all\"\nanswer.attempts = 1\nllm.max_in_flight = 1\n\
             describe.attempts = {attempts}\n"
        )
    };
    for (answers, described) in [(0, 2), (1, 1)] {
        let world = world("");
        world.configure(&set(4));
        fs_err::remove_file(world.path("photos/two-dogs.txt")).expect("removed");
        let llm = Llm::default();
        let refusal = r#"{"choices": [{"message": {"role": "assistant", "content": "I'm sorry, but I cannot view images, so I am unable to describe this photo for you."}, "finish_reason": "stop"}]}"#;
        let spent = || Fault::Status(402, "no credit");
        llm.stub.script([Fault::Body(refusal), Fault::Body(refusal), spent()]);
        assert_code(&world.run("out", &llm), 4);
        let out = world.path("out");
        assert_eq!(count(&out, "SELECT count(*) FROM photo_replies"), 2, "of four");
        assert_eq!(count(&out, "SELECT count(*) FROM rejections"), 0);
        world.configure(&set(1));
        llm.stub.script((0..answers).map(|_| Fault::Body(refusal)));
        assert_code(&world.run("out", &llm), 0);
        let accepted = "SELECT count(*) FROM photo_replies WHERE verdict = 'accepted'";
        assert_eq!(count(&out, accepted), described);
        let rejected = "SELECT count(*) FROM rejections WHERE stage = 'describe'";
        assert_eq!(count(&out, rejected), answers);
        let asked = llm.stub.calls();
        assert_code(&world.run("out", &llm), 0);
        assert_eq!(llm.stub.calls(), asked, "everything is settled");
        // Other descriptions for a while: those that were given up stay so.
        world.configure(&format!("{}describe.see = \"both\"\n", set(1)));
        assert_code(&world.run("out", &llm), 0);
        let asked_of_both = llm.stub.calls();
        assert!(asked_of_both > asked);
        world.configure(&set(1));
        assert_code(&world.run("out", &llm), 0);
        assert_eq!(llm.stub.calls(), asked_of_both, "going back costs no call");
        assert_eq!(count(&out, rejected), answers);
    }
}

#[test]
fn a_kill_while_photos_are_described_loses_nothing() {
    let world = World::with_photos(&crate::support::run::PHOTOS);
    world.configure(&format!("{SEES}describe.mode = \"all\"\nllm.max_in_flight = 2\n"));
    let llm = Llm::start(StubOptions {
        delay: std::time::Duration::from_millis(150),
        ..StubOptions::default()
    });
    let out = world.path("out");
    let mut child = start(&mut world.command(&out, &llm.target()));
    wait_until("some are described", || {
        out.join("run.sqlite").is_file()
            && rusqlite::Connection::open(out.join("run.sqlite")).is_ok_and(|store| {
                let sql = "SELECT count(*) FROM photo_replies";
                store.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap_or(0) >= 2
            })
    });
    child.kill().expect("kill -9");
    child.wait().expect("it ended");
    let kept = count(&out, "SELECT count(*) FROM photo_replies");
    assert_code(&world.run("out", &llm), 0);
    assert_eq!(exported_ids(&out).len(), 6);
    assert!(count(&out, "SELECT count(*) FROM photo_replies") >= 6 && kept < 6);
    // At most what was under way is asked twice.
    assert!(llm.stub.calls() <= llm.distinct() + 2, "{} of {}", llm.stub.calls(), llm.distinct());
}

/// Two instructions that need something, of which the stub refuses one.
const LIBRARY: &str = r#"{"id": "boat-ad", "text": "Write an ad for the boat in the image.", "requires": ["boat"]}
{"id": "dog-diary", "text": "Write a diary entry of the dog in the image.", "requires": ["dog"]}
{"id": "any-poem", "text": "Write a poem about the image.", "requires": []}
"#;

fn checking(more: &str) -> World {
    let world = world("");
    world.write("library.jsonl", LIBRARY);
    let library = world.path("library.jsonl").display().to_string();
    world.configure(&format!(
        "{SEES}matching.check = [\"llm\"]\nmatching.per_image = 2\nlibrary.instructions = {library:?}\n{more}"
    ));
    world
}

#[test]
fn the_language_model_refuses_candidates_of_a_run_and_is_asked_once() {
    for (see, more) in [("description", ""), ("image", "check.see = \"image\"\n")] {
        let (world, llm) = (checking(more), Llm::default());
        let output = world.run("out", &llm);
        assert_code(&output, 0);
        let out = world.path("out");
        let drawn = "SELECT DISTINCT n.id FROM pairs p
            JOIN instructions n ON n.key = p.instruction_key ORDER BY n.id";
        assert_eq!(query(&out, drawn), ["any-poem", "dog-diary"]);
        assert!(said(&output).contains("candidates do not apply: llm"), "{}", said(&output));
        let questions: Vec<Value> = about_photos(&llm)
            .into_iter()
            .filter(|request| asked(request).contains("whether it applies"))
            .collect();
        assert_eq!(questions.len(), 2, "one for each photo");
        for question in &questions {
            assert_eq!(shown(question).is_some(), see == "image");
            let text = asked(question);
            assert!(text.contains("the boat in the image") && !text.contains("a poem about"));
            assert_eq!(text.contains("What people say"), see == "description");
        }
        let (calls, before) = (llm.stub.calls(), exports(&out));
        assert_code(&world.run("out", &llm), 0);
        assert_eq!(llm.stub.calls(), calls);
        assert_same_exports(&out, &before, "a second run");
        // Drawn anew under another seed of the sampling, the replies serve again.
        let mut anew = world.command(&out, &llm.target());
        anew.args(["--per-image", "1"]);
        assert_code(&finish(&mut anew), 0);
        assert_eq!(llm.stub.calls(), calls, "the same candidates, asked about before");
    }
}

#[test]
fn replies_that_say_nothing_are_the_photos_own_rejection_and_a_dead_server_is_tried_again() {
    let world = checking("llm.max_in_flight = 1\nllm.max_attempts = 1\n");
    let prose = r#"{"choices": [{"message": {"role": "assistant", "content": "Two fine dogs."}, "finish_reason": "stop"}]}"#;
    let llm = Llm::default();
    llm.stub.script([Fault::Body(prose), Fault::Body(prose)]);
    assert_code(&world.run("out", &llm), 0);
    let out = world.path("out");
    assert_eq!(codes(&out, "rejections"), ["llm_check_unreadable | 1"]);
    assert_eq!(count(&out, "SELECT count(DISTINCT seq) FROM pairs"), 1);

    let llm = Llm::default();
    llm.stub.always(Fault::Status(429, "insufficient_quota"));
    assert_code(&world.run("dead", &llm), 4);
    assert_eq!(count(&world.path("dead"), "SELECT count(*) FROM matches"), 0);
    assert_code(&world.run("dead", &Llm::default()), 0);
    assert_eq!(count(&world.path("dead"), "SELECT count(DISTINCT seq) FROM pairs"), 2);
}

/// `instructions generate` over the photos of a world.
fn generate(world: &World, llm: &Llm) -> std::process::Output {
    let mut command = pairwright(&["instructions", "generate", "--llm", &llm.target()]);
    command.arg("--config").arg(world.path("config.toml"));
    finish(command.arg("--source").arg(world.source()).arg("--out").arg(world.path("library")))
}

#[test]
fn instructions_are_written_for_the_photos_that_are_shown() {
    for see in ["image", "both"] {
        let (world, llm) = (World::with_photos(&PHOTOS), with_eyes(Eyes::Good));
        fs_err::remove_file(world.path("photos/moose.txt")).expect("removed");
        world.configure(&format!("generate.see = {see:?}\ngenerate.per_description = 4\n"));
        let output = generate(&world, &llm);
        assert_code(&output, 0);
        let augmenting = |llm: &Llm| -> Vec<Value> {
            let wanted = "new instructions that follow from this image";
            let all = about_photos(llm).into_iter();
            all.filter(|request| asked(request).contains(wanted)).collect()
        };
        let requests = augmenting(&llm);
        assert_eq!(requests.len(), PHOTOS.len(), "{}", said(&output));
        assert!(requests.iter().all(|request| shown(request).is_some()));
        let told = requests.iter().filter(|request| asked(request).contains("<captions>"));
        let captioned = if see == "both" { PHOTOS.len() - 1 } else { 0 };
        assert_eq!(told.count(), captioned, "the photo without a text has none to tell");
        let calls = llm.stub.calls();
        assert_code(&generate(&world, &llm), 0);
        assert_eq!(llm.stub.calls(), calls, "nothing is asked twice, whether it sees neither");
        // Another photo under the same name is another question.
        let other = fs_err::read(world.path("photos/two-dogs.jpg")).expect("read");
        world.write("photos/moose.jpg", other);
        assert_code(&generate(&world, &llm), 0);
        assert_eq!(augmenting(&llm).len(), PHOTOS.len() + 1);
        // One that is gone is its own failure.
        fs_err::remove_file(world.path("photos/moose.jpg")).expect("removed");
        world.write("photos/moose.jpg", "no photo");
        assert_code(&generate(&world, &llm), 3);
        assert_eq!(augmenting(&llm).len(), PHOTOS.len() + 1);
        world.configure("generate.see = \"image\"\n");
        let blind = generate(&world, &with_eyes(Eyes::None));
        assert!(said(&blind).contains("see"), "{}", said(&blind));
    }
}

#[test]
fn one_model_describes_and_another_one_answers() {
    let (eyes, llm) = (with_eyes(Eyes::Good), with_eyes(Eyes::None));
    let target = eyes.target();
    let world = world(&format!(
        "describe.mode = \"all\"\ndescribe.llm.target = {target:?}\n\
         describe.llm.model = \"stub-model\"\n"
    ));
    assert_code(&world.run("out", &llm), 0);
    let out = world.path("out");
    assert_eq!(exported_ids(&out).len(), 2);
    let described = about_photos(&eyes);
    assert!(described.iter().all(|request| asked(request) == "Describe this photo."));
    assert!(described.len() >= 2 && described.iter().all(|request| shown(request).is_some()));
    assert!(llm.stub.requests().iter().all(|request| shown(request).is_none()));
    let ledger = rusqlite::Connection::open(out.join("llm.sqlite")).expect("a ledger");
    let sql = "SELECT group_concat(section || ' ' || role, ', ')
        FROM (SELECT * FROM spending ORDER BY section)";
    let roles: String = ledger.query_row(sql, [], |row| row.get(0)).expect("roles");
    assert_eq!(roles, "describe.llm describe, llm answer");
    let (calls, before) = ((eyes.stub.calls(), llm.stub.calls()), exports(&out));
    assert_code(&world.run("out", &llm), 0);
    assert_eq!((eyes.stub.calls(), llm.stub.calls()), calls, "nothing is asked twice");
    assert_same_exports(&out, &before, "a second run");
}
