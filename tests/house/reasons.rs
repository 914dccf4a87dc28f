//! Every stable reason that the service sends stands in the contract, where clients look it up.

use std::collections::BTreeSet;
use std::path::Path;

use regex::Regex;
use walkdir::WalkDir;

/// Codes of libraries that a person reads from files, which no call meets.
const NOT_SENT: [&str; 1] = ["INSTRUCTION_ID_TAKEN"];

fn sources(folder: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let files = WalkDir::new(root).into_iter().map(|entry| entry.expect("readable").into_path());
    let files = files.filter(|path| path.extension().is_some_and(|end| end == "rs"));
    files.map(|path| fs_err::read_to_string(path).expect("text")).collect()
}

/// The table of reasons in the contract.
fn listed() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto/pairwright/v1/common.proto");
    let text = fs_err::read_to_string(path).expect("the contract");
    text.lines().filter(|line| line.starts_with("// | ")).collect()
}

#[test]
fn every_reason_is_listed_in_the_contract() {
    // What the door says by itself, and what it says of instructions and vectors that are refused.
    let by_itself = Regex::new(r#"Fault::(?:new\(\s*(?:tonic::)?Code::\w+,|full\()\s*"([A-Z_]+)""#)
        .expect("sound");
    let of_engine =
        Regex::new(r#""((?:instruction|bad_instruction|vector)_[a-z_]+)""#).expect("sound");
    let door = sources("src/server");
    let engine = sources("src/instruction") + &sources("src/index");
    let mut reasons: BTreeSet<String> =
        by_itself.captures_iter(&door).map(|found| found[1].to_owned()).collect();
    assert!(reasons.len() > 20, "{reasons:?}");
    let codes: BTreeSet<String> =
        of_engine.captures_iter(&engine).map(|found| found[1].to_ascii_uppercase()).collect();
    assert!(codes.contains("INSTRUCTION_TEXT_TOO_LONG"), "{codes:?}");
    reasons.extend(codes);
    let table = listed();
    let words: BTreeSet<&str> =
        table.split(|c: char| !(c.is_ascii_uppercase() || c == '_' || c == '*')).collect();
    let families = words.iter().filter_map(|word| word.strip_suffix('*'));
    let families: Vec<&str> = families.filter(|start| !start.is_empty()).collect();
    let missing: Vec<&String> = reasons
        .iter()
        .filter(|reason| !NOT_SENT.contains(&reason.as_str()) && !words.contains(reason.as_str()))
        .filter(|reason| !families.iter().any(|start| reason.starts_with(start)))
        .collect();
    assert!(missing.is_empty(), "common.proto does not list {missing:?}");
}
