//! `pairwright models` against a server that plays a hub: real sockets, the real program.

#[path = "models_hub/hub.rs"]
mod hub;
#[path = "models_hub/world.rs"]
mod world;

use std::process::Stdio;
use std::time::{Duration, Instant};

use pairwright::hash::sha256_hex;
use pairwright::model::Precision;
use pairwright::model::catalog::Catalog;
use pairwright::model::store::{Hub, HubOptions, ModelStoreError, Store, Transfer};
use rand::RngExt;

use hub::{COMMIT, FakeHub, Fault, REPO};
use world::{Pins, TEXT, VISION, World, file, said};

const PULL: [&str; 3] = ["models", "pull", "tiny"];

#[test]
fn a_pulled_model_embeds_offline_and_by_name() {
    let world = World::new(Pins::All);
    world.says(&PULL, 0);
    let connections = world.hub.connections();
    let texts = world.path("texts.txt");
    fs_err::write(&texts, "a photo of a cat\na red car\n").expect("write");
    let out = world.path("vectors");
    let embed = ["--offline", "embed", "--model", "tiny", "--texts"];
    let arguments: Vec<&str> = embed
        .into_iter()
        .chain([texts.to_str().expect("text"), "--out", out.to_str().expect("text")])
        .collect();
    let said = world.says(&arguments, 0);
    assert!(said.contains("2 rows"), "{said}");
    assert!(
        world
            .says(&["models", "verify", "tiny"], 0)
            .contains("ok    tiny fp32  onnx/text_model.onnx")
    );
    assert!(world.says(&["models", "verify"], 0).contains("tokenizer.json"));
    assert!(
        world
            .says(&["models", "pull", "tiny", "--offline"], 0)
            .contains("0 files fetched, 6 were here")
    );
    let info = world.says(&["models", "info", world.cached("").to_str().expect("text")], 0);
    assert!(info.contains("model.toml") && info.contains(COMMIT), "{info}");
    assert_eq!(world.hub.connections(), connections, "someone asked the hub");
    let manifest = fs_err::read_to_string(world.cached("model.toml")).expect("written");
    assert!(
        manifest.contains("name = \"tiny\"") && manifest.contains("scale = 50.0"),
        "{manifest}"
    );
}

#[test]
fn offline_opens_no_socket_and_lists_what_is_missing() {
    let world = World::new(Pins::All);
    let said = world.says(&["--offline", "models", "pull", "tiny"], 2);
    for wanted in
        ["tokenizer.json", "onnx/vision_model.onnx (99.66 KiB)", "`pairwright models pull tiny`"]
    {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
    let embed = ["embed", "--model", "tiny", "--texts", "Cargo.toml", "--out", "/nowhere/x"];
    assert!(world.says(&embed, 2).contains("`pairwright models pull tiny`"));
    let fp16 = [&embed[..], &["--model-precision", "fp16"]].concat();
    assert!(world.says(&fp16, 2).contains("`pairwright models pull tiny --precision fp16`"));
    let q4 = [&embed[..], &["--model-precision", "q4"]].concat();
    assert!(world.says(&q4, 2).contains("it exists as fp32, fp16"));
    let add = ["--offline", "models", "add", "x", "--repo", REPO];
    assert!(world.says(&add, 2).contains("--offline"));
    assert_eq!(world.hub.connections(), 0, "someone asked the hub");
}

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
fn the_first_download_is_what_later_ones_must_be() {
    let world = World::new(Pins::None);
    world.says(&PULL, 0);
    fs_err::remove_file(world.cached("config.json")).expect("removed");
    fs_err::write(world.cached(TEXT), "damaged").expect("write");
    let said = world.says(&["models", "verify", "tiny"], 5);
    assert!(
        said.contains("config.json is missing") && said.contains("text_model.onnx has SHA-256"),
        "{said}"
    );
    world.hub.replace("config.json", b"{}".to_vec());
    let said = world.says(&PULL, 2);
    assert!(said.contains("the record of the first download says"), "{said}");
    world.hub.replace("config.json", file("config.json"));
    assert!(world.says(&PULL, 0).contains("2 files fetched, 4 were here"));
    world.says(&["models", "verify", "tiny"], 0);
    // The branch is not asked for again: its commit is known.
    assert!(world.hub.seen().iter().any(|one| one.path.contains(COMMIT)));
}

#[test]
fn a_catalog_that_changed_refuses_the_older_files() {
    let world = World::new(Pins::None);
    world.says(&PULL, 0);
    let text = fs_err::read_to_string(world.catalog()).expect("read");
    let pin = |hash: &str| format!("{{ path = \"config.json\", sha256 = \"{hash}\" }}");
    let pinned = text.replace("{ path = \"config.json\" }", &pin(&sha256_hex(b"{}")));
    fs_err::write(world.catalog(), pinned).expect("write");
    let embed = ["embed", "--model", "tiny", "--texts", "Cargo.toml", "--out", "/nowhere/x"];
    let said = world.says(&embed, 2);
    assert!(
        said.contains("config.json") && said.contains("`pairwright models pull tiny`"),
        "{said}"
    );
}

#[test]
fn answers_that_are_no_file_have_their_own_words() {
    for (fault, code, wanted) in [
        (Fault::Html("text/html; charset=utf-8"), 4, "a proxy or a login page"),
        (Fault::Html("application/octet-stream"), 2, "were expected"),
        (Fault::Status(403, ""), 4, "set HF_TOKEN"),
        (Fault::Status(404, "EntryNotFound"), 2, "no such file at this revision"),
        (Fault::Status(404, "RevisionNotFound"), 2, "no such revision"),
        (Fault::Status(404, "RepoNotFound"), 2, "no such repository"),
        (Fault::Status(410, ""), 4, "answered 410"),
    ] {
        let world = World::new(Pins::All);
        world.hub.fail(VISION, [fault.clone()]);
        let said = world.says(&PULL, code);
        assert!(said.contains(wanted) && said.contains(VISION), "{fault:?}: {said}");
        assert!(!world.cached(VISION).exists());
        world.says(&PULL, 0);
    }
    // A page that calls itself bytes is known by how it begins, where no hash could tell.
    let world = World::new(Pins::None);
    world.hub.fail("config.json", [Fault::Html("application/json")]);
    let said = world.says(&PULL, 4);
    assert!(said.contains("config.json") && said.contains("a proxy or a login page"), "{said}");
}

#[test]
fn the_token_goes_to_the_hub_and_nowhere_else() {
    let world = World::new(Pins::All);
    world.hub.demand("secret");
    assert!(world.says(&PULL, 4).contains("set HF_TOKEN"));
    let output = world.command(&PULL).env("HF_TOKEN", "secret").output().expect("starts");
    said(&output, 0);
    let seen = world.hub.seen();
    assert!(seen.iter().any(|one| one.at_store) && seen.iter().any(|one| one.authorised));
    assert!(!seen.iter().any(|one| one.at_store && one.authorised), "the store saw the token");
    // The token file of the hub's own tools.
    fs_err::remove_dir_all(world.cache()).expect("removed");
    fs_err::create_dir_all(world.path("hf-home")).expect("created");
    fs_err::write(world.path("hf-home/token"), "secret\n").expect("write");
    world.says(&PULL, 0);
}

#[test]
fn names_places_and_addresses_that_do_not_fit_are_refused() {
    let world = World::new(Pins::All);
    assert!(world.says(&["models", "pull", "tinny"], 2).contains("did you mean tiny"));
    assert!(world.says(&["models", "pull", "mini"], 2).contains("nothing to pull"));
    assert!(
        world.says(&["models", "pull", "tiny", "--precision", "int8"], 2).contains("fp32, fp16")
    );
    fs_err::write(world.path("file"), "").expect("write");
    let at = |variable: &str, value: &str| {
        said(&world.command(&PULL).env(variable, value).output().expect("starts"), 2)
    };
    let below_a_file = world.path("file/cache");
    let text = at("PAIRWRIGHT_MODELS", below_a_file.to_str().expect("text"));
    assert!(text.contains("cannot be written") && text.contains("PAIRWRIGHT_MODELS"), "{text}");
    assert!(at("HF_ENDPOINT", "ftp://hub").contains("HF_ENDPOINT=ftp://hub"));
    let lock = world.cached(".lock");
    fs_err::create_dir_all(world.cached("")).expect("created");
    let held = fs_err::File::create(lock).expect("created");
    held.file().lock().expect("locked");
    assert!(world.says(&PULL, 2).contains("another process"));
}

#[test]
fn a_repository_is_added_pinned_and_pulled() {
    let world = World::new(Pins::None);
    let said = world.says(&["models", "add", "mine", "--repo", REPO], 0);
    assert!(said.contains(&sha256_hex(&file(VISION))) && said.contains(COMMIT), "{said}");
    world.says(&["models", "pull", "mine"], 0);
    let list = world.run(&["models", "list", "--json"]);
    let list: serde_json::Value = serde_json::from_slice(&list.stdout).expect("JSON");
    let mine = list.as_array().expect("an array").iter().find(|one| one["name"] == "mine");
    let mine = mine.expect("known");
    assert_eq!((&mine["precisions"][0]["here"], &mine["license"]), (&true.into(), &"mit".into()));
    assert!(world.says(&["models", "list"], 0).contains("fp32* fp16"));
    assert!(world.says(&["models", "add", "mine", "--repo", REPO], 2).contains("already"));
    let dir = world.cached("").display().to_string().replace("tiny", "mine");
    world.says(&["models", "add", "here", "--dir", &dir], 0);
    assert!(world.says(&["models", "info", "here"], 0).contains(&dir));
    assert!(world.says(&["models", "verify", "here"], 0).starts_with("ok"));
    let text = fs_err::read_to_string(world.catalog()).expect("read");
    assert!(text.starts_with("# my own"), "the user's comment is gone");
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
    world.hub.fail(VISION, [Fault::Cut(9_000), Fault::Cut(0), Fault::Cut(0), Fault::Cut(0)]);
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

#[test]
fn the_bundled_model_travels_through_a_hub_with_its_own_manifest() {
    let mini = pairwright::model::store::local_folder("models/mini".as_ref());
    let names = ["model.toml", "vision.onnx", "text.onnx", "tokenizer.json", "text_mean.f32"];
    let read = |name: &str| fs_err::read(mini.join(name)).expect("the bundled model");
    let hub = FakeHub::start(names.map(|name| (name.to_owned(), read(name))));
    let mut world = World::new(Pins::None);
    world.hub = hub;
    world.says(&["models", "add", "own-mini", "--repo", REPO], 0);
    world.hub.fail("vision.onnx", [Fault::Cut(7_654_321)]);
    world.says(&["models", "pull", "own-mini"], 0);
    assert_eq!(world.hub.starts("vision.onnx").len(), 2);
    let folder = world.cache().join("own-mini/fp32");
    let open = |path: &std::path::Path| pairwright::model::ModelFolder::open(path).expect("opens");
    assert_eq!(open(&folder).hash, open(&mini).hash);
}
