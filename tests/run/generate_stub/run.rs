//! Generating as the first stage of `pairwright run`.

use super::*;
use crate::support::run::{PHOTOS, exported_ids};

fn library_of(out: &Path) -> Vec<String> {
    let store = rusqlite::Connection::open(out.join("run.sqlite")).expect("a store");
    let mut statement = store.prepare("SELECT id FROM instructions").expect("a query");
    let ids = statement.query_map([], |row| row.get::<_, String>(0)).expect("rows");
    ids.map(|id| id.expect("an id")).collect()
}

#[test]
fn a_run_can_begin_with_the_seeds() {
    let (world, llm) = (World::with_photos(&PHOTOS), Llm::default());
    let first = "generate.min_library = 2\ngenerate.per_description = 4\n";
    world.configure(&format!("matching.min_similarity = -1.0\n{first}"));
    let out = world.path("run");
    let run = || finish(world.command(&out, &llm.target()).arg("--generate-instructions"));
    assert_code(&run(), 0);
    assert!(library_of(&out).iter().all(|id| id.starts_with("gen-")));
    assert!(!exported_ids(&out).is_empty());
    let report = fs_err::read_to_string(out.join("report.html")).expect("a report");
    assert!(report.contains("id=\"instruction-map\"") && report.contains("<circle"));
    let calls = llm.stub.calls();
    // The option is kept with the run.
    assert_code(&finish(&mut pairwright(&["run", "--out", out.to_str().expect("a path")])), 0);
    assert_eq!(llm.stub.calls(), calls, "nothing is asked twice");
}

#[test]
fn too_few_generated_instructions_are_joined_by_the_library() {
    let (world, llm) = (World::with_photos(&PHOTOS), Llm::default());
    world.configure("matching.min_similarity = -1.0\ngenerate.min_library = 500\n");
    let out = world.path("run");
    let output = finish(world.command(&out, &llm.target()).arg("--generate-instructions"));
    assert_code(&output, 0);
    assert!(said(&output).contains("fewer than generate.min_library = 500"), "{}", said(&output));
    let ids = library_of(&out);
    let generated = ids.iter().filter(|id| id.starts_with("gen-")).count();
    assert!(generated > 0 && ids.len() - generated > 40, "{generated} of {}", ids.len());
}

#[test]
fn a_run_whose_generation_gives_nothing_goes_on_with_the_library() {
    use crate::support::stub_llm::Fault;
    let (world, llm) = (World::with_photos(&PHOTOS), Llm::default());
    world.configure("matching.min_similarity = -1.0\ngenerate.attempts = 1\n");
    llm.stub.script((0..PHOTOS.len()).map(|_| Fault::Body(concat!(
        r#"{"id":"x","object":"chat.completion","created":0,"model":"stub-model","choices":["#,
        r#"{"index":0,"message":{"role":"assistant","content":"I see. I wait. I rest."},"#,
        r#""finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}"#
    ))));
    let out = world.path("run");
    let output = finish(world.command(&out, &llm.target()).arg("--generate-instructions"));
    assert_code(&output, 0);
    assert!(said(&output).contains("no instructions were generated"), "{}", said(&output));
    assert!(library_of(&out).iter().all(|id| !id.starts_with("gen-")));
}
