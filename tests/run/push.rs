//! Pushing an export to a server that plays a hub.

use std::path::PathBuf;
use std::time::Duration;

use pairwright::base::hub::HubOptions;
use pairwright::dataset::store::Store;
use pairwright::run::push::{PushOptions, push};
use pairwright::{Failure, run::store_path};

use crate::support::run::{Llm, World, assert_code, files, finish, pairwright, said};
use crate::support::stub_hub::{StubHub, TOKEN};

/// A finished run and a hub.
struct Place {
    world: World,
    hub: StubHub,
    // Dropped last: the hub runs in it.
    runtime: tokio::runtime::Runtime,
}

impl Place {
    fn new(export: &str) -> Self {
        let world = World::with_photos(&["coffee-cup", "moose", "raccoon"]);
        world.configure(export);
        let llm = Llm::default();
        assert_code(&world.run("out", &llm), 0);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let hub = runtime.block_on(StubHub::start());
        Self { world, hub, runtime }
    }

    fn out(&self) -> PathBuf {
        self.world.path("out")
    }

    fn folder(&self, format: &str) -> PathBuf {
        self.out().join("dataset").join(format)
    }

    /// What a push tells, or its error's code and words. Quick about what fails.
    fn push(&self, options: &PushOptions) -> Result<String, (&'static str, String)> {
        let hub = HubOptions {
            endpoint: self.hub.url.clone(),
            token: Some(TOKEN.into()),
            timeout: Duration::from_secs(20),
            first_wait: Duration::from_millis(2),
            tries: 3,
        };
        let exports = Store::open(&store_path(&self.out())).and_then(|store| store.exports());
        let exports = exports.expect("exports");
        let pushed = self.runtime.block_on(push(&exports, options, hub));
        pushed.map(|one| one.to_string()).map_err(|error| (error.code(), error.to_string()))
    }
}

fn options(format: Option<&str>) -> PushOptions {
    PushOptions {
        repo: "me/photos".into(),
        format: format.map(|name| name.parse().expect("a format")),
        revision: "main".into(),
        ..PushOptions::default()
    }
}

#[test]
fn a_push_that_breaks_off_leaves_the_hub_as_it_was_and_goes_on() {
    let place = Place::new("export.formats = [\"llava\", \"swift\"]\n");
    let dry_run = PushOptions { dry_run: true, ..options(None) };
    let told = place.push(&dry_run).expect("the files are right");
    assert!(told.contains("would push 7 files of `swift`"), "{told}");
    assert!(place.hub.hub().seen.is_empty(), "nothing is asked");

    place.hub.hub().uploads_left = Some(1);
    let (code, told) = place.push(&options(None)).expect_err("the hub is gone");
    assert_eq!(code, "push_broken_off");
    assert!(told.contains("the same command goes on"), "{told}");
    let before = {
        let mut hub = place.hub.hub();
        assert_eq!((hub.objects.len(), hub.commits.len(), hub.branches["main"].len()), (1, 0, 0));
        (hub.uploads_left, hub.hiccups) = (None, 1);
        hub.puts()
    };
    let titled = PushOptions { message: Some("three photos".into()), ..options(None) };
    let told = place.push(&titled).expect("the hub is back");
    assert!(told.contains("commit c1") && told.contains("sent      2 large files"), "{told}");
    {
        let hub = place.hub.hub();
        assert_eq!(hub.puts() - before, 3, "one of the two was tried again");
        assert_eq!(hub.branches["main"], files(&place.folder("swift")));
        assert_eq!(hub.commits[0]["value"]["summary"], "three photos");
    }
    let told = place.push(&options(None)).expect("nothing to do");
    assert!(told.contains("has these 7 files") && told.contains("already"), "{told}");
    assert_eq!(place.hub.hub().commits.len(), 1);
}

#[test]
fn a_commit_whose_answer_is_lost_is_looked_for() {
    let place = Place::new("export.formats = [\"swift\"]\n");
    place.hub.hub().commit_fault = Some(false);
    let (code, told) = place.push(&options(None)).expect_err("no answer");
    assert_eq!(code, "push_unclear");
    assert!(told.contains("may or may not have been changed"), "{told}");
    place.hub.hub().commit_fault = Some(true);
    let told = place.push(&options(None)).expect("the commit stands");
    assert!(told.contains("already"), "{told}");
    assert_eq!(place.hub.hub().branches["main"], files(&place.folder("swift")));
}

#[test]
fn a_later_push_removes_what_the_earlier_one_put_there_and_nothing_else() {
    let place = Place::new("export.formats = [\"webdataset\", \"trl\"]\n");
    let (code, told) = place.push(&options(None)).expect_err("which one?");
    assert_eq!(code, "push_no_export");
    assert!(told.contains("--format trl|webdataset"), "{told}");
    place.hub.hub().part_size = Some(50_000);
    let to_branch = |format| PushOptions { revision: "v1".into(), ..options(Some(format)) };
    place.push(&to_branch("trl")).expect("pushed");
    let own = ("notes.txt".to_owned(), b"mine".to_vec());
    {
        let mut hub = place.hub.hub();
        assert!(hub.puts() > 1 && hub.branches["main"].is_empty(), "in parts, to a branch");
        assert_eq!(hub.branches["v1"], files(&place.folder("trl")));
        hub.branches.get_mut("v1").expect("pushed").extend([own.clone()]);
    }
    let told = place.push(&to_branch("webdataset")).expect("pushed");
    assert!(told.contains("removed   data/train-00000.parquet"), "{told}");
    let mut expected = files(&place.folder("webdataset"));
    expected.extend([own]);
    assert_eq!(place.hub.hub().branches["v1"], expected);
}

#[test]
fn what_cannot_be_pushed_is_said_before_anything_is_sent() {
    let place = Place::new("export.formats = [\"llava\", \"parquet_images\"]\n");
    let command = |token: &str, more: &[&str]| {
        let mut command = pairwright(&["push", "--to", "me/photos", "--out"]);
        command.arg(place.out()).args(more).env("HF_ENDPOINT", &place.hub.url);
        command.env("HF_TOKEN", token).env("PAIRWRIGHT_LOG", "debug");
        command.env("HF_HOME", place.world.path("home")).env_remove("HF_TOKEN_PATH");
        finish(&mut command)
    };
    let refused = command("hf_wrong", &[]);
    assert_code(&refused, 4);
    let told = said(&refused);
    assert!(told.contains("401") && !told.contains("hf_wrong"), "{told}");
    let told = said(&command("", &[]));
    assert!(told.contains("no token: set HF_TOKEN"), "{told}");
    let told = said(&command(TOKEN, &["--format", "llava"]));
    assert!(told.contains("set export.photos to `copy`"), "{told}");
    let told = said(&command(TOKEN, &["--format", "trl"]));
    assert!(told.contains("the run has no export `trl`"), "{told}");
    let told = said(&command(TOKEN, &["--revision", "a/../b"]));
    assert!(told.contains("a branch's name"), "{told}");
    let (code, _) = place
        .push(&PushOptions { repo: "../x/y".into(), ..options(None) })
        .expect_err("no such name");
    assert_eq!(code, "push_name");

    let data = place.folder("parquet_images").join("data/train-00000.parquet");
    let bytes = fs_err::read(&data).expect("an export");
    fs_err::write(&data, b"damaged").expect("written");
    let told = said(&command(TOKEN, &[]));
    assert!(told.contains("train-00000.parquet: it is not as it was written"), "{told}");
    assert!(place.hub.hub().commits.is_empty() && place.hub.hub().objects.is_empty());
    fs_err::write(&data, bytes).expect("written");
    let pushed = command(TOKEN, &["--private"]);
    assert_code(&pushed, 0);
    assert!(!said(&pushed).contains(TOKEN), "a token in {}", said(&pushed));
    assert_eq!(place.hub.hub().branches["main"], files(&place.folder("parquet_images")));
}
