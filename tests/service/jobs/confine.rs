//! A job in the service reads nothing outside the image roots.

use std::os::unix::fs::symlink;
use std::sync::Arc;

use pairwright::ErrorKind;
use pairwright::jobs::{JobManager, JobState, ManagerOptions};
use pairwright::run::Resources;
use pairwright::sandbox::{FileAccess, ImageRoots};
use serde_json::json;

use super::server::{Server, answering, backend, config, matching, shared};
use crate::support::run::{Llm, PHOTOS};

const REFUSED: &str = "SELECT stage, code, subject FROM rejections ORDER BY 1, 2, 3";

/// A manager that may read below the source's folder only.
fn confined(server: &Server) -> JobManager {
    server.open(resources(server), ManagerOptions::default())
}

fn resources(server: &Server) -> Resources {
    let roots = ImageRoots::open(&[server.world.source()]).expect("a folder");
    Resources { access: FileAccess::Below(Arc::new(roots)), ..shared() }
}

#[test]
fn rows_of_a_manifest_that_lead_out_are_refused_one_by_one() {
    let server = Server::new(&PHOTOS);
    server.world.add_photo("moose", "outside");
    for ending in ["jpg", "txt"] {
        let path = |folder: &str| server.world.path(&format!("{folder}outside.{ending}"));
        fs_err::rename(path("photos/"), path("")).expect("rename");
    }
    let outside = server.world.path("outside.jpg");
    symlink(&outside, server.world.path("photos/link.jpg")).expect("link");
    symlink("../outside.jpg", server.world.path("photos/way-up.jpg")).expect("link");
    symlink("moose.jpg", server.world.path("photos/inside.jpg")).expect("link");
    let inside = server.world.path("photos/raccoon.jpg");
    let rows = [
        ("good", "coffee-cup.jpg"),
        ("good-absolute", inside.to_str().expect("UTF-8")),
        ("good-link", "inside.jpg"),
        ("bad-absolute", outside.to_str().expect("UTF-8")),
        ("bad-climbing", "../outside.jpg"),
        ("bad-link", "link.jpg"),
        ("bad-link-up", "way-up.jpg"),
        ("bad-passwd", "/etc/passwd"),
        ("bad-nothing", "/etc/there/is/no/such/file"),
        ("missing", "nothing.jpg"),
    ];
    let line = |(id, image): (&str, &str)| {
        json!({"id": id, "image": image, "caption": format!("This is {id}.")}).to_string() + "\n"
    };
    server.world.write("photos/rows.jsonl", rows.map(line).concat());
    let llm = Llm::default();
    let more =
        format!("[llm]\ntarget = \"openai:{}\"\nmodel = \"stub-model\"\n", llm.stub.base_url);
    let config = config(&server.world.path("photos/rows.jsonl"), &more);
    let manager = server.open(
        Resources { backend: Some(backend(&config)), ..resources(&server) },
        ManagerOptions::default(),
    );
    let end = server.succeed(&manager, answering("rows", config));
    let outside =
        ["bad-absolute", "bad-climbing", "bad-link", "bad-link-up", "bad-nothing", "bad-passwd"];
    let mut expected = vec!["image | missing_image | missing".to_owned()];
    expected.extend(outside.map(|id| format!("image | path_outside_root | {id}")));
    assert_eq!(server.query("rows", REFUSED), expected);
    let counted = end.progress.rejected.iter().find(|one| one.code == "path_outside_root");
    assert_eq!(counted.map(|one| one.count), Some(6));
    let summary = end.summary.expect("it succeeded");
    assert_eq!((summary.photos, summary.photos_refused), (3, 7));
    assert_eq!(summary.answers_accepted, 3);
    let stamps = server.query("rows", "SELECT id FROM items WHERE stamp = '' ORDER BY 1");
    assert_eq!(stamps.len(), 7, "not even sizes were asked for outside: {stamps:?}");
    server.close(manager);
}

#[test]
fn links_of_a_folder_that_lead_out_are_refused_one_by_one() {
    let server = Server::new(&PHOTOS);
    fs_err::create_dir(server.world.path("away")).expect("create");
    let moose = server.world.path("photos/moose.jpg");
    fs_err::copy(&moose, server.world.path("away/photo.jpg")).expect("copy");
    server.world.write("away/photo.txt", "A secret.");
    let link = |target: &str, name: &str| {
        symlink(target, server.world.path(&format!("photos/{name}"))).expect("link");
    };
    link("../away", "folder");
    link("../away/photo.jpg", "linked.jpg");
    server.world.write("photos/linked.txt", "Text of a photo outside.");
    fs_err::copy(&moose, server.world.path("photos/quiet.jpg")).expect("copy");
    link("../away/photo.txt", "quiet.txt");
    let manager = confined(&server);
    let end = server.succeed(&manager, matching("links", server.config("")));
    let refused = server.query("links", REFUSED);
    let outside: Vec<_> = refused.iter().filter(|one| one.contains("path_outside_root")).collect();
    let named = ["folder", "linked.jpg", "quiet.txt"];
    assert_eq!(
        outside,
        named.map(|name| format!("source | path_outside_root | {name}")).each_ref()
    );
    assert_eq!(end.summary.expect("it succeeded").photos, PHOTOS.len() as u64);
    let texts = server.query("links", "SELECT description FROM items");
    assert!(!texts.iter().any(|text| text.contains("secret")), "{texts:?}");
    server.close(manager);
}

#[test]
fn a_source_outside_fails_the_job_and_says_no_more() {
    let server = Server::new(&PHOTOS);
    server.world.write("rows.jsonl", "{}\n");
    let manager = confined(&server);
    let (there, nowhere) = (server.world.path("rows.jsonl"), server.world.path("nothing.jsonl"));
    for (run, path) in [("there", there), ("nowhere", nowhere)] {
        let job =
            server.block(manager.submit(matching(run, config(&path, "")), None)).expect("queued");
        let end = server.end(&manager, &job.id);
        assert_eq!(end.state, JobState::Failed);
        let failure = end.failure.expect("it failed");
        assert_eq!(
            (failure.code.as_str(), failure.kind),
            ("path_outside_root", ErrorKind::PermissionDenied)
        );
        let text = format!("{} does not lie below an image root", path.display());
        assert_eq!(failure.message, text);
    }
    // The same source by a path relative to its root.
    let end = server.succeed(&manager, matching("relative", config(".".as_ref(), "")));
    assert_eq!(end.summary.expect("it succeeded").photos, PHOTOS.len() as u64);
    server.close(manager);
}
