//! A benchmark held out of a real run: its exports leave it out, and `verify` proves it.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::support::run::{
    Llm, PHOTOS, World, assert_code, count, exported_ids, finish, pairwright, query, said,
};

const THREE: [&str; 2] = ["--instructions", "3"];

const CONFIG: &str = "matching.per_image = 3\nmatching.strategy = \"topk\"\nseed = 3\n";

/// Six photos, each with a copy that was made smaller and compressed anew.
fn world() -> World {
    let world = World::with_photos(&PHOTOS);
    world.configure(CONFIG);
    PHOTOS.iter().for_each(|name| copy(&world, name, &format!("{name}-copy"), 80));
    world
}

fn copy(world: &World, name: &str, copy: &str, percent: u32) {
    let photo = image::open(world.path(&format!("photos/{name}.jpg"))).expect("a photo");
    let (width, height) = (photo.width() * percent / 100, photo.height() * percent / 100);
    let small = photo.resize_exact(width, height, image::imageops::FilterType::Triangle);
    small.to_rgb8().save(world.path(&format!("photos/{copy}.jpg"))).expect("a JPEG");
    let text = fs_err::read_to_string(world.path(&format!("photos/{name}.txt"))).expect("a text");
    world.write(&format!("photos/{copy}.txt"), text);
}

fn build(world: &World, more: &[&str]) -> Output {
    let mut command = pairwright(&["evaluate", "build", "--images", "1"]);
    command.arg("--run").arg(world.path("run")).arg("--out").arg(world.path("bench"));
    finish(command.args(more))
}

fn step(world: &World, name: &str) -> Output {
    finish(pairwright(&[name, "--out"]).arg(world.path("run")))
}

fn questions(world: &World) -> Vec<Value> {
    let text = fs_err::read_to_string(world.path("bench/questions.jsonl")).expect("questions");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// Items whose photo is held out, by the run's own marks.
fn held_items(out: &Path) -> BTreeSet<String> {
    let sql = "SELECT i.id FROM items i JOIN held_out h ON h.kind = 'image'
               AND h.key = i.image_sha256";
    query(out, sql).into_iter().collect()
}

#[test]
fn what_is_held_out_leaves_the_exports_and_verify_proves_it() {
    let (world, llm) = (world(), Llm::default());
    assert_code(&world.run("run", &llm), 0);
    let out = world.path("run");
    let before = exported_ids(&out);

    let built = build(&world, &THREE);
    assert_code(&built, 0);
    let held = held_items(&out);
    let chosen: BTreeSet<String> = questions(&world)
        .iter()
        .map(|row| row["image"].as_str().expect("a name").to_owned())
        .collect();
    assert_eq!(questions(&world).len(), 3);
    for item in &held {
        let twin = item.strip_suffix("-copy").map_or(format!("{item}-copy"), str::to_owned);
        assert!(held.contains(&twin), "{item} without {twin}: {held:?}");
    }
    assert!(held.len() >= 2 * chosen.len().min(2) && held.len() < 12, "{held:?}");

    // The exports are those of before: verify says so, for all three files.
    let wrong = step(&world, "verify");
    assert_code(&wrong, 5);
    let told = said(&wrong);
    assert_eq!(told.matches("WRONG").count(), 3, "{told}");
    assert!(told.contains("its photo is held out") && told.contains("instruction is held out"));
    assert!(told.contains("near-duplicate of the held-out"), "{told}");

    assert_code(&step(&world, "export"), 0);
    let verified = step(&world, "verify");
    assert_code(&verified, 0);
    assert_eq!(said(&verified).matches("shares nothing with the benchmark").count(), 3);
    let after = exported_ids(&out);
    let texts: BTreeSet<String> =
        questions(&world).iter().map(|row| row["text"].as_str().expect("text").into()).collect();
    let expected: BTreeSet<String> = samples(&out, &before, &held, &texts);
    assert_eq!(after, expected);
    assert!(after.len() < before.len() && !after.is_empty());

    // A copy that comes later is held out by itself.
    let photo = held.iter().find(|item| !item.ends_with("-copy")).expect("a photo");
    copy(&world, photo, "late", 90);
    assert_code(&world.run("run", &llm), 0);
    assert!(held_items(&out).contains("late"));
    assert!(!exported_ids(&out).iter().any(|id| id.starts_with("late-")));
    assert_code(&step(&world, "verify"), 0);
}

/// The ids of `before` that may stay, found from the run's pairs alone.
fn samples(
    out: &Path,
    before: &BTreeSet<String>,
    held: &BTreeSet<String>,
    texts: &BTreeSet<String>,
) -> BTreeSet<String> {
    let rows = query(
        out,
        "SELECT i.id || '-' || p.rank, i.id, n.text FROM pairs p JOIN items i ON i.seq = p.seq
         JOIN instructions n ON n.key = p.instruction_key",
    );
    let mut left = BTreeSet::new();
    for row in rows {
        let fields: Vec<&str> = row.split(" | ").collect();
        let (id, item, text) = (fields[0], fields[1], fields[2]);
        if before.contains(id) && !held.contains(item) && !texts.contains(text) {
            left.insert(id.to_owned());
        }
    }
    left
}

#[test]
fn building_again_gives_the_same_and_nothing_else() {
    let (world, llm) = (world(), Llm::default());
    assert_code(&world.run("run", &llm), 0);
    assert_code(&build(&world, &THREE), 0);
    let first = fs_err::read(world.path("bench/questions.jsonl")).expect("questions");
    fs_err::remove_file(world.path("bench/questions.jsonl")).expect("remove");
    assert_code(&build(&world, &THREE), 0);
    assert_eq!(fs_err::read(world.path("bench/questions.jsonl")).expect("again"), first);
    let other = build(&world, &["--instructions", "3", "--seed", "8"]);
    assert_code(&other, 2);
    assert!(said(&other).contains("already holds out the benchmark in"), "{}", said(&other));

    // The questions are of the published form: they can be answered and judged.
    let row = &questions(&world)[0];
    for field in ["question_id", "image", "text", "caption", "category"] {
        assert!(!row[field].is_null(), "{field} of {row}");
    }
    let mut dry = pairwright(&["evaluate", "answer", "--dry-run", "--llm", &llm.target()]);
    dry.arg("--questions").arg(world.path("bench/questions.jsonl"));
    dry.arg("--images").arg(world.path("bench/images")).arg("--out").arg(world.path("answers"));
    let dry = finish(&mut dry);
    assert_code(&dry, 0);
    assert!(said(&dry).contains("and 3 images"), "{}", said(&dry));

    // A photo of the benchmark that is swapped is found.
    let name = row["image"].as_str().expect("a name");
    fs_err::write(world.path(&format!("bench/images/{name}")), "other").expect("write");
    assert_code(&step(&world, "export"), 0);
    let wrong = step(&world, "verify");
    assert_code(&wrong, 5);
    assert!(said(&wrong).contains("its photo is not held out"), "{}", said(&wrong));
}

#[test]
fn a_run_of_the_version_before_goes_on() {
    let world = World::with_photos(&PHOTOS[..2]);
    let llm = Llm::default();
    assert_code(&world.run("run", &llm), 0);
    let out = world.path("run");
    let ids = exported_ids(&out);
    let store = rusqlite::Connection::open(out.join("run.sqlite")).expect("a store");
    store
        .execute_batch(
            "DROP TABLE held_out; DROP TABLE measures; DROP TABLE judge_replies;
             DROP TABLE judge_failures; DROP TABLE photo_replies; ALTER TABLE items DROP COLUMN descriptions;
             ALTER TABLE items DROP COLUMN look; ALTER TABLE items DROP COLUMN twin_of;
             ALTER TABLE items DROP COLUMN license;
             ALTER TABLE instructions DROP COLUMN requires; ALTER TABLE answers DROP COLUMN reasoning;
             ALTER TABLE matches DROP COLUMN refused_by; PRAGMA user_version = 1",
        )
        .expect("as it was");
    drop(store);
    assert_code(&step(&world, "export"), 0);
    assert_eq!((exported_ids(&out), count(&out, "PRAGMA user_version")), (ids, 11));
}

#[test]
fn what_cannot_be_held_out_is_refused() {
    let world = World::with_photos(&PHOTOS[..2]);
    let nowhere = build(&world, &THREE);
    assert_code(&nowhere, 2);
    assert!(said(&nowhere).contains("no run at"), "{}", said(&nowhere));
    assert!(!world.path("run").exists(), "a refusal makes no run");
    assert_code(&world.run("run", &Llm::default()), 0);
    let many = build(&world, &["--instructions", "500"]);
    assert_code(&many, 2);
    assert!(said(&many).contains("too few to hold out 500"), "{}", said(&many));
    let near = build(&world, &["--near", "1.5"]);
    assert_code(&near, 2);
    assert!(said(&near).contains("near is 1.5, must be above 0"), "{}", said(&near));
}
