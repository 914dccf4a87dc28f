//! What a generated library is made of.

use serde_json::Value;

use super::*;

fn rows(file: &[u8]) -> Vec<Value> {
    let lines = file.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).expect("JSON")).collect()
}

fn ids(rows: &[Value]) -> Vec<String> {
    rows.iter().map(|row| row["id"].as_str().expect("an id").to_owned()).collect()
}

#[test]
fn members_need_no_summary_and_join_summaries_without_near_duplicates() {
    let ground = Ground::quick();
    ground.configure("generate.library = \"members\"\ngenerate.members_per_cluster = 2\n");
    let out = ground.generate("out");
    assert_eq!(count(&out, "SELECT count(*) FROM calls WHERE role = 'summarize'"), 0);
    let [library, lineage] = files(&out).map(|file| rows(&file));
    let members = ids(&library);
    assert!(members.len() >= 4 && members.iter().all(|id| id.starts_with("raw-")), "{members:?}");
    for row in &lineage {
        assert_eq!(row["verdict"], "not_summarized");
        let all = row["members"].as_array().expect("a list");
        let own: Vec<&Value> = all.iter().filter(|one| one["id"].is_string()).collect();
        assert!(own.len() <= 2, "{own:?}");
        for one in own {
            let listed = library.iter().find(|row| row["id"] == one["id"]).expect("in the library");
            assert_eq!(listed["text"], one["text"]);
        }
    }
    let mut show = pairwright(&["instructions", "show", "--out"]);
    let shown = finish(show.arg(&out).arg(&members[0]));
    assert_code(&shown, 0);
    let shown = String::from_utf8(shown.stdout).expect("UTF-8");
    assert!(shown.contains("a raw instruction, taken as it is"), "{shown}");

    // Both: the summaries are asked for now, and nothing else.
    let calls = ground.llm.stub.calls();
    ground.configure("generate.library = \"both\"\ngenerate.members_per_cluster = 2\n");
    ground.generate("out");
    let asked = count(&out, "SELECT count(*) FROM calls WHERE role = 'summarize'");
    assert_eq!(ground.llm.stub.calls(), calls + asked);
    let both = ids(&rows(&files(&out)[0]));
    let summaries = both.iter().filter(|id| id.starts_with("gen-")).count();
    assert!(summaries > 0 && both.len() > summaries, "{both:?}");
    let distinct: std::collections::HashSet<&String> = both.iter().collect();
    assert_eq!(distinct.len(), both.len());

    // And summaries alone are what they would have been from the start.
    ground.configure("");
    ground.generate("out");
    assert_eq!(files(&out), files(&ground.generate("fresh")));
}

const BAD: &str = r#"{"choices":[{"message":{"role":"assistant",
    "content":"{\"instructions\": [\"The wall is white.\"]}"},"finish_reason":"stop"}],
    "usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}"#;

#[test]
fn a_retry_is_told_why_its_reply_was_refused() {
    let ground = Ground::quick();
    ground.describe(1);
    ground.configure("llm.max_in_flight = 1\n");
    ground.llm.stub.script([crate::support::stub_llm::Fault::Body(BAD)]);
    // One description gives too little to cluster, or just enough.
    let _ = ground.try_generate("out");
    let second = &ground.llm.stub.requests()[1];
    let turns = second["messages"].as_array().expect("messages");
    let said = turns.last().expect("a turn")["content"].as_str().expect("a text");
    assert!(said.contains("\"The wall is white.\":"), "{said}");
    assert!(said.contains("None of these can be used"), "{said}");
}
