//! Comments explain themselves: whoever reads the code has the repository and nothing else.

use std::path::Path;

use regex::Regex;

#[test]
fn no_comment_refers_to_a_document_outside_the_repository() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let elsewhere =
        Regex::new(r"\b(design|style|issue) (section )?\d|design\.md|style\.md").expect("sound");
    let mut found = Vec::new();
    for folder in [
        "src",
        "tests",
        "benches",
        "examples",
        "fuzz/src",
        "fuzz/fuzz_targets",
        "scripts",
        "recipes",
    ] {
        for entry in walkdir::WalkDir::new(root.join(folder)) {
            let path = entry.expect("readable").into_path();
            let is_code = path.extension().is_some_and(|end| end == "rs" || end == "py");
            if !is_code || path.ends_with(file!()) {
                continue;
            }
            let text = fs_err::read_to_string(&path).expect("text");
            for (number, line) in
                text.lines().enumerate().filter(|(_, line)| elsewhere.is_match(line))
            {
                found.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "{} lines:\n{}", found.len(), found.join("\n"));
}
