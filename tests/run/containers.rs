//! `pairwright run` over the same photos wherever they lie: folder, rows, COCO, tars, Parquet and a
//! dataset on disk.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::builder::BinaryBuilder;
use arrow_array::{ArrayRef, RecordBatch, StringArray, StructArray};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{DataType, Field};
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};

use crate::support::run::{Llm, PHOTOS, World, assert_code, finish, pairwright, query, said};

pub const PAIRS: &str = "SELECT items.id, pair_key, rank, instruction_key, similarity FROM pairs \
    JOIN items USING (seq) ORDER BY items.seq, rank";

pub struct Sample {
    id: &'static str,
    photo: Vec<u8>,
    caption: String,
}

pub fn samples(world: &World) -> Vec<Sample> {
    let read = |id: &str, ending: &str| {
        fs_err::read(world.source().join(format!("{id}.{ending}"))).expect("a sample")
    };
    let sample = |id: &&'static str| {
        let caption = String::from_utf8(read(id, "txt")).expect("UTF-8").trim().to_owned();
        Sample { id, photo: read(id, "jpg"), caption }
    };
    PHOTOS.iter().map(sample).collect()
}

fn tar(samples: &[Sample]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut add = |name: String, bytes: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        builder.append_data(&mut header, name, bytes).expect("a member");
    };
    for Sample { id, photo, caption } in samples {
        add(format!("{id}.jpg"), photo);
        add(format!("{id}.txt"), caption.as_bytes());
    }
    builder.into_inner().expect("a tar")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, bytes).expect("to memory");
    packed.finish().expect("to memory")
}

fn rows(samples: &[Sample]) -> RecordBatch {
    let texts = |texts: Vec<String>| Arc::new(StringArray::from(texts)) as ArrayRef;
    let mut bytes = BinaryBuilder::new();
    samples.iter().for_each(|sample| bytes.append_value(&sample.photo));
    let field = |name: &str, kind| Arc::new(Field::new(name, kind, true));
    let names = samples.iter().map(|sample| format!("{}.jpg", sample.id)).collect();
    let images = StructArray::from(vec![
        (field("bytes", DataType::Binary), Arc::new(bytes.finish()) as ArrayRef),
        (field("path", DataType::Utf8), texts(names)),
    ]);
    let ids = samples.iter().map(|sample| sample.id.to_owned()).collect();
    let captions = samples.iter().map(|sample| sample.caption.clone()).collect();
    let columns: [(&str, ArrayRef); 3] =
        [("id", texts(ids)), ("image", Arc::new(images)), ("caption", texts(captions))];
    RecordBatch::try_from_iter(columns).expect("columns of one length")
}

fn write_parquet(path: PathBuf, samples: &[Sample]) {
    let rows = rows(samples);
    let file = File::create(path).expect("a file");
    let mut writer = ArrowWriter::try_new(file, rows.schema(), None).expect("a writer");
    writer.write(&rows).expect("written");
    writer.close().expect("closed");
}

fn write_arrow(path: PathBuf, samples: &[Sample]) {
    let rows = rows(samples);
    let file = File::create(path).expect("a file");
    let mut writer = StreamWriter::try_new(file, &rows.schema()).expect("a writer");
    writer.write(&rows).expect("written");
    writer.finish().expect("closed");
}

/// The same photos and captions, in the same order, in other places.
pub fn places(world: &World, samples: &[Sample]) -> Vec<(&'static str, PathBuf)> {
    let row = |sample: &Sample| {
        json!({"id": sample.id, "image": format!("photos/{}.jpg", sample.id),
            "caption": sample.caption})
        .to_string()
    };
    let lines: Vec<String> = samples.iter().map(row).collect();
    world.write("rows.jsonl", lines.join("\n"));
    let images: Vec<Value> = samples
        .iter()
        .map(|sample| json!({"id": sample.id, "file_name": format!("photos/{}.jpg", sample.id)}))
        .collect();
    let captions: Vec<Value> = samples
        .iter()
        .enumerate()
        .map(|(at, sample)| json!({"image_id": sample.id, "id": at, "caption": sample.caption}))
        .collect();
    world.write("coco.json", json!({"images": images, "annotations": captions}).to_string());
    for folder in ["tars", "disk", "hub", "hub/data"] {
        fs_err::create_dir(world.path(folder)).expect("a folder");
    }
    let (first, second) = samples.split_at(4);
    world.write("tars/0.tar", tar(first));
    world.write("tars/1.tar", tar(second));
    world.write("all.tar.gz", gzip(&tar(samples)));
    write_parquet(world.path("all.parquet"), samples);
    write_parquet(world.path("hub/data/0.parquet"), first);
    write_parquet(world.path("hub/data/1.parquet"), second);
    write_arrow(world.path("disk/data-0.arrow"), samples);
    world.write("disk/dataset_info.json", "{}");
    world.write("disk/state.json", r#"{"_data_files": [{"filename": "data-0.arrow"}]}"#);
    let names =
        ["rows.jsonl", "coco.json", "tars", "tars/{0..1}.tar", "all.tar.gz", "all.parquet", "hub"];
    names.into_iter().chain(["disk"]).map(|name| (name, world.path(name))).collect()
}

/// The exports of JSON, each photo named by its id: where the photos lie is all that may differ.
pub fn exported(out: &Path) -> Vec<Value> {
    let read = |name: &str| fs_err::read_to_string(out.join(name)).expect("an export");
    let llava: Vec<Value> = serde_json::from_str(&read("dataset/llava.json")).expect("JSON");
    let lines = read("dataset/samples.jsonl");
    let lines = lines.lines().map(|line| serde_json::from_str(line).expect("a row"));
    let mut all: Vec<Value> = llava.into_iter().chain(lines).collect();
    for row in &mut all {
        let image = row["image"].as_str().expect("a photo's name");
        let name = image.rsplit('/').next().expect("a name").to_owned();
        row["image"] = name.into();
    }
    all
}

#[test]
fn the_same_photos_give_the_same_pairs_wherever_they_lie() {
    let world = World::with_photos(&PHOTOS);
    let samples = samples(&world);
    let llm = Llm::default();
    assert_code(&world.run("folder", &llm), 0);
    let out = world.path("folder");
    let (pairs, rows) = (query(&out, PAIRS), exported(&out));
    assert_eq!(pairs.len(), PHOTOS.len());
    // Photos of the report, which are embedded in it.
    let thumbnails = |out: &Path| {
        let report = fs_err::read_to_string(out.join("report.html")).expect("a report");
        report.matches("data:image/").count()
    };
    let shown = thumbnails(&out);
    assert!(shown >= PHOTOS.len(), "{shown}");
    for (at, (name, source)) in places(&world, &samples).into_iter().enumerate() {
        let out = world.path(&format!("out{at}"));
        let run = || finish(&mut world.command_over(&source, &out, &llm.target()));
        assert_code(&run(), 0);
        assert_eq!(query(&out, "SELECT * FROM rejections"), [""; 0], "{name}");
        assert_eq!(query(&out, PAIRS), pairs, "{name}");
        assert_eq!(exported(&out), rows, "{name}");
        // Nothing is new to a second reading.
        let asked = llm.distinct();
        assert_code(&run(), 0);
        assert_eq!((llm.distinct(), exported(&out)), (asked, rows.clone()), "{name}");
        // The thumbnails and `verify` read photos again.
        assert_eq!(thumbnails(&out), shown, "{name}");
        let verified = finish(pairwright(&["verify", "--out"]).arg(&out));
        let hashes = format!("the photos of {} samples have their recorded hash", PHOTOS.len());
        assert!(said(&verified).contains(&format!("ok    {hashes}")), "{}", said(&verified));
    }
}

#[test]
fn a_tar_that_grows_or_shrinks_costs_what_is_new() {
    let world = World::with_photos(&PHOTOS);
    let samples = samples(&world);
    let llm = Llm::default();
    let (source, out) = (world.path("s.tar"), world.path("out"));
    let run = |bytes: &[u8]| {
        fs_err::write(&source, bytes).expect("written");
        let output = finish(&mut world.command_over(&source, &out, &llm.target()));
        assert_code(&output, 0);
        (exported(&out).len(), query(&out, "SELECT code FROM rejections"))
    };
    let whole = tar(&samples);
    // Cut in the data of the last photo.
    let cut = whole.len() - 1024 - samples[5].caption.len().next_multiple_of(512) - 1024;
    // Each sample stands in two of the exports.
    assert_eq!(run(&whole[..cut]), (2 * 5, vec!["tar_cut_short".to_owned()]));
    let asked = llm.distinct();
    assert_eq!(run(&whole), (2 * 6, Vec::new()));
    let all = llm.distinct();
    assert!(all > asked, "the last photo is answered");
    assert_eq!(run(&tar(&samples[1..])), (2 * 5, Vec::new()));
    assert_eq!(run(&whole), (2 * 6, Vec::new()));
    assert_eq!(llm.distinct(), all, "nothing is asked again");
}
