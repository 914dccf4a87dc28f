//! Every format of an export, from one run.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;

use pairwright::base::hash::{sha256_file, sha256_hex};
use pairwright::dataset::sink::{ExportFormat, Manifest};
use serde_json::Value;

use crate::support::run::{Llm, World, assert_code, finish, pairwright, said};

/// Two instructions for each photo, so that there are conversations of two turns.
const TWO_EACH: &str = "matching.per_image = 2\n";

fn all() -> String {
    ExportFormat::ALL.map(ExportFormat::name).join(",")
}

/// Exports again with `settings` over those of the run.
fn export(out: &Path, formats: &str, settings: &[(&str, &str)], code: i32) -> String {
    let mut command = pairwright(&["export", "--format", formats, "--out"]);
    command.arg(out).envs(settings.iter().copied());
    let output = finish(&mut command);
    assert_code(&output, code);
    said(&output)
}

fn manifest(out: &Path, format: &str) -> Manifest {
    Manifest::read(&out.join("dataset").join(format).join("manifest.json")).expect("a manifest")
}

fn json(path: &Path) -> Vec<Value> {
    let text = fs_err::read_to_string(path).expect("an export");
    match text.starts_with('[') {
        true => serde_json::from_str(&text).expect("JSON"),
        false => text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect(),
    }
}

#[test]
fn the_photos_licences_are_carried_and_counted() {
    let world = World::with_photos(&["coffee-cup", "moose", "raccoon"]);
    let row = |id: &str, license: &str| {
        let caption = fs_err::read_to_string(world.source().join(format!("{id}.txt")));
        let caption = caption.expect("a caption");
        let photo = format!("{id}.jpg");
        let row =
            serde_json::json!({"image": photo, "caption": caption.trim(), "license": license});
        format!("{row}\n")
    };
    let rows = row("coffee-cup", "CC BY 2.0") + &row("moose", "CC BY 2.0") + &row("raccoon", "");
    fs_err::write(world.source().join("rows.jsonl"), rows).expect("written");
    let (llm, out) = (Llm::default(), world.path("out"));
    let mut command = world.command_over(&world.source().join("rows.jsonl"), &out, &llm.target());
    assert_code(&finish(&mut command), 0);
    export(&out, "jsonl,parquet_images", &[], 0);
    for sample in json(&out.join("dataset/samples.jsonl")) {
        let expected = (sample["lineage"]["item_id"] != "raccoon").then_some("CC BY 2.0");
        assert_eq!(sample["lineage"]["license"].as_str(), expected, "{sample}");
    }
    let card = fs_err::read_to_string(out.join("dataset/parquet_images/README.md"));
    let card = card.expect("a card");
    assert!(card.contains("| CC BY 2.0 | 2 |\n| (none told) | 1 |"), "{card}");
}

#[test]
fn every_format_has_every_sample_and_its_photo() {
    let world = World::with_photos(&["coffee-cup", "moose", "raccoon", "two-dogs"]);
    world.configure(TWO_EACH);
    assert_code(&world.run("out", &Llm::default()), 0);
    let out = world.path("out");
    let dataset = out.join("dataset");
    let samples = json(&dataset.join("samples.jsonl"));
    assert!(samples.len() > 4, "{} samples", samples.len());
    export(&out, &all(), &[], 0);
    for format in ["parquet_images", "finevision", "webdataset", "llamafactory", "swift", "trl"] {
        let manifest = manifest(&out, format);
        assert_eq!(manifest.samples(), samples.len() as u64, "{format}");
        let card = fs_err::read_to_string(dataset.join(format).join("README.md")).expect("a card");
        assert!(card.starts_with("---\npretty_name: \"Pairwright\"\n"), "{card}");
        assert!(card.contains("stub-model"), "the model is named");
    }
    for (format, file) in [("swift", "train.jsonl"), ("llamafactory", "train.json")] {
        let folder = dataset.join(format);
        for (row, sample) in json(&folder.join(file)).iter().zip(&samples) {
            assert_eq!(row["id"], sample["id"]);
            let photo = folder.join(row["images"][0].as_str().expect("a photo"));
            let sha256 = sha256_file(&photo).expect("a photo");
            assert_eq!(sample["lineage"]["image_sha256"], sha256.as_str());
        }
    }
    let shard = fs_err::File::open(dataset.join("webdataset/data/train-00000.tar"));
    let mut shard = tar::Archive::new(shard.expect("a shard"));
    let mut first = shard.entries().expect("a tar").next().expect("a member").expect("sound");
    let mut photo = Vec::new();
    first.read_to_end(&mut photo).expect("whole");
    assert_eq!(samples[0]["lineage"]["image_sha256"], sha256_hex(&photo).as_str());
    let told = said(&finish(pairwright(&["verify", "--out"]).arg(&out)));
    assert!(!told.contains("WRONG"), "{told}");

    // The same again, then in conversations, with the photos of LLaVA's copied and split.
    let before = manifest(&out, "trl");
    export(&out, "trl", &[], 0);
    assert_eq!(manifest(&out, "trl"), before);
    let settings = [
        ("PAIRWRIGHT__EXPORT__CONVERSATIONS", "multi"),
        ("PAIRWRIGHT__EXPORT__PHOTOS", "copy"),
        ("PAIRWRIGHT__EXPORT__SPLITS", "validation=0.5"),
    ];
    export(&out, &all(), &settings, 0);
    assert!(!dataset.join("llava.json").exists() && !dataset.join("samples.parquet").exists());
    let split = manifest(&out, "llava").splits;
    assert_eq!(split["train"].rows + split["validation"].rows, 4);
    assert_eq!(split["train"].samples + split["validation"].samples, samples.len() as u64);
    let mut photos = BTreeSet::new();
    for split in split.keys() {
        let path = dataset.join(format!("llava/{split}.json"));
        for row in path.exists().then(|| json(&path)).into_iter().flatten() {
            let turns = row["conversations"].as_array().expect("turns");
            let marks = turns
                .iter()
                .filter(|turn| turn["value"].as_str().is_some_and(|one| one.contains("<image>")));
            assert_eq!(marks.count(), 1);
            assert!(photos.insert(row["image"].as_str().expect("a photo").to_owned()));
        }
    }
    assert_eq!(photos.len(), 4);
    let told = said(&finish(pairwright(&["verify", "--out"]).arg(&out)));
    assert!(!told.contains("WRONG"), "{told}");
    the_check_names_what_cannot_be_read(&out);
    export(&out, "llava,jsonl,parquet", &[], 0);
    assert!(dataset.join("llava.json").exists() && !dataset.join("llava").exists());
}

/// A damaged manifest, and rows that are gone, are what `verify` finds: it goes on to what is left.
fn the_check_names_what_cannot_be_read(out: &Path) {
    let dataset = out.join("dataset");
    let wrong = |path: &Path, damage: &dyn Fn(&Path) -> std::io::Result<()>| {
        let whole = fs_err::read(path).expect("an export");
        damage(path).expect("damaged");
        let verified = finish(pairwright(&["verify", "--out"]).arg(out));
        assert_code(&verified, 5);
        let told = said(&verified);
        let lines = told.lines().filter(|line| line.contains("WRONG"));
        let wrong: Vec<String> = lines.map(str::to_owned).collect();
        assert!(told.contains("webdataset/manifest.json is as it was written"), "{told}");
        fs_err::write(path, whole).expect("mended");
        wrong
    };
    let rows = manifest(out, "llava").data().next().expect("rows").path.clone();
    let list = dataset.join("llava/manifest.json");
    let cut = wrong(&list, &|path| fs_err::write(path, b"{\"format\""));
    assert!(matches!(&cut[..], [one] if one.contains("llava/manifest.json")), "{cut:?}");
    let rows = dataset.join("llava").join(rows);
    let gone = wrong(&rows, &|path| fs_err::remove_file(path));
    let unread = format!("the rows of {} can be read", rows.display());
    assert!(matches!(&gone[..], [_, one] if one.ends_with(&unread)), "{gone:?}");
}

#[test]
fn a_photo_that_is_gone_leaves_its_samples_out_and_says_so() {
    let world = World::with_photos(&["coffee-cup", "moose", "raccoon"]);
    assert_code(&world.run("out", &Llm::default()), 0);
    let out = world.path("out");
    fs_err::remove_file(world.source().join("moose.jpg")).expect("gone");
    world.write("photos/raccoon.jpg", b"another photo");
    let told = export(&out, "llava,webdataset,swift", &[], 0);
    assert!(told.contains("2 samples are not in the exports that carry photos"), "{told}");
    let swift = manifest(&out, "swift");
    assert_eq!((swift.samples(), swift.left_out), (1, 2));
    assert_eq!(json(&out.join("dataset/llava.json")).len(), 3);
    // What was linked is where it was.
    export(&out, "swift", &[("PAIRWRIGHT__EXPORT__PHOTOS", "link")], 0);
    let link = out.join("dataset/swift/images/coffee-cup.jpg");
    assert_eq!(fs_err::read_link(link).expect("a link"), world.source().join("coffee-cup.jpg"));
    // Everything is held back: no folder is left.
    let settings = [("PAIRWRIGHT__EXPORT__KEEP", "rank > 5")];
    export(&out, "swift", &settings, 7);
    assert!(!out.join("dataset/swift").exists());
}
