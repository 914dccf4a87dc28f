use super::super::tests::{Said, folder, read_some};
use super::super::{MAX_SIDECAR_BYTES, SourceEvent};
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
    let reason = said.reason("invalid_utf8");
    assert!(reason.starts_with("latin.txt: not UTF-8 from byte 4 on (0xE9, é in"), "{reason}");
    let reason = said.reason("missing_description");
    assert!(reason.starts_with("mute.json: no field `caption`, `description`, "), "{reason}");
}

#[test]
fn an_empty_text_hides_no_full_one() {
    let said = said(&[
        ("a.jpg", b""),
        ("a.txt", b" \n"),
        ("a.json", br#"{"caption": "of a", "key": "000"}"#),
        ("b.jpg", b""),
        ("b.txt", b"\xef\xbb\xbf"),
        ("b.jpg.txt", b"of b"),
        ("c.jpg", b""),
        ("c.txt", b""),
        ("c.json", br#"{"caption": null, "text": ""}"#),
        ("d.jpg", b""),
        ("d.txt", b"\xff\xfeo\0f\0 \0d\0"),
    ]);
    assert_eq!(lines(&said), ["a = of a", "b = of b", "d = of d"]);
    assert_eq!(said.codes(), ["c empty_description"]);
    assert!(said.reason("empty_description").starts_with("c.txt: "));
}

#[test]
fn metadata_describes_the_photos_it_names() {
    let said = said(&[
        ("0.jpg", b""),
        ("1.JPG", b""),
        ("1.txt", b"its own"),
        ("2.jpg", b""),
        ("2.txt", b""),
        ("bare.jpg", b""),
        (
            "metadata.jsonl",
            b"{\"file_name\": \"0.jpg\", \"text\": \"zero\"}\n{\"file_name\": \"1.JPG\", \"text\": \"other\"}\n\
              {\"file_name\": \"2.jpg\", \"text\": \"two\", \"id\": 22}\n{oops}\n\
              {\"file_name\": \".\\\\sub\\\\3.jpg\", \"text\": \"three\"}\n{\"file_name\": \"gone.jpg\", \"text\": \"x\"}\n\
              {\"file_name\": \"0.jpg\", \"text\": \"nil\"}",
        ),
        ("metadata.csv", b"file_name,text\nbare.jpg,not read\n"),
        ("sub/3.jpg", b""),
        ("train/4.jpg", b""),
        ("train/metadata.csv", b"file_name,text\n4.jpg,\"four, in all\"\n"),
    ]);
    let expected =
        ["0 = zero. nil.", "1 = its own", "22 = two", "sub/3 = three", "train/4 = four, in all"];
    assert_eq!(lines(&said), expected);
    let expected = [
        "metadata.jsonl:4 invalid_json",
        "bare missing_description",
        "metadata.jsonl:6 missing_image",
    ];
    assert_eq!(said.codes(), expected);
    assert_eq!(said.records()[0].descriptions, ["zero", "nil"]);
}

#[test]
fn names_are_compared_composed_and_near_ones_are_named() {
    let said = said(&[
        ("u\u{308}ber.jpg", b""),
        ("\u{fc}ber.txt", b"of both"),
        ("x.jpeg.jpg", b""),
        ("x.txt", b"of x"),
        ("IMG_1.JPG", b""),
        ("img_1.txt", b"near"),
        ("noend", b""),
        ("noend.txt", b"orphan"),
    ]);
    assert_eq!(lines(&said), ["u\u{308}ber = of both", "x.jpeg = of x"]);
    let reason = said.reason("missing_description");
    assert!(reason.contains("img_1.txt differs in capital letters"), "{reason}");
    let orphans = said.codes();
    assert_eq!(orphans[1..], ["img_1.txt missing_image", "noend.txt missing_image"]);
}

#[test]
fn a_folder_that_holds_a_manifest_says_so() {
    let said = said(&[("a.jpg", b""), ("captions.csv", b"image,caption\na.jpg,x\n")]);
    let error = said.error.expect("no description").to_string();
    assert!(error.contains("or give captions.csv"), "{error}");
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
