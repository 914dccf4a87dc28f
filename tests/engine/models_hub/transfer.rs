//! Downloads that go wrong on the way.

use std::process::Stdio;
use std::time::{Duration, Instant};

use pairwright::base::hash::sha256_hex;
use pairwright::base::hub::HubOptions;
use pairwright::model::Precision;
use pairwright::model::catalog::Catalog;
use pairwright::model::store::{Hub, ModelStoreError, Store, Transfer};
use rand::RngExt;

use super::hub::Fault;
use super::world::{Pins, TEXT, VISION, World, file, said};

const PULL: [&str; 3] = ["models", "pull", "tiny"];

#[test]
fn cut_connections_are_gone_on_from_where_they_broke() {
    let world = World::new(Pins::All);
    let size = file(VISION).len();
    let mut random = rand::rng();
    let cuts: Vec<usize> = (0..4).map(|_| random.random_range(1..size / 5)).collect();
    world.hub.fail(VISION, cuts.iter().map(|after| Fault::Cut(*after)));
    let said = world.says(&PULL, 0);
    assert!(said.contains("trying again"), "{said}");
    let starts = world.hub.starts(VISION);
    assert_eq!((starts.len(), starts[0]), (5, 0), "{starts:?}");
    // What was on the way when the connection broke may be lost, but nothing is asked for twice
    // that is on the disk, and each try goes on.
    assert!(starts.windows(2).all(|pair| pair[0] < pair[1]), "{starts:?} after cuts {cuts:?}");
    let sent: Vec<usize> = cuts
        .iter()
        .scan(0, |sum, cut| {
            *sum += cut;
            Some(*sum)
        })
        .collect();
    assert!(
        starts[1..].iter().zip(&sent).all(|(start, sent)| start <= sent),
        "{starts:?} {sent:?}"
    );
    assert_eq!(fs_err::read(world.cached(VISION)).expect("there"), file(VISION));
    assert!(!world.files().iter().any(|name| name.ends_with(".part")), "{:?}", world.files());
}

#[test]
fn a_killed_pull_is_gone_on_with() {
    let world = World::new(Pins::All);
    world.hub.fail(VISION, [Fault::Slow(Duration::from_millis(20))]);
    let mut child =
        world.command(&PULL).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
    let part = || {
        let size = |name: &String| {
            let path = world.cached("onnx").join(name);
            fs_err::metadata(path).map_or(0, |found| found.len())
        };
        world.files().iter().find(|name| name.ends_with(".part")).map_or(0, size)
    };
    let began = Instant::now();
    while part() < 20_000 {
        assert!(began.elapsed() < Duration::from_secs(60), "nothing came");
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().expect("killed");
    child.wait().expect("ended");
    assert!(!world.cached(VISION).exists(), "half a file has the name of a whole one");
    let kept = part();
    let embed = ["embed", "--model", "tiny", "--texts", "Cargo.toml", "--out", "/nowhere/x"];
    assert!(world.says(&embed, 2).contains("missing onnx/vision_model.onnx"));
    world.says(&PULL, 0);
    assert_eq!(world.hub.starts(VISION), [0, usize::try_from(kept).expect("fits")]);
    assert_eq!(fs_err::read(world.cached(VISION)).expect("there"), file(VISION));
}

#[test]
fn a_server_that_knows_no_ranges_sends_all_again() {
    let world = World::new(Pins::All);
    world.hub.fail(TEXT, [Fault::Cut(50_000), Fault::NoRanges]);
    world.says(&PULL, 0);
    assert_eq!(fs_err::read(world.cached(TEXT)).expect("there"), file(TEXT));
}

#[test]
fn wrong_bytes_are_refused_and_removed() {
    for pins in [Pins::All, Pins::None] {
        let world = World::new(pins);
        world.hub.fail(VISION, [Fault::Wrong]);
        let said = world.says(&PULL, 2);
        assert!(said.contains(VISION) && said.contains(&sha256_hex(&file(VISION))), "{said}");
        let who = if pins == Pins::All { "the catalog says" } else { "the hub says" };
        assert!(said.contains(who), "{said}");
        assert!(!world.files().iter().any(|name| name.contains("vision")), "{:?}", world.files());
        world.says(&PULL, 0);
    }
}

#[test]
fn a_damaged_half_is_fetched_again() {
    let world = World::new(Pins::All);
    world.hub.fail(VISION, [Fault::Cut(30_000), Fault::Status(404, "EntryNotFound")]);
    world.says(&PULL, 2);
    let part = walkdir::WalkDir::new(world.cached("onnx"))
        .into_iter()
        .filter_map(Result::ok)
        .find(|entry| entry.path().extension().is_some_and(|ending| ending == "part"))
        .expect("a part");
    let mut half = fs_err::read(part.path()).expect("read");
    half[7] ^= 1;
    fs_err::write(part.path(), half).expect("write");
    let said = world.says(&PULL, 0);
    assert!(said.contains("damaged"), "{said}");
    assert_eq!(world.hub.starts(VISION).last(), Some(&0));
}

#[test]
fn a_mirror_with_another_file_is_refused_before_a_byte_comes() {
    let world = World::new(Pins::All);
    let mut other = file(VISION);
    other.reverse();
    world.hub.replace(VISION, other);
    assert!(world.says(&PULL, 2).contains("the catalog says"));
    world.hub.replace(VISION, vec![1; 10]);
    assert!(world.says(&PULL, 2).contains("the catalog says"));
    assert!(world.hub.starts(VISION).is_empty());
}

#[test]
fn a_full_disk_is_told_before_and_leaves_no_half_model() {
    let world = World::new(Pins::All);
    let cache = world.cache();
    fs_err::create_dir_all(&cache).expect("created");
    let mount = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1200k", "tmpfs"])
        .arg(&cache)
        .status();
    if !mount.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: no tmpfs can be mounted here, so no disk was full");
        return;
    }
    let first = world.run(&PULL);
    // With the reserve gone by a file of someone else's, the check itself cannot know.
    let unmounted = std::process::Command::new("umount").arg(&cache).status().expect("umount");
    assert!(unmounted.success());
    let text = said(&first, 6);
    assert!(text.contains("no space for") && text.contains("PAIRWRIGHT_MODELS"), "{text}");
    world.says(&PULL, 0);
}

struct Quiet;

impl Transfer for Quiet {
    fn begin(&self, _: &str, _: u64, _: Option<u64>) {}
    fn advance(&self, _: u64) {}
    fn retry(&self, _: &str, _: &str, _: Duration) {}
    fn end(&self) {}
}

/// Pulls `tiny` in this process, with little patience.
async fn impatient(world: &World) -> Result<(), ModelStoreError> {
    let options = HubOptions {
        endpoint: world.hub.endpoint(),
        token: None,
        timeout: Duration::from_millis(300),
        first_wait: Duration::from_millis(1),
        tries: 3,
    };
    let catalog = Catalog::with_user(Some(world.catalog())).expect("a catalog");
    let model = catalog.find("tiny").expect("known");
    let hub = Hub::new(options)?;
    let store = Store::at(world.cache());
    store.pull(&hub, model, Precision::Fp32, &Quiet).await.map(|_| ())
}

#[tokio::test]
async fn hopeless_servers_are_given_up_with_what_came() {
    let world = World::new(Pins::All);
    world.hub.fail(VISION, [Fault::Cut(9_000), Fault::Cut(0), Fault::Cut(0)]);
    let error = impatient(&world).await.expect_err("cut");
    assert!(matches!(&error, ModelStoreError::Cut { received: 9_000, .. }), "{error}");
    let silent = || Fault::Silent(Duration::from_secs(2));
    world.hub.fail(VISION, [silent(), silent(), silent()]);
    let error = impatient(&world).await.expect_err("silent");
    assert!(error.to_string().contains("silent"), "{error}");
    world.hub.fail(VISION, [503, 429, 500].map(|status| Fault::Status(status, "")));
    let error = impatient(&world).await.expect_err("500");
    assert!(matches!(&error, ModelStoreError::Server { status: 500, tries: 3, .. }), "{error}");
    impatient(&world).await.expect("pulled at last");
    let starts = world.hub.starts(VISION);
    assert!(starts[1..].iter().all(|start| *start == 9_000), "{starts:?}");
}
