//! `instructions list`, `show`, `import`, `export` and `stats`.

use super::*;

fn instructions(out: &Path, arguments: &[&str]) -> Output {
    let mut command = pairwright(&["instructions"]);
    command.args(&arguments[..1]).arg("--out").arg(out).args(&arguments[1..]);
    finish(&mut command)
}

fn told(out: &Path, arguments: &[&str]) -> String {
    let output = instructions(out, arguments);
    assert_code(&output, 0);
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn a_generation_can_be_looked_at() {
    let ground = Ground::quick();
    let out = ground.generate("out");
    let library = String::from_utf8(files(&out)[0].clone()).expect("UTF-8");
    let listed = told(&out, &["list"]);
    assert_eq!(listed.lines().count(), library.lines().count());
    let (id, text) = {
        let first = listed.lines().next().expect("a line");
        let mut fields = first.split('\t');
        (fields.next().expect("an id").to_owned(), fields.next_back().expect("a text").to_owned())
    };
    let shown = told(&out, &["show", &id]);
    assert!(shown.contains(&text) && shown.contains("from cluster") && shown.contains("seed-"));
    let json: serde_json::Value =
        serde_json::from_str(&told(&out, &["show", &id, "--json"])).expect("JSON");
    assert_eq!(
        (json["id"].as_str(), json["verdict"].as_str()),
        (Some(id.as_str()), Some("accepted"))
    );
    assert_code(&instructions(&out, &["show", "gen-nothing"]), 2);

    let raw = told(&out, &["list", "raw"]);
    assert_eq!(raw.lines().count(), count(&out, "SELECT count(*) FROM raws"));
    assert!(told(&out, &["list", "clusters"]).contains(" members\taccepted\t"));
    assert_eq!(told(&out, &["export"]).as_bytes(), files(&out)[0]);
    assert_eq!(told(&out, &["export", "--format", "lineage"]).as_bytes(), files(&out)[1]);
    assert!(told(&out, &["export", "--format", "txt"]).lines().any(|line| line == text));
    let stats = told(&out, &["stats"]);
    assert!(stats.contains("seeds     64 texts") && stats.contains("distinct-1/2/3"), "{stats}");
}

#[test]
fn imported_instructions_join_the_library_and_stay() {
    let ground = Ground::quick();
    let out = ground.generate("out");
    let before = files(&out)[0].clone();
    let first = serde_json::from_slice::<serde_json::Value>(
        before.split(|byte| *byte == b'\n').next().expect("a line"),
    );
    let known = first.expect("JSON")["text"].as_str().expect("a text").to_lowercase();
    let file = ground.world.path("more.txt");
    fs_err::write(&file, format!("Draw a map of the image from memory.\n{known}\n"))
        .expect("write");
    let said = told(&out, &["import", file.to_str().expect("a path")]);
    assert!(said.starts_with("1 added, 1 there already"), "{said}");
    ground.generate("out");
    let after = files(&out)[0].clone();
    assert!(after.starts_with(&before), "the generated ones are as they were");
    assert!(String::from_utf8_lossy(&after).contains("Draw a map of the image from memory."));
    assert!(told(&out, &["show", "line-1"]).contains("imported"));

    fs_err::write(&file, "Sing the image to a friend.\n").expect("write");
    let output = instructions(&out, &["import", file.to_str().expect("a path")]);
    assert_code(&output, 2);
    assert!(super::said(&output).contains("\"line-1\" is taken"), "{}", super::said(&output));
}
