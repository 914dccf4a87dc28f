//! What does not apply to a photo is left out of its draw.

use crate::support::run::{
    Llm, World, assert_code, assert_same_exports, count, exported_ids, exports, finish, query, said,
};

const LIBRARY: &str = r#"{"id": "boat-ad", "text": "Write an ad for the boat in the image.", "requires": ["boat"]}
{"id": "any-poem", "text": "Write a poem about the image.", "requires": []}
"#;

/// Two photos without a boat, any instruction near enough, two draws for each photo.
fn world(library: &str) -> (World, Llm) {
    let world = World::with_photos(&["coffee-cup", "two-dogs"]);
    world.write("library.jsonl", library);
    let path = world.path("library.jsonl");
    world.configure(&format!(
        "matching.min_similarity = -1.0\nmatching.per_image = 2\nlibrary.instructions = {:?}\n",
        path.display().to_string()
    ));
    (world, Llm::default())
}

#[test]
fn what_does_not_apply_is_not_drawn_and_a_resumed_run_asks_nothing() {
    let (world, llm) = world(LIBRARY);
    let output = world.run("out", &llm);
    assert_code(&output, 0);
    let out = world.path("out");
    let drawn =
        "SELECT DISTINCT n.id FROM pairs p JOIN instructions n ON n.key = p.instruction_key";
    assert_eq!(query(&out, drawn), ["any-poem"]);
    let verdicts = "SELECT count(*) FROM matches m, json_each(m.candidates) c, \
        json_each(c.value, '$.checks') k WHERE json_extract(c.value, '$.id') = 'boat-ad' \
        AND json_extract(k.value, '$.check') = 'text' AND json_extract(k.value, '$.missing[0]') = 'boat'";
    assert_eq!(count(&out, verdicts), 2);
    let told = said(&output);
    assert!(told.contains("candidates do not apply: text"), "{told}");
    let [_, jsonl, _] = exports(&out);
    let jsonl = String::from_utf8(jsonl).expect("UTF-8");
    assert!(
        jsonl.contains(r#""requires":[]"#) && jsonl.contains(r#""missing":["boat"]"#),
        "{jsonl}"
    );
    let report = fs_err::read_to_string(out.join("report.html")).expect("a report");
    assert!(report.contains("does not apply; text: no boat"));

    let (calls, before) = (llm.stub.calls(), exports(&out));
    assert_code(&world.run("out", &llm), 0);
    assert_eq!(llm.stub.calls(), calls);
    assert_same_exports(&out, &before, "a second run");

    // Without the check both are drawn, and only what is new is asked.
    let mut unchecked = world.command(&out, &llm.target());
    assert_code(&finish(unchecked.arg("--check=")), 0);
    assert_eq!(exported_ids(&out).len(), 4);
    let kept = count(&out, "SELECT count(*) FROM answers");
    assert_eq!(llm.stub.calls(), kept, "answers to the same pairs are kept");
    // What it began with holds again where nothing is named.
    assert_code(&world.run("out", &llm), 0);
    assert_eq!(llm.stub.calls(), kept);
    assert_same_exports(&out, &before, "with the check again");
}

#[test]
fn a_photo_for_which_nothing_applies_is_a_rejection() {
    let boats = LIBRARY.lines().next().expect("a line");
    let (world, llm) = world(boats);
    let output = world.run("out", &llm);
    assert_code(&output, 7);
    assert!(said(&output).contains("2 of 2 no_applicable_instruction"), "{}", said(&output));
    let out = world.path("out");
    let rejections = "SELECT code, count(*) FROM rejections WHERE stage = 'match' GROUP BY code";
    assert_eq!(query(&out, rejections), ["no_applicable_instruction | 2"]);
    let reasons = query(&out, "SELECT reason FROM rejections WHERE stage = 'match'");
    assert!(reasons[0].contains("no \"boat\""), "{reasons:?}");
    assert_eq!(llm.stub.calls(), 0);
}
