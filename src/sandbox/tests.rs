use crate::base::failure::Failure;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::*;

/// `data/` is the root, `outside/` lies beside it.
struct World {
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let world = Self { folder: tempfile::tempdir().expect("temp dir") };
        for (name, text) in
            [("data/a.txt", "a"), ("data/sub/b.txt", "b"), ("outside/secret.txt", "secret")]
        {
            let path = world.path(name);
            fs_err::create_dir_all(path.parent().expect("has one")).expect("create");
            fs_err::write(path, text).expect("write");
        }
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn roots(&self) -> ImageRoots {
        ImageRoots::open(&[self.path("data")]).expect("a folder")
    }

    fn link(&self, target: impl AsRef<Path>, name: &str) {
        std::os::unix::fs::symlink(target, self.path(name)).expect("a link");
    }
}

fn read(roots: &ImageRoots, path: impl AsRef<Path>) -> Result<String, &'static str> {
    match roots.read(path.as_ref(), 100) {
        Ok(bytes) => Ok(String::from_utf8(bytes).expect("text")),
        Err(error) => Err(error.code()),
    }
}

#[test]
fn files_below_a_root_are_read_by_both_forms_of_path() {
    let world = World::new();
    world.link("../a.txt", "data/sub/up.txt");
    world.link("data", "alias");
    let roots = world.roots();
    assert_eq!(read(&roots, "a.txt"), Ok("a".into()));
    assert_eq!(read(&roots, "./sub/b.txt"), Ok("b".into()));
    assert_eq!(read(&roots, world.path("data/sub/b.txt")), Ok("b".into()));
    assert_eq!(read(&roots, "sub/up.txt"), Ok("a".into()), "a link that stays inside");
    let alias = ImageRoots::open(&[world.path("alias")]).expect("a folder");
    assert_eq!(read(&alias, world.path("alias/a.txt")), Ok("a".into()));
    assert_eq!(read(&alias, world.path("data/a.txt")), Ok("a".into()), "by its real path");
    let resolved = alias.resolve(Path::new("sub/b.txt")).expect("there");
    assert_eq!(resolved, world.path("alias/sub/b.txt"));
}

#[test]
fn nothing_outside_is_read_and_nothing_is_told_of_it() {
    let world = World::new();
    world.link(world.path("outside/secret.txt"), "data/absolute.txt");
    world.link("../outside/secret.txt", "data/relative.txt");
    world.link("../outside/nothing.txt", "data/dangling.txt");
    world.link("../outside", "data/folder");
    world.link(world.path("data/a.txt"), "data/back.txt");
    let roots = world.roots();
    let outside = [
        PathBuf::from("/etc/passwd"),
        world.path("outside/secret.txt"),
        world.path("outside/nothing.txt"),
        world.path("data/../outside/secret.txt"),
        world.path("data-like/a.txt"),
        "../outside/secret.txt".into(),
        "sub/../../outside/secret.txt".into(),
        "absolute.txt".into(),
        "relative.txt".into(),
        "dangling.txt".into(),
        "folder/secret.txt".into(),
        "folder/nothing.txt".into(),
        "back.txt".into(),
    ];
    for path in outside {
        let error = roots.read(&path, 100).expect_err("refused");
        assert_eq!(error.code(), "path_outside_root", "{}", path.display());
        let text = format!("{} does not lie below an image root", path.display());
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn only_regular_files_are_opened_and_a_pipe_does_not_wait() {
    let world = World::new();
    let made = std::process::Command::new("mkfifo").arg(world.path("data/pipe.jpg")).status();
    assert!(made.is_ok_and(|status| status.success()), "mkfifo is there");
    world.link("pipe.jpg", "data/link.jpg");
    let roots = world.roots();
    for name in ["pipe.jpg", "link.jpg", "sub", ""] {
        assert_eq!(read(&roots, name), Err("not_a_file"), "{name:?}");
    }
    assert_eq!(read(&roots, "missing.jpg"), Err("file_not_found"));
    assert_eq!(read(&roots, "a.txt/more"), Err("file_not_found"));
    let error = roots.read(Path::new("a.txt"), 0).expect_err("one byte");
    assert_eq!(error.code(), "file_too_large");
}

#[test]
fn the_first_root_that_has_it_answers() {
    let world = World::new();
    fs_err::create_dir_all(world.path("second/sub")).expect("create");
    fs_err::write(world.path("second/a.txt"), "second a").expect("write");
    fs_err::write(world.path("second/only.txt"), "only").expect("write");
    let both = [world.path("data"), world.path("second")];
    let roots = ImageRoots::open(&both).expect("folders");
    assert_eq!(read(&roots, "a.txt"), Ok("a".into()));
    assert_eq!(read(&roots, "only.txt"), Ok("only".into()));
    assert_eq!(read(&roots, world.path("second/a.txt")), Ok("second a".into()));
    let none = ImageRoots::open(&[]).expect("none is allowed");
    assert_eq!(read(&none, "a.txt"), Err("no_image_roots"));
    let wrong = ImageRoots::open(&[world.path("data/a.txt")]).expect_err("a file");
    assert_eq!(wrong.code(), "image_root_unusable");
}

#[test]
fn a_listing_shows_which_links_lead_out() {
    let world = World::new();
    world.link("../outside", "data/away");
    world.link("sub", "data/inside");
    world.link("nothing", "data/broken");
    let access = FileAccess::Below(Arc::new(world.roots()));
    let entries = access.list(&world.path("data")).expect("a folder");
    let shown: Vec<_> = entries
        .iter()
        .map(|entry| {
            let kind = match &entry.kind {
                Ok(kind) => format!("{kind:?}"),
                Err(error) => error.code().to_owned(),
            };
            format!("{} {kind}", entry.name.to_string_lossy())
        })
        .collect();
    let expected = [
        "a.txt File",
        "away path_outside_root",
        "broken file_not_found",
        "inside Folder",
        "sub Folder",
    ];
    assert_eq!(shown, expected);
    let real = |name: &str| access.real_path(&world.path(name)).expect("there");
    assert_eq!(real("data/inside"), real("data/sub"));
    let outside = access.list(&world.path("outside")).expect_err("outside");
    assert_eq!(outside.code(), "path_outside_root");
}

#[test]
fn names_that_no_file_can_bear_do_not_exist() {
    let world = World::new();
    world.link("round.txt", "data/round.txt");
    let roots = world.roots();
    let long = "x".repeat(300);
    for path in ["a\0b.txt", "\n\0\0\0.", &long, "round.txt"] {
        let reading = roots.read(path.as_ref(), 100).expect_err("no such file");
        let resolving = roots.resolve(path.as_ref()).expect_err("no such file");
        for error in [reading, resolving] {
            assert!(error.kind() != crate::ErrorKind::Internal, "{path:?}: {error:?}");
        }
    }
}

#[test]
fn remote_addresses_are_not_read_below_roots() {
    let world = World::new();
    let access = FileAccess::Below(Arc::new(world.roots()));
    for address in
        ["s3://bucket/a.tar", "https://user:word@host/a", "http://127.0.0.1:1/a", "gs://b"]
    {
        let path = Path::new(address);
        let refused = [
            access.open(path).map(|_| ()).expect_err("refused"),
            access.facts(path).map(|_| ()).expect_err("refused"),
            access.list(path).map(|_| ()).expect_err("refused"),
            access.real_path(path).map(|_| ()).expect_err("refused"),
            access.resolve(path).map(|_| ()).expect_err("refused"),
        ];
        for error in refused {
            assert_eq!(error.code(), "remote_refused", "{address}");
            assert_eq!(error.kind(), crate::ErrorKind::PermissionDenied);
            assert!(!error.to_string().contains("word"), "{error}");
        }
    }
}

#[test]
fn a_refusal_keeps_kind_and_code_as_an_error_of_a_reader() {
    use crate::base::failure::code_of_io;
    use std::io::{Error, ErrorKind};
    type Make = fn(PathBuf) -> ConfineError;
    let cases: [(Make, ErrorKind); 7] = [
        (|_| ConfineError::NoRoots, ErrorKind::PermissionDenied),
        (
            |path| ConfineError::Root { path, source: ErrorKind::NotFound.into() },
            ErrorKind::NotFound,
        ),
        (|path| ConfineError::PathOutsideRoot { path }, ErrorKind::PermissionDenied),
        (|path| ConfineError::NotFound { path }, ErrorKind::NotFound),
        (|path| ConfineError::NotAFile { path }, ErrorKind::InvalidInput),
        (|path| ConfineError::TooLarge { path, limit: 1 }, ErrorKind::FileTooLarge),
        (|_| ConfineError::RemoteRefused, ErrorKind::PermissionDenied),
    ];
    for (make, kind) in cases {
        let (refusal, error) = (make("a.jpg".into()), Error::from(make("a.jpg".into())));
        assert_eq!(error.kind(), kind, "{refusal:?}");
        assert_eq!(code_of_io(&error, "lost"), refusal.code());
        assert_eq!(crate::ErrorKind::of_io(&error), refusal.kind(), "{refusal:?}");
        assert_eq!(error.to_string(), refusal.to_string());
    }
    let system = Error::from(ConfineError::Io(Error::from_raw_os_error(libc::EIO)));
    assert_eq!(system.raw_os_error(), Some(libc::EIO), "the system's own is left as it is");
}
