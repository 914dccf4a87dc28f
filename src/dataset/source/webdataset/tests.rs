use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, EntryType, Header};

use super::super::tests::{Said, folder};
use super::super::{SourceOptions, open};
use super::*;
use crate::dataset::Photos;
use crate::dataset::record::SourceRecord;
use crate::image::ImageLimits;

fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, *bytes).expect("a member");
    }
    builder.into_inner().expect("a tar")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(bytes).expect("to memory");
    packed.finish().expect("to memory")
}

fn said(folder: &tempfile::TempDir, name: &str) -> Said {
    let source = open(&folder.path().join(name), &SourceOptions::default()).expect("tars");
    assert_eq!(source.kind(), "webdataset");
    Said::of(&*source)
}

/// `id: description` of each record.
fn told(said: &Said) -> Vec<String> {
    said.records().iter().map(|record| format!("{}: {}", record.id, record.description)).collect()
}

fn read(record: &SourceRecord) -> Vec<u8> {
    let photo = ImageRef::from_text(&record.image.to_text());
    FileAccess::Anywhere.read(&photo, &ImageLimits::default()).expect("the photo's bytes")
}

const PLAIN: [(&str, &[u8]); 7] = [
    ("./a.jpg", b"photo a"),
    ("./a.json", br#"{"key": "a", "caption": "of json"}"#),
    ("./a.txt", b"A dog."),
    ("./b.cls", b"7"),
    ("./b.png", b"photo b, which is longer"),
    ("./b.json", br#"{"caption": ["One.", "Two."]}"#),
    ("./b.npy", b"an array"),
];

#[test]
fn members_of_a_name_are_a_sample_and_its_photo_is_read_in_place() {
    let bytes = tar(&PLAIN);
    let packed = gzip(&bytes);
    // The last two are not what their names say.
    let files = [
        ("s.tar", &*bytes),
        ("s.tar.gz", &*packed),
        ("t.tgz", &*packed),
        ("p.tgz", &*bytes),
        ("g.tar", &*packed),
    ];
    let folder = folder(&files);
    for (name, _) in files {
        let said = said(&folder, name);
        assert_eq!(told(&said), ["a: A dog.", "b: One. Two."], "{name}: {:?}", said.codes());
        assert_eq!((said.codes().len(), said.error_code()), (0, None), "{name}");
        let records = said.records();
        assert_eq!(records[0].origin, format!("{name}/a.jpg"));
        assert_eq!(records[1].descriptions, ["One.", "Two."]);
        // Backwards, too.
        assert_eq!(read(records[1]), b"photo b, which is longer", "{name}");
        assert_eq!(read(records[0]), b"photo a", "{name}");
        assert_eq!(records[0].image.export_name(Some(folder.path())), format!("{name}/a.jpg"));
    }
}

#[test]
fn several_tars_are_read_in_order_and_names_that_collide_are_told_apart() {
    let one = tar(&[("0.jpg", b"1"), ("0.txt", b"First."), ("1.jpg", b"2"), ("1.txt", b"Second.")]);
    let two =
        tar(&[("0.jpg", b"3"), ("0.txt", b"Third."), ("x/2.jpg", b"4"), ("x/2.txt", b"4th.")]);
    let id = tar(&[("9.jpg", b"5"), ("9.json", br#"{"id": "1", "caption": "Again."}"#)]);
    let folder = folder(&[("d/00.tar", &one), ("d/01.tar", &two), ("d/02.tar", &id)]);
    let all = ["0: First.", "1: Second.", "01/0: Third.", "x/2: 4th."];
    for name in ["d", "d/{00..02}.tar", "d/0?.tar", "*/*.tar"] {
        let said = said(&folder, name);
        assert_eq!(told(&said), all, "{name}");
        assert_eq!(said.codes(), ["1 duplicate_id"], "{name}");
        let reason = said.reason("duplicate_id");
        assert_eq!(reason, "02.tar/9.jpg: 02.tar has the id `1` that 00.tar already has");
    }
    let said = said(&folder, "d/{01,none}.tar");
    assert_eq!(said.codes(), ["none.tar unreadable_file"]);
    assert_eq!(said.records().len(), 2);
}

#[test]
fn tars_of_one_name_in_several_folders_keep_all_their_photos() {
    let bytes = tar(&[("0.jpg", b"1"), ("0.txt", b"A photo.")]);
    let folder = folder(&[("a/s.tar", &bytes), ("b/s.tar", &bytes), ("c/s.tar", &bytes)]);
    let said = said(&folder, "{a,b,c}/s.tar");
    assert_eq!(told(&said), ["0: A photo.", "s/0: A photo.", "s/0#2: A photo."]);
    assert!(said.codes().is_empty(), "{:?}", said.codes());
}

#[test]
fn a_size_that_no_member_has_is_a_damaged_header() {
    let size = b"29 size=18446744073709551615\n";
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::XHeader);
    header.set_path("pax").expect("a name");
    header.set_size(size.len() as u64);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend(size);
    bytes.resize(1024, 0);
    bytes.extend(tar(&[("a.jpg", b"a"), ("b.jpg", b"b"), ("b.txt", b"B.")]));
    let said = said(&folder(&[("s.tar", &bytes)]), "s.tar");
    assert_eq!(told(&said), ["b: B."]);
    assert_eq!(said.codes(), ["s.tar tar_damaged"]);
}

#[test]
fn members_out_of_order_find_each_other_within_their_tar() {
    let bytes = tar(&[
        ("a.jpg", b"a"),
        ("b.jpg", b"b"),
        ("c.jpg", b"c"),
        ("c.txt", b"C."),
        ("b.txt", b"B."),
        ("a.txt", b"A."),
        ("d.txt", b"D."),
    ]);
    let said = said(&folder(&[("s.tar", &bytes)]), "s.tar");
    assert_eq!(told(&said), ["c: C.", "a: A.", "b: B."]);
    assert_eq!(said.codes(), ["s.tar/d.txt missing_image"]);
}

#[test]
fn what_cannot_be_used_is_refused_by_member_and_the_rest_goes_on() {
    let bytes = tar(&[
        ("two.jpg", b"x"),
        ("two.txt", b"One."),
        ("two.txt", b"Another."),
        ("none.jpg", b"x"),
        ("class.jpg", b"x"),
        ("class.cls", b"3"),
        ("named.jpg", b"x"),
        ("named.cls", b"tabby cat"),
        ("empty.jpg", b"x"),
        ("empty.txt", b" "),
        ("bad.jpg", b"x"),
        ("bad.json", b"{"),
        ("other.heic", b"x"),
        ("latin.jpg", b"x"),
        ("latin.txt", b"caf\xe9"),
        ("._mac.jpg", b"x"),
        ("good.jpg", b"x"),
        ("good.txt", b"Good."),
        ("good.jpg", b"y"),
        ("good.txt", b"Again."),
        ("late.jpg", b"x"),
        ("late.txt", b"Late."),
        ("last.jpg", b"x"),
        ("last.txt", b"Last."),
        ("late.txt", b"Later."),
    ]);
    let said = said(&folder(&[("s.tar", &bytes)]), "s.tar");
    assert_eq!(told(&said), ["named: tabby cat", "late: Late.", "last: Last."]);
    let mut codes = said.codes();
    codes.sort();
    let expected = [
        "bad invalid_json",
        "class missing_description",
        "empty empty_description",
        "good ambiguous_description",
        "good duplicate_id",
        "latin invalid_utf8",
        "none missing_description",
        "s.tar/late.txt missing_image",
        "s.tar/other.heic unsupported_format",
        "two ambiguous_description",
    ];
    assert_eq!(codes, expected);
}

#[test]
fn a_link_or_a_name_that_leads_up_is_refused() {
    let mut builder = Builder::new(tar(&[("a.jpg", b"a"), ("a.txt", b"A.")])[..2048].to_vec());
    let mut link = Header::new_gnu();
    link.set_entry_type(EntryType::Symlink);
    link.set_size(0);
    builder.append_link(&mut link, "b.jpg", "/etc/passwd").expect("a link");
    let mut up = Header::new_old();
    up.as_mut_bytes()[..10].copy_from_slice(b"../up.jpg\0");
    up.set_size(1);
    up.set_cksum();
    builder.append(&up, &b"x"[..]).expect("a member");
    let bytes = builder.into_inner().expect("a tar");
    let said = said(&folder(&[("s.tar", &bytes)]), "s.tar");
    assert_eq!(told(&said), ["a: A."]);
    assert_eq!(said.codes(), ["s.tar/b.jpg not_a_file", "s.tar/../up.jpg invalid_file_name"]);
}

#[test]
fn a_tar_cut_short_gives_what_stands_before_the_cut() {
    let photo = vec![b'x'; 3000];
    let members: Vec<(String, &[u8])> = (0..4)
        .flat_map(|at| [(format!("{at}.jpg"), &*photo), (format!("{at}.txt"), &b"A text."[..])])
        .collect();
    let members: Vec<(&str, &[u8])> =
        members.iter().map(|(name, bytes)| (&**name, *bytes)).collect();
    let whole = tar(&members);
    let packed = gzip(&whole);
    // In the third photo's data; behind the second sample; in the third header.
    let sample = 512 + 3072 + 1024;
    for cut in [2 * sample + 1000, 2 * sample, 2 * sample + 100] {
        let folder = folder(&[("s.tar", &whole[..cut]), ("z.tar", &whole)]);
        let said = said(&folder, "s.tar");
        assert_eq!(told(&said), ["0: A text.", "1: A text."], "cut at {cut}");
        assert_eq!(said.codes(), ["s.tar tar_cut_short"], "cut at {cut}");
        let named = if cut > 2 * sample + 512 { "2.jpg" } else { "1.txt" };
        assert!(said.reason("tar_cut_short").contains(&format!("`{named}`")), "cut at {cut}");
    }
    let folder = folder(&[("s.tar.gz", &packed[..packed.len() - 30])]);
    let said = said(&folder, "s.tar.gz");
    assert!(said.codes().contains(&"s.tar.gz tar_cut_short".to_owned()), "{:?}", said.codes());
}

#[test]
fn behind_a_damaged_header_the_next_sound_one_is_found() {
    let mut bytes = tar(&[
        ("a.jpg", b"a"),
        ("a.txt", b"A."),
        ("b.jpg", b"b"),
        ("b.txt", b"B."),
        ("c.jpg", b"c"),
        ("c.txt", b"C."),
    ]);
    bytes[4 * 512 + 3] ^= 1;
    let said = said(&folder(&[("s.tar", &bytes)]), "s.tar");
    assert_eq!(told(&said), ["a: A.", "c: C."]);
    assert_eq!(said.codes(), ["s.tar tar_damaged", "s.tar/b.txt missing_image"]);
}

#[test]
fn long_names_are_read_up_to_a_limit() {
    let long = format!("{}/photo", "folder".repeat(40));
    let (photo, text) = (format!("{long}.jpg"), format!("{long}.txt"));
    let bytes = tar(&[(&photo, b"p"), (&text, b"Far away.")]);
    let said_long = said(&folder(&[("s.tar", &bytes)]), "s.tar");
    assert_eq!(told(&said_long), [format!("{long}: Far away.")]);
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::GNULongName);
    header.set_size(2 << 20);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.resize(512 + (2 << 20), b'n');
    bytes.extend(tar(&[("a.jpg", b"a"), ("a.txt", b"A.")]));
    let said = said(&folder(&[("s.tar", &bytes)]), "s.tar");
    assert_eq!(told(&said), ["a: A."]);
    assert!(said.reason("invalid_file_name").contains("takes 2097152 bytes"));
}

#[test]
fn a_photo_of_a_tar_that_was_changed_is_not_taken_for_another() {
    let folder = folder(&[("s.tar", &tar(&[("a.jpg", b"one"), ("a.txt", b"A.")]))]);
    let listed = said(&folder, "s.tar");
    let longer = tar(&[("0.jpg", b"another"), ("a.jpg", b"one"), ("a.txt", b"A.")]);
    for bytes in [&longer[..], b"", &longer[..600]] {
        fs_err::write(folder.path().join("s.tar"), bytes).expect("written");
        let photo = &listed.records()[0].image;
        let error = FileAccess::Anywhere.read(photo, &ImageLimits::default());
        let error = error.expect_err("changed").to_string();
        assert!(error.contains("a.jpg: the file was changed"), "{error}");
    }
}

#[test]
fn other_compressions_are_named() {
    let folder = folder(&[("s.tar", b"BZh91AY&SY")]);
    let said = said(&folder, "s.tar");
    assert_eq!(said.error_code(), Some("source_no_usable_item"));
    assert!(said.reason("unreadable_file").contains("compressed by bzip2; only gzip"));
}
