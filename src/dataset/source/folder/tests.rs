use super::super::SourceEvent;
use super::super::tests::{Said, folder, read_some};
use super::*;

fn said(files: &[(&str, &[u8])]) -> Said {
    let folder = folder(files);
    Said::of(&FolderSource::new(folder.path()))
}

/// `id = description` of each record.
fn lines(said: &Said) -> Vec<String> {
    said.records().iter().map(|r| format!("{} = {}", r.id, r.description)).collect()
}

#[test]
fn photos_find_their_texts_in_a_fixed_order() {
    let said = said(&[
        ("b.JPG", b""),
        ("b.txt", b"\xef\xbb\xbfof b\n"),
        ("a.png", b""),
        ("a.png.txt", b"of a"),
        ("sub/z.webp", b""),
        ("sub/z.TXT", b"of z"),
        ("sub/deep/d.tiff", b""),
        ("sub/deep/d.json", br#"{"caption": "of d"}"#),
        ("about/e.gif", b""),
        ("about/e.json", br#"{"id": 42, "captions": ["one", "two"], "x": 1}"#),
        ("dotted.name.jpeg", b""),
        ("dotted.name.txt", b"of dotted"),
        ("notes.md", b"not ours"),
        (".hidden.jpg", b""),
        (".git/x.jpg", b""),
    ]);
    let expected = [
        "a = of a",
        "b = of b",
        "dotted.name = of dotted",
        "42 = one. two.",
        "sub/z = of z",
        "sub/deep/d = of d",
    ];
    assert_eq!(lines(&said), expected);
    assert_eq!(said.codes(), Vec::<String>::new());
    let origins: Vec<_> = said.records().iter().map(|r| r.origin.clone()).collect();
    assert_eq!(origins[3..5], ["about/e.gif", "sub/z.webp"]);
}

#[test]
fn what_does_not_match_is_listed() {
    let said = said(&[
        ("a.jpg", b""),
        ("a.txt", b"of a"),
        ("bare.jpg", b""),
        ("lost.txt", b"of nothing"),
        ("sub/lost.json", b"{}"),
        ("phone.heic", b""),
    ]);
    let expected = [
        "phone.heic unsupported_format",
        "bare missing_description",
        "lost.txt missing_image",
        "sub/lost.json missing_image",
    ];
    assert_eq!(said.codes(), expected);
    assert_eq!(lines(&said), ["a = of a"]);
    let reason = said.reason("missing_description");
    assert_eq!(reason, "bare.jpg: no description: neither bare.txt nor bare.json is beside it");
}

#[test]
fn a_text_goes_before_metadata_and_two_texts_are_refused() {
    let said = said(&[
        ("a.jpg", b""),
        ("a.txt", b"of a"),
        ("a.json", br#"{"caption": "other", "id": "other"}"#),
        ("b.jpg", b""),
        ("b.txt", b"of b"),
        ("b.jpg.txt", b"of b too"),
    ]);
    assert_eq!(lines(&said), ["a = of a"]);
    assert_eq!(said.codes(), ["b ambiguous_description"]);
    let reason = said.reason("ambiguous_description");
    assert_eq!(reason, "b.jpg: several descriptions: b.txt, b.jpg.txt");
}

#[test]
fn ids_are_unique() {
    let said = said(&[
        ("a.jpg", b""),
        ("a.png", b""),
        ("a.txt", b"of a"),
        ("c.jpg", b""),
        ("c.json", br#"{"id": "a", "caption": "of c"}"#),
    ]);
    assert_eq!(lines(&said), ["a = of a"]);
    assert_eq!(said.codes(), ["a duplicate_id", "c duplicate_id"]);
    let SourceEvent::Rejected(first) = &said.events[1] else { panic!("a.png is refused") };
    assert_eq!(first.reason, "a.txt: a.png has the id `a` that a.jpg already has");
}

#[test]
fn bad_texts_are_refused() {
    let oversized = vec![b'x'; MAX_SIDECAR_BYTES as usize + 1];
    let largest = vec![b'x'; MAX_SIDECAR_BYTES as usize];
    let said = said(&[
        ("blank.jpg", b""),
        ("blank.txt", b" \n\t"),
        ("broken.jpg", b""),
        ("broken.json", b"{\n \"caption\": oops}"),
        ("latin.jpg", b""),
        ("latin.txt", b"caf\xe9"),
        ("large.jpg", b""),
        ("large.txt", &oversized),
        ("largest.jpg", b""),
        ("largest.txt", &largest),
        ("list.jpg", b""),
        ("list.json", b"[1, 2]"),
        ("mute.jpg", b""),
        ("mute.json", b"{\"id\": \"m\", \"width\": 3}"),
    ]);
    assert_eq!(said.records().iter().map(|r| &r.id).collect::<Vec<_>>(), ["largest"]);
    let expected = [
        "blank empty_description",
        "broken invalid_json",
        "large oversized_sidecar",
        "latin invalid_utf8",
        "list invalid_json",
        "m missing_description",
    ];
    assert_eq!(said.codes(), expected);
    assert_eq!(said.reason("invalid_utf8"), "latin.txt: not UTF-8 from byte 4 on");
    let reason = said.reason("missing_description");
    assert_eq!(reason, "mute.json: no field `caption`, `description` or `captions`");
}

#[test]
fn folders_without_use_are_errors() {
    assert_eq!(said(&[]).error_code(), Some("source_empty"));
    assert_eq!(said(&[("x.md", b"")]).error_code(), Some("source_empty"));
    let said = said(&[("x.jpg", b"")]);
    let error = said.error.expect("no description").to_string();
    assert!(error.contains("no usable item: 1 rejected"), "{error}");
    let gone = Said::of(&FolderSource::new(Path::new("/nowhere/at/all")));
    assert_eq!(gone.error_code(), Some("source_io"));
}

#[test]
fn reading_stops_when_told() {
    let folder = folder(&[("a.jpg", b""), ("b.jpg", b""), ("sub/c.jpg", b"")]);
    assert_eq!(read_some(&FolderSource::new(folder.path()), 2), 2);
}

#[cfg(unix)]
#[test]
fn links_are_followed_once() {
    use std::os::unix::fs::symlink;
    let folder = folder(&[("real/a.jpg", b""), ("real/a.txt", b"of a"), ("b.txt", b"of b")]);
    let at = |name: &str| folder.path().join(name);
    symlink(at("real/a.jpg"), at("b.jpg")).expect("a link to a photo");
    symlink(folder.path(), at("real/loop")).expect("a link upwards");
    symlink(at("real"), at("zcopy")).expect("a second name for a folder");
    symlink(at("none.jpg"), at("broken.jpg")).expect("a broken link");
    let said = Said::of(&FolderSource::new(folder.path()));
    assert_eq!(lines(&said), ["b = of b", "real/a = of a"]);
    let expected =
        ["broken.jpg unreadable_file", "real/loop folder_seen_twice", "zcopy folder_seen_twice"];
    assert_eq!(said.codes(), expected);
}

#[cfg(unix)]
#[test]
fn a_pipe_in_place_of_a_text_does_not_hang() {
    let folder = folder(&[("a.jpg", b"")]);
    let made = std::process::Command::new("mkfifo").arg(folder.path().join("a.txt")).status();
    if !made.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: no mkfifo on this machine");
        return;
    }
    let said = Said::of(&FolderSource::new(folder.path()));
    assert_eq!(said.codes(), ["a.txt not_a_file", "a missing_description"]);
}

#[cfg(unix)]
#[test]
fn names_that_are_not_utf8_are_refused() {
    use std::os::unix::ffi::OsStrExt;
    let folder = folder(&[("a.jpg", b""), ("a.txt", b"of a")]);
    let name = std::ffi::OsStr::from_bytes(b"\xff.jpg");
    if fs_err::write(folder.path().join(name), b"").is_err() {
        eprintln!("SKIPPED: this file system takes no such names");
        return;
    }
    let said = Said::of(&FolderSource::new(folder.path()));
    assert_eq!(said.codes(), ["\u{fffd}.jpg invalid_file_name"]);
    assert_eq!(said.records().len(), 1);
}
