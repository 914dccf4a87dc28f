use super::super::SourceEvent;
use super::super::tests::{Said, folder, read_some};
use super::*;
use crate::base::failure::Failure;
use crate::dataset::ImageRef;

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
        descriptions: Vec::new(),
        origin: format!("c.json: image {id}"),
        license: None,
    };
    let mut expected = [
        record("5", "photos/b/5.jpg", "A first line. second. without id."),
        record("3", "photos/3.jpg", "of three."),
    ];
    expected[0].descriptions = ["A first line", "second", "without id"].map(String::from).into();
    assert_eq!(said.records(), expected.iter().collect::<Vec<_>>());
    assert!(said.codes().is_empty());
}

#[test]
fn a_number_stands_for_the_licence_of_that_number() {
    let said = said(
        br#"{"images": [
            {"id": 1, "file_name": "1.jpg", "license": 4},
            {"id": 2, "file_name": "2.jpg", "license": "4"},
            {"id": 3, "file_name": "3.jpg", "license": 9},
            {"id": 4, "file_name": "4.jpg", "license": "CC0"},
            {"id": 5, "file_name": "5.jpg"}],
          "annotations": [
            {"image_id": 1, "id": 1, "caption": "one"}, {"image_id": 2, "id": 2, "caption": "two"},
            {"image_id": 3, "id": 3, "caption": "three"}, {"image_id": 4, "id": 4, "caption": "four"},
            {"image_id": 5, "id": 5, "caption": "five"}],
          "licenses": [7, {"id": 9}, {"id": 4, "url": "http://x/by/2.0", "name": "Attribution"}]}"#,
    );
    let licenses: Vec<_> = said.records().iter().map(|one| one.license.as_deref()).collect();
    let attribution = Some("Attribution");
    assert_eq!(licenses, [attribution, attribution, None, Some("CC0"), None]);
    assert_eq!(said.codes(), [""; 0]);
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
        "4 missing_image",
        "c.json: annotations[7] missing_id",
        "c.json missing_caption",
        "2 missing_description",
        "no-id missing_description",
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
    assert_eq!(code(br#"{"images": [7], "annotations": []}"#), Some("source_no_usable_item"));
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
fn what_python_and_pandas_write_is_read() {
    let said = said(
        br#"{"images": [
            {"id": 0, "file_name": "p0.jpg", "date_captured": NaN},
            {"id": 1.0, "file_name": "p1.jpg", "score": -Infinity},
            null,
            {"file_name": "000000000139.jpg"}],
          "annotations": [
            {"id": 1, "image_id": 0.0, "caption": "NaN is no number."},
            {"id": 2, "image_id": 1, "caption": "one"},
            {"id": 3, "image_id": 139, "caption": "its file's number"}, 7]}"#,
    );
    let seen: Vec<_> =
        said.records().iter().map(|r| format!("{} {}", r.id, r.description)).collect();
    assert_eq!(seen, ["0 NaN is no number.", "1 one.", "000000000139 its file's number."]);
    assert_eq!(
        said.codes(),
        ["c.json: images[2] invalid_field", "c.json: annotations[3] invalid_field"]
    );
}

#[test]
fn ids_that_differ_in_leading_zeros_alone_are_joined_where_that_is_plain() {
    let said = said(
        br#"{"images": [
            {"id": "000000000007", "file_name": "a.jpg"},
            {"id": "08", "file_name": "b.jpg"}, {"id": "8", "file_name": "c.jpg"},
            {"id": 99, "file_name": "COCO_000000000139.jpg"}],
          "annotations": [
            {"id": 1, "image_id": 7, "caption": "seven"},
            {"id": 2, "image_id": 8, "caption": "eight"},
            {"id": 3, "image_id": "008", "caption": "which?"},
            {"id": 4, "image_id": "COCO_000000000139", "caption": "a name"}]}"#,
    );
    let seen: Vec<_> =
        said.records().iter().map(|r| format!("{} {}", r.id, r.description)).collect();
    assert_eq!(seen, ["000000000007 seven.", "8 eight."]);
    let expected = [
        "08 missing_description",
        "99 missing_description",
        "008 missing_image",
        "COCO_000000000139 missing_image",
    ];
    assert_eq!(said.codes(), expected);
    let SourceEvent::Rejected(last) = said.events.last().expect("some") else { panic!("refused") };
    assert!(
        last.reason.ends_with("the name of COCO_000000000139.jpg, whose id is 99"),
        "{}",
        last.reason
    );
}

#[test]
fn captions_may_stand_in_the_images() {
    let said = said(
        br#"{"dataset": "coco", "images": [{"cocoid": 3, "filename": "x_3.jpg",
            "sentences": [{"raw": "a cat", "tokens": []}, {"raw": "a dog"}]}]}"#,
    );
    let record = said.records()[0];
    assert_eq!((&*record.id, &*record.description), ("x_3", "a cat. a dog."));
    assert_eq!(record.descriptions, ["a cat", "a dog"]);
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_read(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
        let mut json = br#"{"images": ["#.to_vec();
        json.extend(bytes);
        proptest::prop_assert_eq!(said(&json).events, said(&json).events);
    }
}

#[test]
fn reading_stops_when_told() {
    let json = br#"{"images": [{"id": []}, {"id": 1, "file_name": "a"}],
        "annotations": [{"image_id": 1, "caption": "x"}, {"caption": "y"}]}"#;
    let folder = folder(&[("c.json", json)]);
    let source = CocoSource::new(&folder.path().join("c.json"), Path::new(""));
    for count in 1..=3 {
        assert_eq!(read_some(&source, count), count);
    }
}

#[test]
fn the_published_captions_are_read() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../shared/data/coco-train80/captions_train2017.json");
    if !path.exists() {
        eprintln!("SKIPPED: {} is not on this machine", path.display());
        return;
    }
    let source = super::super::open(&path, &Default::default()).expect("a COCO file");
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
