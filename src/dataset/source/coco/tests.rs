use super::super::tests::{Said, folder, read_some};
use super::*;
use crate::base::failure::Failure;

fn said(json: &[u8]) -> Said {
    let folder = folder(&[("c.json", json)]);
    Said::of(&CocoSource::new(&folder.path().join("c.json"), Path::new("photos")))
}

#[test]
fn captions_join_in_the_order_of_their_ids() {
    let said = said(
        b"\xef\xbb\xbf{\"info\": {\"deep\": [[1]]}, \"annotations\": [
            {\"image_id\": 5, \"id\": 20, \"caption\": \"second \"},
            {\"image_id\": 3, \"id\": 1, \"caption\": \"of three.\"},
            {\"image_id\": 5, \"caption\": \"without id\"},
            {\"image_id\": 5, \"id\": 10, \"caption\": \"A  first\\nline\"}],
          \"images\": [
            {\"id\": 5, \"file_name\": \"b/5.jpg\", \"height\": 3},
            {\"id\": \"3\", \"file_name\": \"3.jpg\"}]}",
    );
    assert_eq!(said.error_code(), None);
    let record = |id: &str, image: &str, description: &str| SourceRecord {
        id: id.into(),
        image: ImageRef::file(image),
        description: description.into(),
        origin: format!("c.json: image {id}"),
    };
    let expected = [
        record("5", "photos/b/5.jpg", "A first line. second. without id."),
        record("3", "photos/3.jpg", "of three."),
    ];
    assert_eq!(said.records(), expected.iter().collect::<Vec<_>>());
    assert!(said.codes().is_empty());
}

#[test]
fn what_does_not_match_is_listed() {
    let said = said(
        br#"{"images": [
            {"id": 1, "file_name": "1.jpg"},
            {"id": 2, "file_name": "2.jpg"},
            {"id": 1, "file_name": "again.jpg"},
            {"file_name": "no-id.jpg"},
            {"id": 4},
            {"id": 5, "file_name": "blank.jpg"}],
          "annotations": [
            {"image_id": 1, "id": 1, "caption": "good"},
            {"image_id": 77, "id": 2, "caption": "lost"},
            {"image_id": 77, "id": 3, "caption": "lost too"},
            {"image_id": 4, "id": 4, "caption": "its image is refused already"},
            {"image_id": 5, "id": 5, "caption": "  "},
            {"image_id": 1, "id": 6},
            {"image_id": 1, "id": 7, "caption": null},
            {"id": 8, "caption": "whose?"}]}"#,
    );
    assert_eq!(said.records().iter().map(|r| &r.id).collect::<Vec<_>>(), ["1"]);
    let expected = [
        "1 duplicate_id",
        "c.json: images[3] missing_id",
        "4 missing_image",
        "c.json: annotations[7] missing_id",
        "c.json missing_caption",
        "2 missing_description",
        "5 missing_description",
        "77 missing_image",
    ];
    assert_eq!(said.codes(), expected);
    let duplicate = "c.json: images[2]: again.jpg has the id `1` that 1.jpg already has";
    assert_eq!(said.reason("duplicate_id"), duplicate);
    let captionless = "c.json: 2 annotations have no caption, first annotations[5]";
    assert_eq!(said.reason("missing_caption"), captionless);
}

#[test]
fn captions_without_an_image_are_counted() {
    let said = said(
        br#"{"images": [{"id": 1, "file_name": "1.jpg"}],
          "annotations": [{"image_id": 1, "caption": "x"}, {"image_id": 9, "caption": "y"},
                          {"image_id": 9, "caption": "z"}]}"#,
    );
    let reason = said.reason("missing_image");
    assert_eq!(reason, "c.json: 2 captions for image 9, not among `images`");
}

#[test]
fn other_files_are_refused_as_a_whole() {
    let code = |json: &[u8]| said(json).error_code();
    assert_eq!(code(b""), Some("source_invalid_json"));
    assert_eq!(code(b"[1, 2]"), Some("source_not_coco"));
    assert_eq!(code(b"{}"), Some("source_not_coco"));
    assert_eq!(code(br#"{"images": []}"#), Some("source_not_coco"));
    assert_eq!(code(br#"{"images": 3, "annotations": []}"#), Some("source_not_coco"));
    assert_eq!(code(br#"{"images": [], "annotations": []}"#), Some("source_empty"));
    assert_eq!(code(br#"{"images": [7], "annotations": []}"#), Some("source_not_coco"));
    let bare = br#"{"images": [{"id": 1, "file_name": "a"}], "annotations": []}"#;
    assert_eq!(code(bare), Some("source_no_usable_item"));
    let instances = br#"{"images": [{"id": 1, "file_name": "a"}],
        "annotations": [{"image_id": 1, "segmentation": [[1, 2]], "id": 3}]}"#;
    let said = said(instances);
    let error = said.error.expect("no captions").to_string();
    assert!(error.contains("instances or keypoints"), "{error}");
}

#[test]
fn broken_json_names_line_and_column() {
    let said = said(b"{\"images\": [],\n \"annotations\": [{]}");
    let error = said.error.expect("not JSON");
    assert_eq!(error.code(), "source_invalid_json");
    assert!(error.to_string().contains("c.json:2:19: not valid JSON: key must"), "{error}");
}

#[test]
fn reading_stops_when_told() {
    let json = br#"{"images": [{"file_name": "a"}, {"id": 1, "file_name": "a"}],
        "annotations": [{"image_id": 1, "caption": "x"}, {"caption": "y"}]}"#;
    let folder = folder(&[("c.json", json)]);
    let source = CocoSource::new(&folder.path().join("c.json"), Path::new(""));
    for count in 1..=3 {
        assert_eq!(read_some(&source, count), count);
    }
}

#[test]
fn the_published_captions_are_read() {
    let path = Path::new("/work/shared/data/coco-train80/captions_train2017.json");
    if !path.exists() {
        eprintln!("SKIPPED: {} is not on this machine", path.display());
        return;
    }
    let source = super::super::open(path, &Default::default()).expect("a COCO file");
    let said = Said::of(source.as_ref());
    assert_eq!((said.records().len(), said.codes().len()), (80, 0));
    assert!(said.records().iter().all(|record| record.image.path().is_some_and(Path::is_file)));
    let first = said.records().into_iter().find(|r| r.id == "790").expect("a known image");
    assert_eq!(
        first.description,
        "a family is sitting down at a table to have cake. Group around a table waiting for a \
         birthday cake to be served. adults at dining room table with birthday cake. Four persons \
         sitting on dining table for cake and drinks. A group of people are gathered around a \
         table with cake on it."
    );
}
