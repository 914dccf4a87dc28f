//! `pairwright models` against a server that plays a hub: real sockets, the real program.

mod hub;
mod transfer;
mod world;

use std::path::Path;

use pairwright::base::hash::sha256_hex;

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
    let verified = world.says(&["models", "verify"], 0);
    assert!(verified.contains("tokenizer.json"), "{verified}");
    assert!(verified.contains("ok    tiny fp32  both graphs open"), "{verified}");
    assert!(world.says(&["models", "info", "tiny"], 0).contains("opens (fp32)    yes, on cpu"));
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

/// A sentence embedder of fastembed's comes the same way as the others: by name, at the hub that
/// is set, held to its hashes, and not at all with `--offline`.
#[test]
fn a_sentence_embedder_is_pulled_held_to_its_hashes_and_used_offline() {
    let world = World::new(Pins::None);
    let mini = |name: &str| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/mini");
        fs_err::read(folder.join(name)).expect("the bundled model")
    };
    world.hub.replace("onnx/model.onnx", mini("text.onnx"));
    world.hub.replace("tokenizer.json", mini("tokenizer.json"));
    world.hub.replace("config.json", br#"{"pad_token_id": 0}"#.to_vec());
    world.hub.replace("special_tokens_map.json", br#"{"pad_token": "[PAD]"}"#.to_vec());
    let settings = br#"{"model_max_length": 128, "pad_token": "[PAD]"}"#;
    world.hub.replace("tokenizer_config.json", settings.to_vec());
    let (texts, out) = (world.path("texts.txt"), world.path("vectors"));
    fs_err::write(&texts, "a photo of a cat\na red car\n").expect("write");
    let [texts, out] = [&texts, &out].map(|path| path.to_str().expect("text"));
    let embed = ["--offline", "embed", "--text-model", "BGESmallENV15", "--texts", texts];
    let embed = [&embed[..], &["--out", out]].concat();
    let said = world.says(&embed, 2);
    assert!(said.contains("`pairwright models pull BGESmallENV15`"), "{said}");
    assert_eq!(world.hub.connections(), 0, "someone asked the hub");
    let said = world.says(&["models", "pull", "BGESmallENV15"], 0);
    assert!(said.contains("5 files fetched") && said.contains("--text-model"), "{said}");
    let connections = world.hub.connections();
    let said = world.says(&embed, 0);
    assert!(said.contains("2 rows"), "{said}");
    world.says(&["models", "verify", "BGESmallENV15"], 0);
    assert_eq!(world.hub.connections(), connections, "someone asked the hub");
    let config = world.cache().join("BGESmallENV15/fp32/config.json");
    fs_err::write(&config, br#"{"pad_token_id": 1}"#).expect("write");
    let said = world.says(&embed, 2);
    assert!(said.contains("config.json has SHA-256"), "{said}");
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
        (Fault::Html("application/octet-stream"), 4, "a proxy or a login page"),
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
