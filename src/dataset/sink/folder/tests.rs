use std::collections::BTreeSet;

use super::super::tests::{photo, sample};
use super::super::{Conversations, Sample, Sink};
use super::*;
use crate::base::failure::Failure;
use crate::dataset::record::MeasureValue;

const FOLDERS: [ExportFormat; 6] = [
    ExportFormat::ParquetImages,
    ExportFormat::FineVision,
    ExportFormat::WebDataset,
    ExportFormat::LlamaFactory,
    ExportFormat::Swift,
    ExportFormat::Trl,
];

/// Two samples of one photo.
fn two(number: u32) -> [Sample; 2] {
    [1, 2].map(|rank| {
        let mut sample = sample(number);
        sample.id = format!("{}-{rank}", sample.lineage.item_id);
        sample.lineage.rank = rank;
        sample
    })
}

#[test]
fn shards_are_bounded_and_hold_every_row_of_their_split_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let options = SinkOptions {
        shard_bytes: 50_000,
        splits: vec!["validation".into()],
        ..SinkOptions::default()
    };
    for format in FOLDERS {
        let mut sink = Sink::create(format, folder.path(), &options).expect("a writable folder");
        for number in 0..100 {
            let split = if number % 10 == 0 { "validation" } else { "train" };
            let mut photo = photo(number);
            photo.bytes = vec![number as u8; 5_000].into();
            sink.push_all(&two(number), Some(&photo), split).expect("good samples");
        }
        let path = sink.finish().expect("room").path;
        let manifest = Manifest::read(&path).expect("a manifest");
        let expected = |rows| SplitCounts { rows, samples: rows };
        let splits = [("train".to_owned(), expected(180)), ("validation".to_owned(), expected(20))];
        assert_eq!(manifest.splits, BTreeMap::from(splits), "{}", format.name());
        for (split, counts) in &manifest.splits {
            let files = || manifest.data().filter(|file| file.split.as_ref() == Some(split));
            assert_eq!(files().map(|file| file.rows).sum::<u64>(), counts.rows);
            let shards = if format.is_sharded() && split == "train" { 10..40 } else { 1..6 };
            assert!(shards.contains(&files().count()), "{}: {}", format.name(), files().count());
            if format.is_sharded() {
                assert!(files().all(|file| file.bytes < 80_000), "{}", format.name());
            }
        }
    }
}

#[test]
fn a_conversation_has_every_sample_of_its_photo_and_one_mark() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let options = SinkOptions { conversations: Conversations::Multi, ..SinkOptions::default() };
    let mut sink = Sink::create(ExportFormat::Swift, folder.path(), &options).expect("a folder");
    sink.push_all(&two(1), Some(&photo(1)), "train").expect("good samples");
    let path = sink.finish().expect("room").path;
    let manifest = Manifest::read(&path).expect("a manifest");
    assert_eq!(manifest.splits["train"], SplitCounts { rows: 1, samples: 2 });
    let text = fs_err::read_to_string(path.with_file_name("train.jsonl")).expect("rows");
    let row: serde_json::Value = serde_json::from_str(&text).expect("one row");
    assert_eq!(row["id"], "photo/1");
    let roles: Vec<_> = row["messages"].as_array().into_iter().flatten().collect();
    let roles: Vec<_> = roles.iter().map(|turn| turn["role"].as_str().unwrap_or("")).collect();
    assert_eq!(roles, ["user", "assistant", "user", "assistant"]);
    assert_eq!(text.matches("<image>").count(), 1);
}

#[test]
fn photos_whose_ids_differ_by_case_alone_do_not_overwrite_each_other() {
    let write = || {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut sink = Sink::create(ExportFormat::Swift, folder.path(), &SinkOptions::default())
            .expect("a writable folder");
        for (number, id) in [(1, "IMG_1"), (2, "img_1"), (3, "b")] {
            let mut sample = sample(number);
            sample.lineage.item_id = id.to_owned();
            sink.push_all(&[sample], Some(&photo(number)), "train").expect("good samples");
        }
        let manifest = Manifest::read(&sink.finish().expect("room").path).expect("a manifest");
        manifest.photos().map(|file| file.path.clone()).collect::<Vec<_>>()
    };
    let names = write();
    let small: BTreeSet<String> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
    assert_eq!((names.len(), small.len()), (3, 3), "{names:?}");
    assert!(names.iter().any(|name| name.starts_with("images/IMG_1.")), "{names:?}");
    assert_eq!(write(), names);
}

#[test]
fn no_id_leads_out_of_the_folder() {
    let world = tempfile::tempdir().expect("a temporary folder");
    let folder = world.path().join("dataset");
    fs_err::create_dir(&folder).expect("made");
    let ids = [
        "../../x",
        "/etc/x",
        "a/../b",
        "..",
        ".hidden",
        "con\\x",
        "x",
        "X y",
        "x-0123456789abcdef",
    ];
    for format in FOLDERS {
        let options = SinkOptions::default();
        let mut sink = Sink::create(format, &folder, &options).expect("a writable folder");
        for (number, id) in (0..).zip(ids) {
            let mut sample = sample(number);
            sample.lineage.item_id = id.to_owned();
            sample.id = format!("{id}-1");
            sink.push_all(&[sample], Some(&photo(number)), "train").expect("a good sample");
        }
        let manifest = Manifest::read(&sink.finish().expect("room").path).expect("a manifest");
        let names: BTreeSet<&str> = manifest.photos().map(|file| &*file.path).collect();
        assert!(names.is_empty() || names.len() == ids.len(), "{names:?}");
        for file in &manifest.files {
            let path = folder.join(format.name()).join(&file.path);
            assert!(
                path.canonicalize()
                    .expect("there")
                    .starts_with(folder.canonicalize().expect("there"))
            );
            assert!(file.path.split('/').all(|part| part != ".."), "{}", file.path);
        }
    }
    let outside: Vec<_> = fs_err::read_dir(world.path()).expect("readable").collect();
    assert_eq!(outside.len(), 1);
}

#[test]
fn ratings_are_counted_and_a_photo_inside_another_file_cannot_be_linked_to() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let options = SinkOptions { photos: Some(PhotoPlaces::Link), ..SinkOptions::default() };
    let mut sink =
        Sink::create(ExportFormat::FineVision, folder.path(), &options).expect("a folder");
    let mut samples = two(1);
    samples[0].measures.insert("relevance".into(), MeasureValue::Number(5.0));
    sink.push_all(&samples, Some(&photo(1)), "train").expect("embedded, not linked");
    sink.leave_out(3);
    let manifest = Manifest::read(&sink.finish().expect("room").path).expect("a manifest");
    assert_eq!((manifest.rated["relevance"], manifest.rated["formatting"]), (1, 0));
    assert_eq!(manifest.left_out, 3);
    let mut sink = Sink::create(ExportFormat::Llava, folder.path(), &options).expect("a folder");
    let error = sink.push_all(&samples, Some(&photo(1)), "train").expect_err("no file of its own");
    assert_eq!(error.code(), "photo_not_linkable");
}
