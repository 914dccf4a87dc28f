//! `pairwright run` over datasets of a server that plays a hub.

use std::process::Output;

use crate::containers::{PAIRS, exported, places, samples};
use crate::support::run::{
    Llm, PHOTOS, World, assert_code, files, finish, pairwright, query, said,
};
use crate::support::stub_hub::{Files, StubHub, TOKEN};

/// A folder's name with what addresses write otherwise.
const ODD: &str = "Fotos, 100% #1 ä+b?";

struct Place {
    world: World,
    llm: Llm,
    hub: StubHub,
    // Dropped last: the hub runs in it.
    _runtime: tokio::runtime::Runtime,
}

impl Place {
    /// A hub with the photos as Parquet, as tars and as an ImageFolder, each in a branch.
    fn new() -> Self {
        let world = World::with_photos(&PHOTOS);
        let samples = samples(&world);
        places(&world, &samples);
        let read = |name: &str| fs_err::read(world.path(name)).expect("a file");
        let file = |name: &str, bytes: Vec<u8>| (name.to_owned(), bytes);
        let card = || file("README.md", b"---\nlicense: mit\n---\n# Photos\n".to_vec());
        let marks = || file(".gitattributes", b"*.parquet filter=lfs\n".to_vec());
        let main =
            [card(), marks(), file("data/train-00000-of-00001.parquet", read("all.parquet"))];
        let converted = [file("default/train/0000.parquet", read("all.parquet"))];
        let tars = ["0.tar", "1.tar"].map(|name| file(name, read(&format!("tars/{name}"))));
        let mut folder: Files = Files::from([card(), marks()]);
        for id in PHOTOS {
            let name = format!("photos/{id}.jpg");
            folder.insert(format!("{ODD}/{id}.jpg"), read(&name));
        }
        let row = |line: &str| {
            let mut row: serde_json::Value = serde_json::from_str(line).expect("JSON");
            let name = row["image"].as_str().expect("a name").rsplit('/').next().expect("a name");
            row["file_name"] = name.to_owned().into();
            row.as_object_mut().expect("an object").remove("image");
            format!("{row}\n")
        };
        let rows = String::from_utf8(read("rows.jsonl")).expect("UTF-8");
        let rows: String = rows.lines().map(row).collect();
        folder.insert(format!("{ODD}/metadata.jsonl"), rows.into_bytes());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let hub = runtime.block_on(StubHub::start());
        hub.hub().branches.extend([
            ("main".to_owned(), Files::from(main)),
            ("refs/convert/parquet".to_owned(), Files::from(converted)),
            ("v1".to_owned(), Files::from(tars)),
            ("folder".to_owned(), folder),
        ]);
        Self { world, llm: Llm::default(), hub, _runtime: runtime }
    }

    fn run(&self, source: &str, out: &str, token: &str, more: &[&str]) -> Output {
        let mut command =
            self.world.command_over(source.as_ref(), &self.world.path(out), &self.llm.target());
        command.args(more).env("HF_ENDPOINT", &self.hub.url).env("HF_TOKEN", token);
        command.env("HF_HOME", self.world.path("home")).env_remove("HF_TOKEN_PATH");
        finish(&mut command)
    }
}

#[test]
fn datasets_of_a_hub_give_the_same_pairs_as_a_disk() {
    let place = Place::new();
    assert_code(&place.world.run("local", &place.llm), 0);
    let local = place.world.path("local");
    let (pairs, rows) = (query(&local, PAIRS), exported(&local));
    for (at, source) in
        ["", "/data", "@~parquet", "@v1/{0..1}.tar", "@v1", "@folder"].iter().enumerate()
    {
        let (source, out) = (format!("hf://datasets/me/photos{source}"), format!("out{at}"));
        place.hub.hub().listing_hiccups = 1;
        let output = place.run(&source, &out, TOKEN, &[]);
        assert_code(&output, 0);
        let folder = place.world.path(&out);
        assert_eq!(query(&folder, "SELECT * FROM rejections"), [""; 0], "{source}");
        assert_eq!(query(&folder, PAIRS), pairs, "{source}");
        assert_eq!(exported(&folder), rows, "{source}");
        assert!(!said(&output).contains(TOKEN), "{}", said(&output));
        for (name, bytes) in files(&folder) {
            let told = bytes.windows(TOKEN.len()).any(|part| part == TOKEN.as_bytes());
            assert!(!told, "{name} holds the token");
        }
        let distinct = place.llm.distinct();
        assert_code(&place.run(&source, &out, TOKEN, &[]), 0);
        assert_eq!((place.llm.distinct(), exported(&folder)), (distinct, rows.clone()), "{source}");
    }
    let seen = place.hub.hub().seen.clone();
    assert!(seen.iter().any(|one| one.starts_with("GET /content/")), "large files lie elsewhere");
    let mut verify = pairwright(&["verify", "--out"]);
    verify.arg(place.world.path("out0")).env("HF_ENDPOINT", &place.hub.url).env("HF_TOKEN", TOKEN);
    let verified = said(&finish(&mut verify));
    let hashes = format!("the photos of {} samples have their recorded hash", PHOTOS.len());
    assert!(verified.contains(&format!("ok    {hashes}")), "{verified}");
}

#[test]
fn what_a_hub_refuses_is_said_with_what_to_do() {
    let place = Place::new();
    let told = |source: &str, token: &str, more: &[&str]| {
        let output = place.run(source, "out", token, more);
        let told = said(&output).split_whitespace().collect::<Vec<_>>().join(" ");
        (output.status.code().expect("a code"), told)
    };
    let (code, words) = told("hf://datasets/me/photos", "", &[]);
    assert!(code == 4 && words.contains("HF_TOKEN is not set"), "{code}: {words}");
    let (code, words) = told("hf://datasets/me/photos", "hf_wrong", &[]);
    assert!(code == 4 && words.contains("status 401"), "{code}: {words}");
    assert!(!words.contains("hf_wrong"), "{words}");
    let (code, words) = told("hf://datasets/me/photos@v9", TOKEN, &[]);
    assert!(code == 2 && words.contains("photos@v9"), "{code}: {words}");
    let (code, words) = told("hf://me/photos", TOKEN, &[]);
    assert!(code == 2 && words.contains("hf://datasets/OWNER/NAME"), "{code}: {words}");
    let seen = place.hub.hub().seen.len();
    let (_, words) = told("hf://datasets/me/photos", TOKEN, &["--offline"]);
    assert!(words.contains("--offline"), "{words}");
    assert_eq!(place.hub.hub().seen.len(), seen, "no hub is asked");
}
