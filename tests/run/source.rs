//! `pairwright run` over sources with good and bad entries, by the real program and encoder.

use std::collections::BTreeSet;
use std::path::Path;

use crate::support::run::{
    Llm, PHOTOS, World, assert_code, count, exported_ids, finish, pairwright, query, root, said,
};

const REJECTIONS: &str = "SELECT stage, code, subject FROM rejections ORDER BY 1, 2, 3";

/// A PNG of 65 bytes whose sound header claims 100,000 × 100,000 pixels.
fn enormous_png() -> Vec<u8> {
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    let side = 100_000u32.to_be_bytes();
    chunk(&mut png, b"IHDR", &[&side[..], &side[..], &[8, 2, 0, 0, 0]].concat());
    chunk(&mut png, b"IDAT", &[0x78, 0x9c, 0x63, 0, 0, 0, 1, 0]);
    chunk(&mut png, b"IEND", &[]);
    assert_eq!(png.len(), 65);
    png
}

fn chunk(png: &mut Vec<u8>, name: &[u8; 4], data: &[u8]) {
    png.extend(u32::try_from(data.len()).expect("small").to_be_bytes());
    let body = [&name[..], data].concat();
    png.extend(&body);
    png.extend(crc32(&body).to_be_bytes());
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 }
        })
    })
}

/// Makes `name` unreadable; false, said aloud, where this user reads everything.
fn lock(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o000)).expect("chmod");
    let locked = std::fs::read(path).is_err();
    if !locked {
        eprintln!("SKIPPED: a file without permissions, because root reads it all the same");
    }
    locked
}

#[test]
fn a_folder_with_every_kind_of_bad_entry_gives_the_good_ones() {
    let world = World::with_photos(&PHOTOS);
    let photo = |name: &str, bytes: &[u8]| {
        world.write(&format!("photos/{name}"), bytes);
        let stem = name.rsplit_once('.').expect("an ending").0;
        world.write(&format!("photos/{stem}.txt"), format!("This is {stem}."));
    };
    let moose = fs_err::read(root().join("samples/photos/moose.jpg")).expect("moose");
    photo("bomb.png", &enormous_png());
    photo("cut.jpg", &moose[..moose.len() / 2]);
    photo("empty.jpg", b"");
    photo("zip.jpg", b"PK\x03\x04\x14\0\0\0\x08\0 and so on");
    photo("locked.jpg", &moose);
    world.write("photos/lonely.jpg", &moose);
    world.write("photos/orphan.txt", "Nobody is here.");
    world.add_photo("moose", "twin");
    world.write("photos/namesake.jpg", &moose);
    world.write("photos/namesake.json", r#"{"id": "moose", "description": "Again a moose."}"#);
    std::os::unix::fs::symlink("knot.jpg", world.path("photos/knot.jpg")).expect("link");
    let locked = lock(&world.path("photos/locked.jpg"));
    let llm = Llm::default();

    let output = world.run("out", &llm);
    assert_code(&output, 0);
    let mut expected = vec![
        "image | duplicate_item | twin",
        "image | image_empty_file | empty",
        "image | image_side_too_long | bomb",
        "image | image_truncated | cut",
        "image | image_unknown_format | zip",
        "source | duplicate_id | namesake",
        "source | missing_description | lonely",
        "source | missing_image | orphan.txt",
        "source | unreadable_file | knot.jpg",
    ];
    let mut good: BTreeSet<String> = PHOTOS.iter().map(|name| format!("{name}-1")).collect();
    if locked {
        expected.insert(5, "image | image_unreadable | locked");
    } else {
        good.insert("locked-1".into());
    }
    let out = world.path("out");
    assert_eq!(query(&out, REJECTIONS), expected);
    assert_eq!(exported_ids(&out), good);

    let report = fs_err::read_to_string(out.join("report.html")).expect("a report");
    for line in &expected {
        let code = line.split(" | ").nth(1).expect("a code");
        assert!(said(&output).contains(code), "the summary does not name {code}");
        assert!(report.contains(code), "the report does not name {code}");
    }
    let verified = finish(pairwright(&["verify", "--out"]).arg(&out));
    assert_code(&verified, 0);
    assert!(!said(&verified).contains("WRONG"), "{}", said(&verified));
    the_check_sees_damage(&out);
}

/// `verify` notices an export that was changed afterwards.
fn the_check_sees_damage(out: &Path) {
    let path = out.join("dataset/samples.jsonl");
    let text = fs_err::read_to_string(&path).expect("an export");
    fs_err::write(&path, text.replacen("moose", "goose", 1)).expect("write");
    let verified = finish(pairwright(&["verify", "--out"]).arg(out));
    assert_code(&verified, 5);
    assert!(said(&verified).contains("samples.jsonl"), "{}", said(&verified));
}

#[test]
fn a_manifest_with_bad_lines_gives_the_good_ones() {
    let world = World::with_photos(&["moose", "raccoon"]);
    let lines = [
        r#"{"id": "a", "image": "moose.jpg", "caption": "A moose stands in a meadow."}"#,
        r#"{"id": "b", "image": "raccoon.jpg", "caption": "A raccoon sits on a branch."}"#,
        r#"{"id": "c", "image": "#,
        r#"{"id": "a", "image": "raccoon.jpg", "caption": "Once more."}"#,
        r#"{"id": "e", "image": "nowhere.jpg", "caption": "Nothing."}"#,
    ];
    world.write("photos/list.jsonl", lines.join("\n"));
    let out = world.path("out");
    let llm = Llm::default();

    let list = world.path("photos/list.jsonl");
    assert_code(&finish(&mut world.command_over(&list, &out, &llm.target())), 0);
    let expected = [
        "image | missing_image | e",
        "source | duplicate_id | a",
        "source | invalid_json | list.jsonl:3",
    ];
    assert_eq!(query(&out, REJECTIONS), expected);
    let reason = |code: &str| {
        query(&out, &format!("SELECT reason FROM rejections WHERE code = '{code}'")).join("")
    };
    assert!(reason("invalid_json").starts_with("list.jsonl:3:"), "{}", reason("invalid_json"));
    assert!(reason("duplicate_id").contains("line 1"), "{}", reason("duplicate_id"));
    assert!(reason("missing_image").contains("nowhere.jpg"), "{}", reason("missing_image"));
    assert_eq!(exported_ids(&out), ["a-1", "b-1"].map(String::from).into());
}

/// A table as a spreadsheet on Windows writes it, and the same photos as another program named them.
#[test]
fn a_table_whose_names_another_system_wrote_gives_its_photos() {
    let world = World::with_photos(&["moose", "raccoon"]);
    let moose = fs_err::read(root().join("samples/photos/moose.jpg")).expect("moose");
    world.write("photos/A\u{308}sung 1.jpg", &moose);
    let rows = [
        "\u{feff}file_name;text;n",
        ".\\moose.jpg;A moose stands in a meadow.;1",
        "raccoon%2Ejpg;A raccoon; it sits on a branch.;2",
        "raccoon%2Ejpg;\"A raccoon; it sits on a branch.\";2",
        "\u{c4}sung%201.jpg;A moose feeds.;3",
        "MOOSE.JPG;Capital letters are not guessed.;4",
        "..%2Flist.csv;Nothing outside is looked at.;5",
    ];
    let utf16: Vec<u8> = rows.join("\r\n").encode_utf16().flat_map(u16::to_le_bytes).collect();
    world.write("photos/list.csv", utf16);
    let (out, llm) = (world.path("out"), Llm::default());

    let list = world.path("photos/list.csv");
    assert_code(&finish(&mut world.command_over(&list, &out, &llm.target())), 0);
    let expected = [
        "image | missing_image | ..%2Flist.csv",
        "image | missing_image | MOOSE",
        "source | invalid_row | list.csv:3",
    ];
    assert_eq!(query(&out, REJECTIONS), expected);
    let hint = query(&out, "SELECT reason FROM rejections WHERE subject = 'MOOSE'").join("");
    assert!(hint.contains("`moose.jpg` lies there"), "{hint}");
    let ids = ["moose-1", "raccoon%2Ejpg-1", "\u{c4}sung%201-1"];
    assert_eq!(exported_ids(&out), ids.map(String::from).into());
    let images = query(&out, "SELECT image FROM items WHERE state = 'ready' ORDER BY seq");
    assert!(images[0].ends_with("photos/moose.jpg"), "{images:?}");
    assert!(images[2].ends_with("photos/A\u{308}sung 1.jpg"), "{images:?}");
    let verified = finish(pairwright(&["verify", "--out"]).arg(&out));
    assert_code(&verified, 0);
}

#[test]
fn coco_captions_give_a_dataset() {
    let captions = root().join("../shared/data/coco-train80/captions_train2017.json");
    if !captions.is_file() {
        eprintln!("SKIPPED: {} is not there", captions.display());
        return;
    }
    let world = World::new();
    let (out, llm) = (world.path("out"), Llm::default());
    assert_code(&finish(&mut world.command_over(&captions, &out, &llm.target())), 0);

    assert_eq!(count(&out, "SELECT count(*) FROM items WHERE state = 'ready'"), 80);
    let pairs = count(&out, "SELECT count(*) FROM pairs");
    let refused = count(&out, "SELECT count(*) FROM rejections WHERE stage = 'match'");
    assert_eq!(pairs + refused, 80);
    let accepted =
        count(&out, "SELECT count(DISTINCT pair_key) FROM answers WHERE verdict = 'accepted'");
    assert!(accepted > 40, "{accepted} of {pairs} accepted");
    assert_eq!(exported_ids(&out).len(), accepted);
    assert_code(&finish(pairwright(&["verify", "--out"]).arg(&out)), 0);
}

/// Runs with these arguments, expects a refusal, and returns what was said.
fn refused(world: &World, arguments: &[&str]) -> String {
    let mut command = pairwright(&["run", "--llm", "openai:http://127.0.0.1:9/v1"]);
    let output = finish(command.args(arguments).arg("--out").arg(world.path("out")));
    assert_code(&output, 2);
    said(&output)
}

#[test]
fn a_source_that_is_not_there_is_refused_by_name() {
    let world = World::new();
    let empty = world.source().display().to_string();
    let text = refused(&world, &["--source", &empty]);
    assert!(text.contains(&empty) && text.contains("empty"), "{text}");

    let missing = world.path("missing").display().to_string();
    let text = refused(&world, &["--source", &missing]);
    assert!(text.contains(&missing) && text.contains("no such source"), "{text}");

    let text = refused(&World::new(), &[]);
    assert!(text.contains("--source"), "{text}");
}

#[test]
fn a_wrong_configuration_is_refused_by_key() {
    let world = World::with_photos(&["moose"]);
    let source = world.source().display().to_string();
    let refusal = |config: &str| {
        world.write("wrong.toml", config);
        let path = world.path("wrong.toml").display().to_string();
        refused(&world, &["--source", &source, "--config", &path])
    };
    let text = refusal("[matching]\ntemprature = 1.0\n");
    assert!(text.contains("wrong.toml") && text.contains("temprature"), "{text}");
    let text = refusal("[answer]\nattempts = 11\n");
    assert!(text.contains("answer.attempts") && text.contains("11"), "{text}");
    let text = refusal("[matching]\ntop_p = 1.5\n");
    assert!(text.contains("matching.top_p") && text.contains("1.5"), "{text}");
    let text = refusal("[llm]\ndeadline_s = -1.0\n");
    assert!(text.contains("deadline_s") && text.contains("-1"), "{text}");
    let text = refused(&world, &["--source", &source, "--strategy", "best"]);
    assert!(text.contains("best"), "{text}");
}

/// A copy of a sample at four fifths of its size, with a text of its own.
fn add_copy(world: &World, sample: &str, name: &str) {
    let path = root().join(format!("samples/photos/{sample}.jpg"));
    let photo = image::open(path).expect("a sample");
    let (width, height) = (photo.width() * 4 / 5, photo.height() * 4 / 5);
    let smaller = photo.resize_exact(width, height, image::imageops::FilterType::Triangle);
    smaller.save(world.path(&format!("photos/{name}.jpg"))).expect("saved");
    world.write(&format!("photos/{name}.txt"), "Another text for this photo.");
}

#[test]
fn nearly_the_same_photo_is_kept_and_marked_or_refused() {
    let world = World::with_photos(&PHOTOS[..3]);
    add_copy(&world, PHOTOS[0], "zz-copy");
    let (llm, twins) = (Llm::default(), "SELECT id, twin_of FROM items WHERE twin_of IS NOT NULL");
    world.configure("measure.enabled = [\"image_twin_of\"]\n");
    let kept = world.run("kept", &llm);
    assert_code(&kept, 0);
    let out = world.path("kept");
    assert_eq!(query(&out, twins), [format!("zz-copy | {}", PHOTOS[0])]);
    assert_eq!(query(&out, REJECTIONS), [""; 0]);
    assert!(said(&kept).contains("1  photos are nearly the same"), "{}", said(&kept));
    let measured = "SELECT detail FROM measures WHERE measure = 'image_twin_of' AND value > 0.9";
    assert_eq!(query(&out, measured), [format!("{{\"of\":\"{}\"}}", PHOTOS[0])]);

    // The first one is looked at anew, and does not become a twin of its own copy.
    world.write(&format!("photos/{}.txt", PHOTOS[0]), "A new text for the first photo.");
    assert_code(&world.run("kept", &llm), 0);
    assert_eq!(query(&out, twins), [format!("zz-copy | {}", PHOTOS[0])]);
    // A run that has kept it lets it go once such photos are to be refused.
    world.configure("source.twins = \"skip\"\n");
    assert_code(&world.run("kept", &llm), 0);
    assert_eq!(query(&out, REJECTIONS), ["image | image_twin | zz-copy"]);
    assert_code(&world.run("kept", &llm), 0);
    assert_eq!(query(&out, REJECTIONS), ["image | image_twin | zz-copy"], "and is not asked again");

    assert_code(&world.run("skipped", &llm), 0);
    let out = world.path("skipped");
    assert_eq!(query(&out, REJECTIONS), ["image | image_twin | zz-copy"]);
    assert_eq!(exported_ids(&out).len(), 3);
    // Its twin leaves the source.
    for ending in ["jpg", "txt"] {
        let path = world.path(&format!("photos/{}.{ending}", PHOTOS[0]));
        fs_err::remove_file(path).expect("removed");
    }
    assert_code(&world.run("skipped", &llm), 0);
    assert_eq!(query(&out, REJECTIONS), [""; 0]);
    assert!(exported_ids(&out).contains("zz-copy-1"));
}
