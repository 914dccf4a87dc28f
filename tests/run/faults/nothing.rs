//! Commands that made nothing: an error line with the first cause, and a code of their own.

use super::*;
use crate::support::run::EXPORTS;

#[track_caller]
fn made_nothing(output: &Output, words: &[&str]) {
    assert_code(output, 7);
    let text = said(output);
    assert!(words.iter().all(|word| text.contains(word)), "{words:?} in {text}");
}

#[test]
fn a_source_without_any_of_its_photos_says_to_check_where_they_are() {
    let (world, llm) = (World::new(), Llm::default());
    let line = |id: u32| {
        format!("{{\"id\": \"{id}\", \"image\": \"{id}.jpg\", \"caption\": \"A cat.\"}}\n")
    };
    world.write("photos/list.jsonl", (0..4).map(line).collect::<String>());
    let (list, out) = (world.path("photos/list.jsonl"), world.path("out"));
    let output = finish(&mut world.command_over(&list, &out, &llm.target()));
    let words = ["no photo could be used: 4 of 4 missing_image", "check --images"];
    made_nothing(&output, &words);
    assert!(EXPORTS.iter().all(|name| !out.join(name).exists()));
    let mut matching = pairwright(&["match", "--source"]);
    made_nothing(&finish(matching.arg(&list).arg("--out").arg(world.path("matched"))), &words);
    made_nothing(&finish(pairwright(&["export", "--out"]).arg(&out)), &words);
}

#[test]
fn a_source_whose_entries_are_all_refused_names_the_most_frequent_cause() {
    let (world, llm) = (World::new(), Llm::default());
    world.write(
        "photos/list.jsonl",
        "{\"id\": \"a\", \"image\": \"a.jpg\"}\n{\"id\": \"b\", \"image\": \"b.jpg\"}\n{}\n",
    );
    let list = world.path("photos/list.jsonl");
    let output = finish(&mut world.command_over(&list, &world.path("out"), &llm.target()));
    made_nothing(&output, &["no usable item: 3 rejected", "missing_description"]);
}

#[test]
fn answers_that_are_all_refused_name_the_filter_and_withdraw_what_was_exported() {
    let (world, llm) = (world(""), Llm::default());
    let out = world.path("out");
    assert_code(&world.run("out", &llm), 0);
    world.configure(&format!("{ONE_BY_ONE}filters.min_words = 400\n"));
    let calls = llm.stub.calls();
    made_nothing(&world.run("out", &llm), &["no answer was accepted: 6 of 6 too_short"]);
    assert!(EXPORTS.iter().all(|name| !out.join(name).exists()));
    assert_code(&finish(pairwright(&["verify", "--out"]).arg(&out)), 0);
    world.configure(ONE_BY_ONE);
    assert_code(&world.run("out", &llm), 0);
    assert_eq!((exported_ids(&out).len(), llm.stub.calls()), (PHOTOS.len(), calls));
}

#[test]
fn photos_that_matching_leaves_without_an_instruction_name_the_floor() {
    let (world, llm) = (world("matching.min_similarity = 0.999\n"), Llm::default());
    let words = ["no photo got an instruction: 6 of 6 below_similarity_floor"];
    made_nothing(&world.run("out", &llm), &words);
}

#[test]
fn embedding_nothing_names_the_first_refusal() {
    let world = World::new();
    world.write("photos/broken.jpg", "no photo at all");
    let mut command = pairwright(&["embed", "--images"]);
    let output = finish(command.arg(world.source()).arg("--out").arg(world.path("vectors")));
    made_nothing(&output, &["nothing was embedded, 1 refused", "broken.jpg: "]);
}
