//! Instructions from seeds with the real small model. Skipped, loudly, where `make setup` has not
//! fetched it.

use crate::support::run::{assert_code, finish, pairwright, root, said};

#[test]
fn the_small_model_writes_instructions() {
    let folder = tempfile::tempdir().expect("temp dir");
    let out = folder.path().join("out");
    let mut command = pairwright(&["instructions", "generate", "--seed", "7", "--limit", "6"]);
    command.arg("--source").arg(root().join("samples/photos")).arg("--out").arg(&out);
    let output = finish(&mut command);
    if said(&output).contains("make setup") {
        eprintln!("SKIPPED, the small model or its server is not there: {}", said(&output));
        return;
    }
    assert_code(&output, 0);
    let store = rusqlite::Connection::open(out.join("instructions.sqlite")).expect("a store");
    let number =
        |sql: &str| -> i64 { store.query_row(sql, [], |row| row.get(0)).expect("a number") };
    // A wrong chat template drops the prompt and still answers.
    assert!(number("SELECT min(prompt_tokens) FROM calls WHERE role = 'augment'") > 100);
    assert!(number("SELECT count(*) FROM raws WHERE verdict = 'accepted'") >= 2);
    assert!(number("SELECT count(*) FROM finals") >= 1);
    let library = fs_err::read_to_string(out.join("library.jsonl")).expect("a library");
    for line in library.lines() {
        let one: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert!(one["text"].as_str().expect("a text").ends_with('.'), "{line}");
    }
    // The server is deterministic at equal settings only call by call: replies are kept, so a
    // second start changes nothing.
    assert_code(&finish(&mut command), 0);
    assert_eq!(fs_err::read_to_string(out.join("library.jsonl")).expect("a library"), library);
}
