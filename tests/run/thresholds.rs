//! Thresholds over a run: exports, resume, verify, the dry run beside a random group.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::support::made_run;
use crate::support::run::{
    Llm, World, assert_code, assert_same_exports, exported_ids, exports, finish, pairwright, query,
    said,
};

const MEASURED: &str = "measure.enabled = [\"sentence_similarity_min\"]\n";

/// What the program says to `pairwright COMMAND --out OUT MORE`, with its exit code.
fn say(command: &str, out: &Path, more: &[&str], code: i32) -> String {
    let output = finish(pairwright(&[command, "--out"]).arg(out).args(more));
    assert_code(&output, code);
    said(&output)
}

fn samples(out: &Path) -> Vec<Value> {
    let text = fs_err::read_to_string(out.join("dataset/samples.jsonl")).expect("an export");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn thresholds_leave_samples_out_and_bring_them_back_without_a_call() {
    let world = World::with_photos(&["coffee-cup", "moose", "raccoon", "two-dogs"]);
    let llm = Llm::default();
    world.configure(MEASURED);
    assert_code(&world.run("out", &llm), 0);
    let out = world.path("out");
    let (calls, all, before) = (llm.stub.calls(), exported_ids(&out), exports(&out));

    // A threshold in the middle of what the real encoder measured.
    let mut values: Vec<f64> = samples(&out)
        .iter()
        .map(|sample| sample["measures"]["sentence_similarity_min"].as_f64().expect("a number"))
        .collect();
    values.sort_by(f64::total_cmp);
    let at = (values[1] + values[2]) / 2.0;
    let above: BTreeSet<String> = samples(&out)
        .iter()
        .filter(|sample| sample["measures"]["sentence_similarity_min"].as_f64() >= Some(at))
        .map(|sample| sample["id"].as_str().expect("an id").to_owned())
        .collect();
    let threshold = format!("sentence_similarity_min >= {at}");
    world.configure(&format!("{MEASURED}export.keep = [\"{threshold}\", \"rank == 1\"]\n"));
    let output = world.run("out", &llm);
    assert_code(&output, 0);
    let told = said(&output);
    assert!(told.contains("kept back      2  of 4 samples, by export.keep"), "{told}");
    assert!(told.contains(&format!("2  {threshold} (2 by it alone)")), "{told}");
    assert_eq!(llm.stub.calls(), calls);
    assert_eq!(exported_ids(&out), above);
    let page = fs_err::read_to_string(out.join("report.html")).expect("a report");
    assert!(page.contains("left out") && page.contains("id=\"measures\""));
    let told = say("verify", &out, &[], 0);
    assert!(told.contains("2 of 4 samples, the others kept back by export.keep"), "{told}");

    // For one export only, and then the run's own again.
    say("export", &out, &["--keep", "rank == 1"], 0);
    assert_eq!(exported_ids(&out), all);
    say("export", &out, &[], 0);
    assert_eq!(exported_ids(&out), above);

    // Nothing is left: no file, and the expression is named.
    let told = say("filter", &out, &["--keep", "similarity > 2"], 7);
    assert!(told.contains("export.keep: `similarity > 2` leaves out 4 of 4"), "{told}");
    assert!(!out.join("dataset/llava.json").exists());
    say("verify", &out, &[], 0);

    // Everything comes back as it was, and the run file remembers.
    say("filter", &out, &["--keep", ""], 0);
    assert_same_exports(&out, &before, "no threshold any more");
    assert_eq!(llm.stub.calls(), calls);
    assert!(fs_err::read_to_string(out.join("run.toml")).expect("a file").contains("keep = []"));
}

#[test]
fn a_threshold_that_cannot_be_held_is_refused_before_anything_is_asked() {
    let world = World::with_photos(&["moose"]);
    let llm = Llm::default();
    for (more, said_of_it) in [
        ("export.keep = [\"simlarity > 0.2\"]\n", "did you mean `similarity`?"),
        ("export.keep = [\"similarity > high\"]\n", "similarity is a number"),
        ("export.keep = [\"similarity >\"]\n", "column 13"),
        ("export.keep = [\"sentence_similarity_min > 0\"]\n", "measure.enabled"),
    ] {
        world.configure(more);
        let output = world.run("out", &llm);
        assert_code(&output, 2);
        let told = said(&output);
        assert!(told.contains("export.keep is") && told.contains(said_of_it), "{told}");
    }
    assert_eq!(llm.stub.calls(), 0);

    // A measure that the run takes, of which there is nothing yet.
    world.configure("");
    assert_code(&world.run("out", &llm), 0);
    let out = world.path("out");
    let file = out.join("run.toml");
    let text = fs_err::read_to_string(&file).expect("a file");
    let text = text.replace("\nenabled = []\n", &format!("\n{}", &MEASURED[8..]));
    fs_err::write(&file, text).expect("written");
    for command in ["export", "filter"] {
        let told = say(command, &out, &["--keep", "sentence_similarity_min > 0"], 2);
        assert!(told.contains("was not taken of any sample yet"), "{told}");
    }
    assert_eq!(exported_ids(&out).len(), 1, "the earlier export is still there");
}

#[test]
fn a_dry_run_tells_and_changes_nothing() {
    let folder = tempfile::tempdir().expect("temp dir");
    let out = folder.path();
    made_run::make(out, 500);
    let before = query(out, "SELECT name, value FROM meta ORDER BY name");
    let list = [
        "--dry-run",
        "--keep=sentence_similarity_min >= 0.2 and present",
        "--keep=completion_tokens < 130",
        "--show=2",
        "--seed=5",
    ];
    let told = say("filter", out, &list, 0);
    insta::assert_snapshot!("dry_run", told);
    assert_eq!(say("filter", out, &list, 0), told, "the same seed shows the same");
    let json = say("filter", out, &[&list[..], &["--json"]].concat(), 0);
    let json: Value = serde_json::from_str(&json).expect("JSON");
    let one = &json["expressions"][0];
    assert_eq!((json["samples"].as_u64(), one["missing"].as_u64()), (Some(500), Some(10)));
    assert_eq!(one["left_out"], one["random"]);
    let means = one["means"].as_array().expect("a list");
    let mean = means.iter().find(|one| one["name"] == "sentence_similarity_min").expect("taken");
    assert!(mean["left_out"].as_f64() < Some(0.2) && mean["random"].as_f64() > Some(0.4), "{mean}");
    assert_eq!(query(out, "SELECT name, value FROM meta ORDER BY name"), before);
    assert!(!out.join("dataset").exists() && !out.join("run.lock").exists());
    let told = say("filter", out, &["--dry-run"], 2);
    assert!(told.contains("no expression is given"), "{told}");
}
