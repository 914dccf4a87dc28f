//! Texts that an older release accepted and trainers stumble over: `verify` finds them.

use super::*;

#[test]
fn verify_counts_reasoning_and_placeholders_that_an_older_release_accepted() {
    let (world, llm) = (world(""), Llm::default());
    let out = world.path("out");
    assert_code(&world.run("out", &llm), 0);
    let store = rusqlite::Connection::open(out.join("run.sqlite")).expect("a store");
    let edit = |photo: &str, text: &str| {
        let sql =
            "UPDATE answers SET text = ?2 || text WHERE pair_key IN (SELECT pair_key FROM pairs
            JOIN items USING (seq) WHERE items.id = ?1)";
        assert_eq!(store.execute(sql, [photo, text]).expect("edited"), 1, "{photo}");
    };
    edit("moose", "<think>The user wants a poem about it.</think>");
    edit("raccoon", "<think>\n\n</think>\n\n");
    edit("tabby-cat", "<video> ");
    drop(store);
    let output = finish(pairwright(&["verify", "--out"]).arg(&out));
    assert_code(&output, 5);
    let text = said(&output);
    for words in [
        "WRONG reasoning in 2 of 6 samples",
        "moose-1: the answer holds a model's reasoning",
        "WRONG placeholder tokens in 1 of 6 samples",
        "tabby-cat-1: the answer holds \"<video>\"",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
}
