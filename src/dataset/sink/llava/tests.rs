use crate::base::failure::Failure;
use std::cell::RefCell;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::super::tests::sample;
use super::super::{ExportFormat, Sink, SinkOptions, TRAIN};
use super::*;

/// The problems of a file as `row id code`.
fn problems(text: &str, decode: Option<&DecodeCheck<'_>>) -> (u64, Vec<String>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("llava.json");
    fs_err::write(&path, text).expect("a test file");
    fs_err::write(folder.path().join("a.jpg"), b"").expect("an image");
    fs_err::write(folder.path().join("b.jpg"), b"").expect("an image");
    let report = check(&path, Some(folder.path()), decode).expect("a readable file");
    assert_eq!(report.total(), report.problems.len() as u64);
    let lines = report.problems.iter().map(|p| format!("{} {} {}", p.row, p.id, p.code));
    (report.rows, lines.collect())
}

fn row(id: &str, image: &str, turns: &[(&str, &str)]) -> serde_json::Value {
    let turn = |(from, value): &(&str, &str)| json!({"from": from, "value": value});
    let turns: Vec<_> = turns.iter().map(turn).collect();
    json!({"id": id, "image": image, "conversations": turns})
}

#[test]
fn rows_have_llavas_exact_form() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut sink =
        Sink::create(ExportFormat::Llava, folder.path(), &SinkOptions::default()).expect("room");
    sink.push_all(&[sample(1)], None, TRAIN).expect("a good sample");
    sink.push_all(&[sample(2)], None, TRAIN).expect("a good sample");
    let path = sink.finish().expect("room").path;
    insta::assert_snapshot!(fs_err::read_to_string(path).expect("the export"), @r#"
    [
    {"id":"photo/1-1","image":"photo/1.jpg","conversations":[{"from":"human","value":"<image>\nWrite a line about number 1."},{"from":"gpt","value":"\"Number 1\"\nis here, naïve and 漢字."}]},
    {"id":"photo/2-1","image":"photo/2.jpg","conversations":[{"from":"human","value":"<image>\nWrite a line about number 2."},{"from":"gpt","value":"\"Number 2\"\nis here, naïve and 漢字."}]}
    ]
    "#);
}

#[test]
fn an_export_without_rows_is_an_empty_array() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let sink =
        Sink::create(ExportFormat::Llava, folder.path(), &SinkOptions::default()).expect("room");
    let path = sink.finish().expect("room").path;
    assert_eq!(fs_err::read_to_string(&path).expect("the export"), "[]\n");
    assert!(check(&path, None, None).expect("readable").is_clean());
}

#[test]
fn every_fault_is_found_with_its_row() {
    let good = [("human", "<image>\nWhat?"), ("gpt", "That.")];
    let rows = json!([
        row("ok", "a.jpg", &good),
        row("ok", "a.jpg", &good),
        row("", "a.jpg", &good),
        row("gone", "none.jpg", &good),
        row("folder", ".", &good),
        {"id": "list", "image": ["a.jpg"], "conversations": [
            {"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "That."}]},
        row("silent", "a.jpg", &[]),
        row("odd", "a.jpg", &[good[0], good[1], ("human", "And?")]),
        row("swapped", "a.jpg", &[("gpt", "<image>\nWhat?"), ("human", "That.")]),
        row("unopened", "a.jpg", &[("human", "What?"), good[1]]),
        row("behind", "a.jpg", &[("human", "What?\n<image>"), good[1]]),
        row("twice", "a.jpg", &[("human", "<image>\n<image>\nWhat?"), good[1]]),
        row("leaked", "a.jpg", &[good[0], ("gpt", "An <image> of that.")]),
        row("mute", "a.jpg", &[good[0], ("gpt", " \n")]),
        row("blank", "a.jpg", &[("human", "<image>\n "), good[1]]),
        row("bell", "a.jpg", &[good[0], ("gpt", "ding\u{7}")]),
        row("filmed", "a.jpg", &[good[0], ("gpt", "A < Video > of that.")]),
        row("thought", "a.jpg", &[good[0], ("gpt", "<think>Hm.</think> That.")]),
        row("long", "a.jpg", &[good[0], good[1], ("human", "And?"), ("gpt", "This.")]),
        7,
    ]);
    let (count, found) = problems(&rows.to_string(), None);
    assert_eq!(count, 20);
    insta::assert_snapshot!(found.join("\n"), @r"
    2 ok duplicate_id
    3  missing_id
    4 gone image_not_found
    5 folder image_not_found
    6 list missing_image
    7 silent missing_conversations
    8 odd turn_order
    9 swapped turn_order
    10 unopened image_token
    11 behind image_token
    12 twice image_token
    13 leaked image_token
    14 mute empty_value
    15 blank empty_value
    16 bell control_character
    17 filmed placeholder_token
    18 thought reasoning
    20  missing_id
    20  missing_image
    20  missing_conversations
    ");
}

#[test]
fn images_are_decoded_together_and_each_once() {
    let turns = [("human", "<image>\nWhat?"), ("gpt", "That.")];
    let rows = json!([
        row("1", "a.jpg", &turns),
        row("2", "a.jpg", &turns),
        row("3", "b.jpg", &turns),
        row("4", "b.jpg", &turns),
    ]);
    let seen = RefCell::new(Vec::new());
    let decode = |paths: &[PathBuf]| {
        let names: Vec<String> = paths
            .iter()
            .map(|path| path.file_name().unwrap_or_default().to_string_lossy().into_owned())
            .collect();
        let broken = |name: &String| name == "b.jpg";
        let outcome = |name| if broken(name) { Err("cut short".to_owned()) } else { Ok(()) };
        let outcomes = names.iter().map(outcome).collect();
        seen.borrow_mut().push(names);
        outcomes
    };
    let (_, found) = problems(&rows.to_string(), Some(&decode));
    assert_eq!(found, ["3 3 image_undecodable", "4 4 image_undecodable"]);
    assert_eq!(*seen.borrow(), [["a.jpg", "b.jpg"]]);

    // Many rows come by in windows, and a run of rows that a window ends in is known in the next.
    seen.borrow_mut().clear();
    let many: Vec<_> = (0..1000).map(|id| row(&id.to_string(), "a.jpg", &turns)).collect();
    assert_eq!(problems(&json!(many).to_string(), Some(&decode)), (1000, Vec::new()));
    assert_eq!(*seen.borrow(), [["a.jpg"]]);
}

#[test]
fn files_that_are_not_such_an_array_are_reported() {
    assert_eq!(problems("", None), (0, vec!["1  invalid_json".into()]));
    assert_eq!(problems("{}", None), (0, vec!["1  invalid_json".into()]));
    assert_eq!(problems("[] []", None), (0, vec!["1  invalid_json".into()]));
    let row = row("a", "a.jpg", &[("human", "<image>\nWhat?"), ("gpt", "That.")]);
    let cut = format!("[{row}, {{\"id\": ");
    assert_eq!(problems(&cut, None), (1, vec!["2  invalid_json".into()]));
    let missing = check(Path::new("/nowhere/at/all"), None, None).expect_err("no such file");
    assert_eq!(missing.code(), "export_unreadable");
    assert_eq!(missing.kind(), crate::ErrorKind::NotFound);
}

#[test]
fn problems_are_listed_within_bounds_and_counted_beyond() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("llava.json");
    fs_err::write(&path, json!(vec![7; 500]).to_string()).expect("a test file");
    let report = check(&path, None, None).expect("a readable file");
    assert_eq!((report.rows, report.problems.len()), (500, LISTED_PROBLEMS));
    assert_eq!((report.total(), report.counts["missing_id"]), (1_500, 500));
    assert!(!report.is_clean());
}
