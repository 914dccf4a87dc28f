use super::super::tests::{Said, folder, read_some};
use super::*;
use crate::dataset::ImageRef;
use crate::dataset::record::SourceRecord;

fn said(manifest: &[u8]) -> Said {
    let folder = folder(&[("m.jsonl", manifest)]);
    Said::of(&ManifestSource::jsonl(&folder.path().join("m.jsonl"), Path::new("photos")))
}

#[test]
fn rows_become_records() {
    let said = said(
        b"\xef\xbb\xbf{\"id\": \"a\", \"image\": \"x/a.jpg\", \"caption\": \" A cat. \"}\r\n\
          \r\n\
          {\"id\": 7, \"file_name\": \"/abs/b.png\", \"captions\": [\"a dog\", \"a big dog!\"], \"w\": {}}\n\
          {\"id\": \"c\", \"image\": \"c.jpg\", \"caption\": \"short\", \"description\": \"long\"}",
    );
    assert_eq!(said.error_code(), None);
    let record = |id: &str, image: &str, description: &str, line: u32| SourceRecord {
        id: id.into(),
        image: ImageRef::file(image),
        description: description.into(),
        origin: format!("m.jsonl:{line}"),
    };
    let expected = [
        record("a", "photos/x/a.jpg", "A cat.", 1),
        record("7", "/abs/b.png", "a dog. a big dog!", 3),
        record("c", "photos/c.jpg", "long", 4),
    ];
    assert_eq!(said.records(), expected.iter().collect::<Vec<_>>());
}

#[test]
fn bad_rows_are_named_and_passed_over() {
    let said = said(
        br#"{"id": 1, "image": "a.jpg", "caption": "good"}
{"id": 2, "image": "a.jpg", "caption": }
not json
["a", "b.jpg", "c"]
{"image": "a.jpg", "caption": "x"}
{"id": 4, "caption": "x"}
{"id": 5, "image": "a.jpg"}
{"id": 6, "image": "a.jpg", "caption": " "}
{"id": 1, "image": "b.jpg", "caption": "again"}
{"id": 1.5, "image": "b.jpg", "caption": "x"}
{"id": "", "image": "b.jpg", "caption": "x"}
{"id": "a\u0000b", "image": "b.jpg", "caption": "x"}
{"id": 7, "image": "b.jpg", "caption": 3}
{"id": 8, "image": "b.jpg", "captions": ["x", null]}
{"id": 9, "image": "http://example.org/b.jpg", "caption": "x"}
{"id": 10, "image": "b\u0000.jpg", "caption": "x"}
{"id": 11, "image": "b.jpg", "caption": "x\u0007"}
{"id": 12, "id": 13, "image": "b.jpg", "caption": "x"}
{"id": 14, "image": "last.jpg", "caption": "good"}
"#,
    );
    assert_eq!(said.records().iter().map(|r| &r.id).collect::<Vec<_>>(), ["1", "14"]);
    insta::assert_snapshot!(
        said.codes().join("\n"),
        @r"
    m.jsonl:2 invalid_json
    m.jsonl:3 invalid_json
    m.jsonl:4 invalid_json
    m.jsonl:5 missing_id
    4 missing_image
    5 missing_description
    6 empty_description
    1 duplicate_id
    m.jsonl:10 invalid_id
    m.jsonl:11 empty_id
    m.jsonl:12 invalid_id
    7 invalid_field
    8 invalid_field
    9 image_is_url
    10 invalid_image_name
    11 invalid_description
    m.jsonl:18 invalid_json
    "
    );
    assert_eq!(said.reason("missing_id"), "m.jsonl:5: no field `id`");
    assert_eq!(said.reason("missing_image"), "m.jsonl:6: no field `image`");
    let duplicate = "m.jsonl:9: line 9 has the id `1` that line 1 already has";
    assert_eq!(said.reason("duplicate_id"), duplicate);
}

#[test]
fn a_line_that_is_not_json_names_file_line_and_column() {
    let said = said(b"{\"id\": 1, \"image\": \"a\", \"caption\": \"b\"}\n{\"id\": 2,, }\n");
    let reason = said.reason("invalid_json");
    assert_eq!(reason, "m.jsonl:2:10: not valid JSON: key must be a string");
}

#[test]
fn bytes_that_are_not_utf8_are_refused_by_line() {
    let said = said(b"{\"id\": 1, \"image\": \"a\", \"caption\": \"b\"}\n\n{\"id\": \"\xff\"}\n");
    assert_eq!(said.reason("invalid_utf8"), "m.jsonl:3: not UTF-8 from byte 9 on");
    assert_eq!(said.records().len(), 1);
}

#[test]
fn a_line_beyond_the_limit_is_passed_over() {
    let mut manifest = br#"{"id": 1, "image": "a", "caption": ""#.to_vec();
    manifest.resize(manifest.len() + MAX_LINE_BYTES, b'x');
    manifest.extend_from_slice(b"\"}\n{\"id\": 2, \"image\": \"a\", \"caption\": \"b\"}\n");
    let said = said(&manifest);
    assert_eq!(said.codes(), ["m.jsonl:1 line_too_long"]);
    assert_eq!(said.records()[0].origin, "m.jsonl:2");
}

#[test]
fn manifests_without_use_are_errors() {
    assert_eq!(said(b"").error_code(), Some("source_empty"));
    assert_eq!(said(b"\n \r\n").error_code(), Some("source_empty"));
    let said = said(b"[\n{\n");
    assert_eq!(said.codes().len(), 2);
    let error = said.error.expect("nothing was of use").to_string();
    assert!(error.contains("m.jsonl has no usable item: 2 rejected"), "{error}");
}

#[test]
fn reading_stops_when_told() {
    let folder = folder(&[("m.jsonl", b"x\ny\nz\n")]);
    let source = ManifestSource::jsonl(&folder.path().join("m.jsonl"), Path::new(""));
    assert_eq!(read_some(&source, 2), 2);
}

#[test]
fn long_manifests_stream_in_order() {
    use std::fmt::Write;
    let mut manifest = String::new();
    for row in 0..20_000 {
        writeln!(manifest, r#"{{"id": {row}, "image": "{row}.jpg", "caption": "photo {row}"}}"#)
            .expect("writing to memory");
    }
    let said = said(manifest.as_bytes());
    let records = said.records();
    assert_eq!(records.len(), 20_000);
    assert!(records.iter().enumerate().all(|(row, record)| record.id == row.to_string()));
}

proptest::proptest! {
    /// Whatever the bytes: no panic, and every line that is not blank gives one event.
    #[test]
    fn any_bytes_are_read(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400)) {
        let lines = bytes.split(|byte| *byte == b'\n');
        let blank = |line: &&[u8]| std::str::from_utf8(line).is_ok_and(|text| {
            text.strip_prefix('\u{feff}').unwrap_or(text).trim().is_empty()
        });
        let expected = lines.filter(|line| !blank(line)).count();
        proptest::prop_assert_eq!(said(&bytes).events.len(), expected);
    }
}
