use super::super::tests::{Said, folder, read_some};
use super::*;
use crate::dataset::ImageRef;
use crate::dataset::record::SourceRecord;

fn said(manifest: &[u8]) -> Said {
    let folder = folder(&[("m.jsonl", manifest)]);
    Said::of(&ManifestSource::new(&folder.path().join("m.jsonl"), Path::new("photos"), &LAYOUT))
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
        descriptions: Vec::new(),
        origin: format!("m.jsonl:{line}"),
        license: None,
    };
    let mut expected = [
        record("a", "photos/x/a.jpg", "A cat.", 1),
        record("7", "/abs/b.png", "a dog. a big dog!", 3),
        record("c", "photos/c.jpg", "long", 4),
    ];
    expected[1].descriptions = ["a dog", "a big dog!"].map(String::from).into();
    assert_eq!(said.records(), expected.iter().collect::<Vec<_>>());
}

#[test]
fn bad_rows_are_named_and_passed_over() {
    let said = said(
        br#"{"id": 1, "image": "a.jpg", "caption": "good"}
{"id": 2, "image": "a.jpg", "caption": }
not json
["a", "b.jpg", "c"]
{"caption": "x"}
{"id": 4, "caption": "x"}
{"id": 5, "image": "a.jpg"}
{"id": 6, "image": "a.jpg", "caption": " "}
{"id": 1, "image": "b.jpg", "caption": "again"}
{"id": 1.5, "image": "b.jpg", "caption": "x"}
{"id": "", "image": "b.jpg", "caption": "x"}
{"id": "a\u0000b", "image": "b.jpg", "caption": "x"}
{"id": 7, "image": "b.jpg", "caption": 3}
{"id": 8, "image": "b.jpg", "captions": ["x", 3]}
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
    m.jsonl:5 missing_image
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
    let reason = said.reason("missing_description");
    assert!(reason.starts_with("m.jsonl:7: no field `caption`"), "{reason}");
    assert!(reason.ends_with("it has `id`, `image`"), "{reason}");
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
    let reason = said.reason("invalid_utf8");
    assert!(reason.starts_with("m.jsonl:3: not UTF-8 from byte 9 on (0xFF, ÿ in"), "{reason}");
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
    let said = said(b"x\n{\n");
    assert_eq!(said.codes().len(), 2);
    let error = said.error.expect("nothing was of use").to_string();
    assert!(error.contains("m.jsonl has no usable item: 2 rejected, the first"), "{error}");
}

#[test]
fn reading_stops_when_told() {
    let folder = folder(&[("m.jsonl", b"x\ny\nz\n")]);
    let source = ManifestSource::new(&folder.path().join("m.jsonl"), Path::new(""), &LAYOUT);
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

/// The same rows as a file of one array, pretty-printed, in UTF-16 and so on.
#[test]
fn rows_are_read_however_they_are_laid_out() {
    let rows = [
        r#"{"id": "a", "image": "a.jpg", "caption": "Käse {1}"}"#,
        r#"{"id": 2.0, "image": "b.jpg", "text": "two", "width": NaN}"#,
        r#"{"file_name": "sub/c.jpg", "TEXT": "three", "id": null}"#,
    ];
    let utf16 = |text: &str| -> Vec<u8> {
        let marked = format!("\u{feff}{text}");
        marked.encode_utf16().flat_map(u16::to_le_bytes).collect()
    };
    let lines = rows.join("\n");
    let files: [Vec<u8>; 8] = [
        lines.clone().into(),
        lines.replace('\n', "\r").into(),
        format!("[{}]", rows.join(",")).into(),
        format!("[\n  {}\n]\n", rows.join(",\n  ")).into(),
        rows.concat().into(),
        lines.replace(", ", ",\n  ").replace("{\"", "{\n  \"").into(),
        utf16(&lines),
        utf16(&format!("[{}]", rows.join(",\r\n"))),
    ];
    for (place, file) in files.iter().enumerate() {
        let said = said(file);
        let seen: Vec<_> = said
            .records()
            .iter()
            .map(|r| format!("{} {} {}", r.id, r.image, r.description))
            .collect();
        let expected =
            ["a photos/a.jpg Käse {1}", "2 photos/b.jpg two", "sub/c photos/sub/c.jpg three"];
        assert_eq!(seen, expected, "layout {place}: {:?}", said.codes());
    }
}

#[test]
fn rows_without_an_id_get_one() {
    let said = said(
        br#"{"image": "a.jpg", "caption": "one"}
{"image": "a.jpg", "caption": "two"}
{"image": "sub/a.jpg", "caption": "three"}
{"image": "a.png", "captions": ["four", "five"]}
{"image": "a.jpg"}
{"id": "a", "image": "b.jpg", "caption": "taken"}
{"image": "/elsewhere/c.jpg", "caption": "six"}
"#,
    );
    let seen: Vec<_> =
        said.records().iter().map(|r| format!("{} {:?}", r.id, r.descriptions)).collect();
    let expected = ["a [\"one\", \"two\"]", "sub/a []", "a#2 [\"four\", \"five\"]", "c []"];
    assert_eq!(seen, expected);
    assert_eq!(said.codes(), ["a#3 missing_description", "a duplicate_id"]);
    assert_eq!(said.records()[0].origin, "m.jsonl:1");
    assert_eq!(said.records()[0].description, "one. two.");
}

#[test]
fn rows_on_one_line_are_told_apart() {
    let said = said(
        br#"[{"id": 1, "image": "a.jpg", "caption": "x"}, {"id": 1, "image": "a.jpg", "caption": "y"},
 {"id": 2, "image": "b.jpg", "caption": "z"}, {"id": 3}]"#,
    );
    assert_eq!(
        said.reason("duplicate_id"),
        "m.jsonl:1:47: line 1:47 has the id `1` that line 1:2 already has"
    );
    assert!(said.reason("missing_image").starts_with("m.jsonl:2:47: "));
    assert_eq!(said.records()[1].origin, "m.jsonl:2");
}

#[test]
fn a_json_file_is_told_by_what_it_holds() {
    let kind = |json: &str| {
        let folder = folder(&[("m.json", json.as_bytes())]);
        let opened = super::super::open(&folder.path().join("m.json"), &Default::default());
        opened.expect("a source").kind()
    };
    let row = r#"{"id": "a", "image": "a.jpg", "caption": "{:\\\""}"#;
    assert_eq!(kind(&format!(" [{row}]")), "jsonl");
    assert_eq!(kind(&format!("{row}\n{row}")), "jsonl");
    assert_eq!(kind(r#"{"messages": [], "images": ["a.jpg"]}"#), "jsonl");
    assert_eq!(kind(r#"{"info": {"description": "x"}, "images": [{"caption": 1}]}"#), "coco");
    assert_eq!(kind(r#"{"annotations": [], "caption": "x"}"#), "coco");
    assert_eq!(kind(""), "coco");
}

#[test]
fn files_that_are_no_text_are_named() {
    let error = |bytes: &[u8]| said(bytes).error.expect("no text").to_string();
    assert!(error(b"\x1f\x8b\x08\x00").contains("gzip"));
    assert!(error(b"PAR1xxxx").contains("Parquet"));
    assert_eq!(said(b"PK\x03\x04").error_code(), Some("source_not_text"));
}

proptest::proptest! {
    /// Whatever the bytes: no panic, and the same events each time.
    #[test]
    fn any_bytes_are_read(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400)) {
        let (first, second) = (said(&bytes), said(&bytes));
        let refused = first.error_code().is_some();
        proptest::prop_assert!(refused || !first.events.is_empty());
        proptest::prop_assert_eq!(first.events, second.events);
    }
}
