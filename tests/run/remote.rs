//! `pairwright run` over photos on a web server that fails in all the ways in which storages do.

use std::path::Path;
use std::process::Output;

use crate::containers::{PAIRS, exported, places, samples};
use crate::support::run::{
    Llm, PHOTOS, World, assert_code, files, finish, pairwright, query, said,
};
use crate::support::stub_store::{StubStore, Trouble};

/// A signature, which must not be seen anywhere.
const SECRET: &str = "X-Signature=q7x9unseen";

struct Remote {
    world: World,
    llm: Llm,
    store: StubStore,
}

impl Remote {
    fn new() -> Self {
        let world = World::with_photos(&PHOTOS);
        let samples = samples(&world);
        places(&world, &samples);
        let store = StubStore::of(&world.path(""));
        Self { world, llm: Llm::default(), store }
    }

    fn run(&self, source: &Path, out: &str) -> Output {
        let mut command =
            self.world.command_over(source, &self.world.path(out), &self.llm.target());
        finish(command.env("PAIRWRIGHT_HTTP_QUERY", SECRET))
    }

    fn over(&self, name: &str, out: &str) -> Output {
        self.run(&self.store.url(name), out)
    }

    fn rejections(&self, out: &str) -> Vec<String> {
        query(&self.world.path(out), "SELECT code FROM rejections ORDER BY code")
    }
}

fn assert_hidden(out: &Path, output: &Output) {
    assert!(!said(output).contains("q7x9"), "{}", said(output));
    for (name, bytes) in files(out) {
        let hides = !bytes.windows(4).any(|part| part == b"q7x9");
        assert!(hides, "{name} holds the signature");
    }
}

#[test]
fn photos_on_a_web_server_give_the_same_pairs_as_on_a_disk() {
    let remote = Remote::new();
    assert_code(&remote.world.run("local", &remote.llm), 0);
    let local = remote.world.path("local");
    let (pairs, rows) = (query(&local, PAIRS), exported(&local));
    let names = [
        "rows.jsonl",
        "coco.json",
        "tars/{0..1}.tar",
        "all.tar.gz",
        "all.parquet",
        "disk/data-0.arrow",
    ];
    for (at, name) in names.into_iter().enumerate() {
        let out = format!("out{at}");
        let output = remote.over(name, &out);
        assert_code(&output, 0);
        let folder = remote.world.path(&out);
        assert_eq!(query(&folder, "SELECT * FROM rejections"), [""; 0], "{name}");
        assert_eq!(query(&folder, PAIRS), pairs, "{name}");
        assert_eq!(exported(&folder), rows, "{name}");
        assert_hidden(&folder, &output);
        let asked = remote.store.asked();
        assert!(asked.iter().all(|line| line.contains(SECRET)), "{asked:?}");
        let distinct = remote.llm.distinct();
        assert_code(&remote.over(name, &out), 0);
        assert_eq!((remote.llm.distinct(), exported(&folder)), (distinct, rows.clone()), "{name}");
        let mut verify = pairwright(&["verify", "--out"]);
        let verified = finish(verify.arg(&folder).env("PAIRWRIGHT_HTTP_QUERY", SECRET));
        let hashes = format!("the photos of {} samples have their recorded hash", PHOTOS.len());
        assert!(said(&verified).contains(&format!("ok    {hashes}")), "{}", said(&verified));
    }
}

#[test]
fn what_a_server_fails_is_tried_again_and_gone_on_with() {
    let remote = Remote::new();
    assert_code(&remote.over("all.parquet", "whole"), 0);
    let rows = exported(&remote.world.path("whole"));
    remote.store.trouble("all.parquet", Some(Trouble::Busy(2)));
    assert_code(&remote.over("all.parquet", "busy"), 0);
    assert_eq!(exported(&remote.world.path("busy")), rows);
    remote.store.asked();
    remote.store.trouble("tars/0.tar", Some(Trouble::Half(2)));
    assert_code(&remote.over("tars/{0..1}.tar", "half"), 0);
    assert_eq!(exported(&remote.world.path("half")), rows);
    // The first stretch is asked for whole, then its second half.
    let asked = remote.store.asked();
    let ranges = ["bytes=0-16383", "bytes=8192-16383", "bytes=12288-16383"];
    for range in ranges {
        assert!(asked.iter().any(|line| line.ends_with(range)), "{range}: {asked:?}");
    }
}

#[test]
fn every_trouble_has_its_own_message_and_the_next_run_goes_on() {
    let remote = Remote::new();
    assert_code(&remote.over("all.tar.gz", "whole"), 0);
    let rows = exported(&remote.world.path("whole"));
    let troubles = [
        (Trouble::Status(403), "the server refused the credentials or the rights (status 403)"),
        (Trouble::Status(404), "no such source"),
        (Trouble::Expired, "has expired (status 403, AccessDenied Expired)"),
        (Trouble::NoRanges, "does not serve parts of files"),
        (Trouble::Changing, "was changed while it was read"),
    ];
    for (at, (trouble, words)) in troubles.into_iter().enumerate() {
        for name in ["all.tar.gz", "all.parquet", "rows.jsonl"] {
            let out = format!("out{at}-{name}");
            remote.store.trouble(name, Some(trouble));
            let output = remote.over(name, &out);
            assert_ne!(output.status.code(), Some(0), "{trouble:?} {name}");
            let told = said(&output).split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(told.contains(words), "{trouble:?} {name}: {told}");
            assert!(told.contains(&format!("{}/{name}", remote.store.address())), "{told}");
            assert_hidden(&remote.world.path(&out), &output);
            remote.store.trouble(name, None);
            assert_code(&remote.over(name, &out), 0);
            assert_eq!(exported(&remote.world.path(&out)), rows, "{trouble:?} {name}");
        }
    }
}

#[test]
fn a_photo_that_cannot_be_had_costs_itself_and_is_found_by_a_later_run() {
    let remote = Remote::new();
    let photo = |at: usize| format!("photos/{}.jpg", PHOTOS[at]);
    remote.store.trouble(&photo(0), Some(Trouble::Status(403)));
    remote.store.trouble(&photo(1), Some(Trouble::Status(404)));
    assert_code(&remote.over("rows.jsonl", "out"), 0);
    assert_eq!(remote.rejections("out"), ["missing_image", "remote_denied"]);
    remote.store.trouble(&photo(0), None);
    remote.store.trouble(&photo(1), None);
    assert_code(&remote.over("rows.jsonl", "out"), 0);
    assert_eq!(remote.rejections("out"), [""; 0]);
    // A signature that ends meanwhile is no fault of any photo.
    remote.store.trouble(&photo(2), Some(Trouble::Expired));
    let output = remote.over("rows.jsonl", "new");
    assert_ne!(output.status.code(), Some(0));
    assert!(said(&output).contains("expired"), "{}", said(&output));
    remote.store.trouble(&photo(2), None);
    assert_code(&remote.over("rows.jsonl", "new"), 0);
    assert_eq!(remote.rejections("new"), [""; 0]);
}

#[test]
fn an_address_with_a_secret_is_refused_without_repeating_it() {
    let remote = Remote::new();
    let address = remote.store.address();
    let user = format!("{}/all.parquet", address.replace("http://", "http://me:q7x9@"));
    for source in [user, format!("{address}/all.parquet?signature=q7x9")] {
        let output = remote.run(Path::new(&source), "out");
        assert_ne!(output.status.code(), Some(0));
        assert!(said(&output).contains("must not hold a"), "{}", said(&output));
        assert!(!said(&output).contains("q7x9"), "{}", said(&output));
        if remote.world.path("out").exists() {
            assert_hidden(&remote.world.path("out"), &output);
        }
    }
    assert_eq!(remote.store.asked(), [""; 0]);
}
