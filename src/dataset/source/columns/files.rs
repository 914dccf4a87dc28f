//! Parquet and Arrow files, read as sources.

use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{BinaryBuilder, ListBuilder, StringBuilder};
use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray, StructArray};
use arrow_ipc::writer::{FileWriter, StreamWriter};
use arrow_schema::{DataType, Field};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;

use crate::base::failure::Failure;
use crate::dataset::photos::Photos;
use crate::dataset::record::SourceRecord;
use crate::dataset::source::tests::{Said, folder};
use crate::dataset::source::{FieldNames, SourceError, SourceOptions, open};
use crate::image::{ImageError, ImageLimits};
use crate::sandbox::FileAccess;

/// A photo's bytes and its name.
type Image<'a> = (Option<&'a [u8]>, Option<&'a str>);

fn images(images: &[Image<'_>]) -> ArrayRef {
    let bytes: BinaryBuilder = images.iter().fold(BinaryBuilder::new(), |mut all, (bytes, _)| {
        all.append_option(*bytes);
        all
    });
    let mut bytes = bytes;
    let paths: StringArray = images.iter().map(|(_, path)| *path).collect();
    let field = |name: &str, kind| Arc::new(Field::new(name, kind, true));
    Arc::new(StructArray::from(vec![
        (field("bytes", DataType::Binary), Arc::new(bytes.finish()) as ArrayRef),
        (field("path", DataType::Utf8), Arc::new(paths) as ArrayRef),
    ]))
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true)))
        .expect("equal lengths")
}

fn texts(texts: &[Option<&str>]) -> ArrayRef {
    Arc::new(texts.iter().copied().collect::<StringArray>())
}

fn parquet(batch: &RecordBatch) -> Vec<u8> {
    let groups = WriterProperties::builder().set_max_row_group_row_count(Some(2)).build();
    let mut bytes = Vec::new();
    let mut writer =
        ArrowWriter::try_new(&mut bytes, batch.schema(), Some(groups)).expect("writer");
    writer.write(batch).expect("written");
    writer.close().expect("closed");
    bytes
}

/// In two batches.
fn stream(batch: &RecordBatch) -> Vec<u8> {
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).expect("a writer");
    writer.write(&batch.slice(0, 1)).expect("written");
    writer.write(&batch.slice(1, batch.num_rows() - 1)).expect("written");
    writer.into_inner().expect("closed")
}

fn file(batch: &RecordBatch) -> Vec<u8> {
    let mut writer = FileWriter::try_new(Vec::new(), &batch.schema()).expect("a writer");
    writer.write(batch).expect("written");
    writer.into_inner().expect("closed")
}

fn said(path: &Path) -> Said {
    Said::of(&*open(path, &SourceOptions::default()).expect("a source"))
}

fn read(record: &SourceRecord) -> Result<Vec<u8>, ImageError> {
    let photo = crate::dataset::ImageRef::from_text(&record.image.to_text());
    FileAccess::Anywhere.read(&photo, &ImageLimits::default())
}

/// `id: description (place, bytes)` of each record.
fn told(said: &Said) -> Vec<String> {
    let told = |record: &&SourceRecord| {
        let bytes = read(record).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let bytes = bytes.unwrap_or_else(|error| error.to_string());
        format!("{}: {} ({bytes})", record.id, record.description)
    };
    said.records().iter().map(told).collect()
}

/// Of one row, written by pyarrow 26.
const BROTLI: &[u8] = include_bytes!("../parquet/brotli.parquet");
const LZ4: &[u8] = include_bytes!("../parquet/lz4.parquet");
const ZSTD: &[u8] = include_bytes!("../parquet/zstd.parquet");

#[test]
fn what_other_programs_compress_with_is_read_or_named() {
    for packed in [LZ4, ZSTD] {
        let folder = folder(&[("p.parquet", packed)]);
        let said = said(&folder.path().join("p.parquet"));
        assert!(said.error.is_none(), "{:?}", said.error);
        let [told] = &told(&said)[..] else { panic!("one row, not {:?}", told(&said)) };
        assert!(told.ends_with(": A dog. (a photo)"), "{told}");
    }
    let folder = folder(&[("b.parquet", BROTLI)]);
    let error = said(&folder.path().join("b.parquet")).error.expect("it cannot be read");
    assert_eq!(error.code(), "source_damaged");
    let told = error.to_string();
    assert!(told.contains("compressed with brotli,") && told.contains("with Snappy"), "{told}");
}

#[test]
fn rows_that_hold_photos_are_read_in_place() {
    let rows = batch(vec![
        ("width", Arc::new(Int64Array::from(vec![1, 2, 3, 4, 5])) as ArrayRef),
        (
            "image",
            images(&[
                (Some(b"first"), Some("a.jpg")),
                (Some(b"second"), Some("sub/b.jpg")),
                (Some(b"third"), None),
                (Some(b"fourth"), Some("a.jpg")),
                (Some(b"fifth, at last"), Some("a.jpg")),
            ]),
        ),
        ("text", texts(&[Some("One."), Some("Two."), Some("Three."), None, Some("Five.")])),
    ]);
    let files =
        [("d.parquet", &*parquet(&rows)), ("d.arrow", &*stream(&rows)), ("e.arrow", &*file(&rows))];
    let folder = folder(&files);
    for (name, _) in files {
        let said = said(&folder.path().join(name));
        let stem = &name[..1];
        let third = format!("{stem}/3: Three. (third)");
        let expected = ["a: One. (first)", "sub/b: Two. (second)", &third];
        let told = told(&said);
        assert!(said.error.is_none() && told.len() == 4, "{name}: {:?} {told:?}", said.error);
        assert_eq!(told[..3], expected, "{name}: {:?}", said.codes());
        assert_eq!(told[3], "a#3: Five. (fifth, at last)", "{name}");
        assert_eq!(said.codes(), ["a#2 missing_description"], "{name}");
        let records = said.records();
        assert_eq!(records[1].origin, format!("{name}:2"));
        let shown = records[1].image.export_name(Some(folder.path()));
        assert_eq!(shown, format!("{name}/b.jpg"));
        // Backwards, too.
        for (record, bytes) in records.iter().rev().zip(["fifth, at last", "third", "second"]) {
            assert_eq!(read(record).expect("bytes"), bytes.as_bytes(), "{name}");
        }
    }
}

#[test]
fn a_photo_that_lies_beside_is_read_from_its_file() {
    let mut captions = ListBuilder::new(StringBuilder::new());
    captions.append_value([Some("A dog."), Some("A hound")]);
    captions.append_value([Some("A cat.")]);
    let rows = batch(vec![
        ("id", Arc::new(Int64Array::from(vec![7, 8])) as ArrayRef),
        ("image", images(&[(None, Some("a.jpg")), (None, Some("b.jpg"))])),
        ("captions", Arc::new(captions.finish())),
    ]);
    let names = batch(vec![
        ("file_name", texts(&[Some("a.jpg"), Some("b.jpg")])),
        ("caption", texts(&[Some("A dog."), Some("A cat.")])),
    ]);
    let folder = folder(&[
        ("d.parquet", &parquet(&rows)),
        ("d.arrow", &stream(&rows)),
        ("n.parquet", &parquet(&names)),
        ("a.jpg", b"dog"),
        ("b.jpg", b"cat"),
    ]);
    for name in ["d.parquet", "d.arrow"] {
        let said = said(&folder.path().join(name));
        assert_eq!(told(&said), ["7: A dog. A hound. (dog)", "8: A cat. (cat)"], "{name}");
        assert_eq!(said.records()[0].descriptions, ["A dog.", "A hound"]);
    }
    let said = said(&folder.path().join("n.parquet"));
    assert_eq!(told(&said), ["a: A dog. (dog)", "b: A cat. (cat)"]);
}

#[test]
fn a_dataset_on_disk_is_read_as_it_says() {
    let rows = |name| {
        batch(vec![
            ("image", images(&[(Some(b"x"), Some(name)), (Some(b"y"), None)])),
            ("caption", texts(&[Some("One."), Some("Two.")])),
        ])
    };
    let state = br#"{"_data_files": [{"filename": "b.arrow"}, {"filename": "a.arrow"}]}"#;
    let (a, b) = (stream(&rows("a.jpg")), stream(&rows("b.jpg")));
    let folder = folder(&[
        ("one/state.json", state),
        ("one/dataset_info.json", b"{}"),
        ("one/a.arrow", &a),
        ("one/b.arrow", &b),
        ("one/cache-1.arrow", b"nothing"),
        ("two/dataset_dict.json", br#"{"splits": ["train", "test", "../one"]}"#),
        ("two/train/state.json", br#"{"_data_files": [{"filename": "a.arrow"}]}"#),
        ("two/train/a.arrow", &a),
        ("two/test/state.json", br#"{"_data_files": [{"filename": "b.arrow"}]}"#),
        ("two/test/b.arrow", &b),
        (
            "chosen/state.json",
            br#"{"_data_files": [], "_indices_data_files": [{"filename": "i"}]}"#,
        ),
        ("chosen/a.arrow", &a),
        ("hub/README.md", b""),
        ("hub/data/train-0.parquet", &parquet(&rows("p.jpg"))),
    ]);
    let ids = |name: &str| {
        let said = said(&folder.path().join(name));
        assert_eq!(said.codes().len(), 0, "{name}: {:?}", said.codes());
        said.records().iter().map(|record| record.id.clone()).collect::<Vec<_>>()
    };
    assert_eq!(ids("one"), ["b", "b/2", "a", "a/2"]);
    assert_eq!(ids("two"), ["a", "a/2", "b", "b/2"]);
    assert_eq!(ids("hub"), ["p", "train-0/2"]);
    let error = open(&folder.path().join("chosen"), &SourceOptions::default()).err();
    let error = error.expect("rows chosen by numbers").to_string();
    assert!(error.contains("flatten_indices()"), "{error}");
}

#[test]
fn what_a_file_lacks_is_said_and_other_files_go_on() {
    let image = || images(&[(Some(b"x"), Some("a.jpg"))]);
    let good = batch(vec![("image", image()), ("caption", texts(&[Some("Good.")]))]);
    let number = batch(vec![
        ("image", Arc::new(Int64Array::from(vec![1])) as ArrayRef),
        ("caption", texts(&[Some("A number.")])),
    ]);
    let inner: Arc<Field> = Arc::new(Field::new("image", image().data_type().clone(), true));
    let nested = Arc::new(StructArray::from(vec![(inner, image())]));
    let nested = batch(vec![("image", nested as ArrayRef), ("caption", texts(&[Some("Deep.")]))]);
    let caption = batch(vec![
        ("image", image()),
        ("caption", Arc::new(Int64Array::from(vec![5])) as ArrayRef),
    ]);
    let whole = stream(&good);
    let folder = folder(&[
        ("s/0.parquet", &parquet(&number)),
        ("s/1.parquet", &parquet(&nested)),
        ("s/2.parquet", b"PAR1 and so on"),
        ("s/3.parquet", &parquet(&caption)),
        ("s/4.parquet", &parquet(&good)),
        ("t/0.arrow", &whole[..whole.len() / 2]),
        ("t/1.arrow", b"not arrow at all"),
        ("t/2.arrow", &whole),
    ]);
    let parquet = said(&folder.path().join("s"));
    assert_eq!(told(&parquet), ["a: Good. (x)"]);
    let expected = [
        "0.parquet source_no_columns",
        "1.parquet source_no_columns",
        "2.parquet source_damaged",
        "3.parquet:1 invalid_field",
    ];
    assert_eq!(parquet.codes(), expected);
    assert!(
        parquet.reason("invalid_field").contains("3.parquet:1: field `caption` holds a number")
    );
    let arrow = said(&folder.path().join("t"));
    assert_eq!(told(&arrow), ["a: Good. (x)"]);
    assert_eq!(arrow.codes(), ["0.arrow source_damaged", "1.arrow source_damaged"]);
    let alone = said(&folder.path().join("s/0.parquet"));
    let error = alone.error.as_ref().map(SourceError::to_string).unwrap_or_default();
    assert!(error.contains("column `image` holds Int64; expected a photo's bytes"), "{error}");
}

#[test]
fn rows_that_img2dataset_wrote_find_their_photos_in_the_tar_or_folder_beside() {
    let rows = batch(vec![
        ("url", texts(&[Some("http://a/1"), Some("http://a/2"), Some("http://a/3")])),
        ("caption", texts(&[Some("One."), Some("Two."), Some("Three.")])),
        ("key", texts(&[Some("000000001"), Some("000000002"), Some("000000003")])),
        ("status", texts(&[Some("success"), Some("failed_to_download"), Some("success")])),
        ("error_message", texts(&[None, Some("HTTP Error 404"), None])),
    ]);
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(3);
    tar.append_data(&mut header, "000000001.jpg", &b"one"[..]).expect("a member");
    let tar = tar.into_inner().expect("a tar");
    let parquet = parquet(&rows);
    let folder = folder(&[
        ("t/00000.parquet", &parquet),
        ("t/00000.tar", &tar),
        ("f/00000.parquet", &parquet),
        ("f/00000_stats.json", b"{}"),
        ("f/00000/000000001.jpg", b"one"),
        ("f/00000/000000001.txt", b"One."),
    ]);
    for name in ["t", "f"] {
        let said = said(&folder.path().join(name).join("00000.parquet"));
        assert_eq!(told(&said), ["000000001: One. (one)"], "{name}");
        let codes = ["00000.parquet:2 missing_image", "00000.parquet:3 missing_image"];
        assert_eq!(said.codes(), codes, "{name}");
    }
    // As files, it is a folder of photos; its counts are no text without a photo.
    let photos = said(&folder.path().join("f"));
    assert_eq!((told(&photos).len(), photos.codes().len()), (1, 0), "{:?}", photos.codes());
}

#[test]
fn any_column_may_be_named() {
    let rows = batch(vec![
        ("key", texts(&[Some("k1")])),
        ("left", images(&[(Some(b"left"), None)])),
        ("right", images(&[(Some(b"right"), None)])),
        ("says", texts(&[Some("Something.")])),
    ]);
    let folder = folder(&[("d.parquet", &parquet(&rows))]);
    let name = |name: &str| Some(name.to_owned());
    let fields = FieldNames {
        id: name("key"),
        image: name("right"),
        caption: name("says"),
        ..FieldNames::default()
    };
    let options = SourceOptions { fields, ..SourceOptions::default() };
    let said = Said::of(&*open(&folder.path().join("d.parquet"), &options).expect("a source"));
    assert_eq!(told(&said), ["k1: Something. (right)"]);
}
