use crate::base::failure::Failure;
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;

const MODEL: &str = "model-a";

fn saved(kind: IndexKind, count: usize) -> (TempDir, PathBuf, Box<dyn LocalIndex>) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("some.index");
    let mut index = build(&config(kind), 4, 0).expect("valid");
    filled(&mut *index, &clustered(count, 4, 3, 9));
    index.save(&path, MODEL).expect("saved");
    (folder, path, index)
}

fn code(path: &Path, model: &str, kind: IndexKind) -> &'static str {
    load(path, model, &config(kind)).err().expect("refused").code()
}

const KINDS: [IndexKind; 2] = [IndexKind::Exact, IndexKind::Usearch];

#[test]
fn loading_gives_the_same_results() {
    for scalar in [Scalar::F32, Scalar::F16, Scalar::Bf16, Scalar::I8] {
        for kind in KINDS {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("a");
            let config = IndexConfig { scalar, ..config(kind) };
            let vectors = clustered(300, 24, 4, 6);
            let mut index = build(&config, 24, 0).expect("valid");
            filled(&mut *index, &vectors);
            index.remove("id7").expect("removed");
            index.save(&path, MODEL).expect("saved");
            let read = load(&path, MODEL, &config).expect("loaded");
            assert_eq!((read.dim(), read.ids()), (24, index.ids()));
            assert_eq!(read.vector("id3"), index.vector("id3"));
            for query in &vectors {
                assert_eq!(read.search(query, 9).expect("a"), index.search(query, 9).expect("b"));
            }
        }
    }
}

#[test]
fn a_loaded_index_takes_more_vectors_and_threads() {
    for kind in KINDS {
        let (_folder, path, _) = saved(kind, 70);
        let mut index = load(&path, MODEL, &config(kind)).expect("loaded");
        let more = clustered(200, 4, 3, 10);
        for (at, vector) in more.iter().enumerate() {
            index.add(&format!("more{at}"), vector).expect("room is made");
        }
        assert_eq!(index.len(), 270);
        let queries: Vec<&[f32]> = more.iter().map(Vec::as_slice).collect();
        for (at, hits) in
            index.search_many(&queries, Ask::top(1)).expect("found").iter().enumerate()
        {
            assert_eq!(hits[0].id, format!("more{at}"));
        }
    }
}

#[test]
fn an_empty_index_can_be_saved_and_loaded() {
    for kind in KINDS {
        let (_folder, path, _) = saved(kind, 0);
        let mut index = load(&path, MODEL, &config(kind)).expect("loaded");
        assert!(index.is_empty());
        index.add("a", &[1.0, 0.0, 0.0, 0.0]).expect("room is made");
        assert_eq!(index.search(&[1.0, 0.0, 0.0, 0.0], 3).expect("found").len(), 1);
    }
}

#[test]
fn saving_twice_gives_equal_bytes() {
    for kind in KINDS {
        let (folder, path, index) = saved(kind, 50);
        let again = folder.path().join("again");
        index.save(&again, MODEL).expect("saved");
        assert_eq!(fs_err::read(path).expect("first"), fs_err::read(again).expect("second"));
    }
}

#[test]
fn refuses_another_model_kind_or_setting() {
    let (_folder, path, _) = saved(IndexKind::Usearch, 5);
    assert_eq!(code(&path, "model-b", IndexKind::Usearch), "index_other_model");
    assert_eq!(code(&path, MODEL, IndexKind::Exact), "index_other_settings");
    let other = IndexConfig { scalar: Scalar::F16, ..config(IndexKind::Auto) };
    let error = load(&path, MODEL, &other).err().expect("refused");
    assert!(error.to_string().ends_with("scalar is bf16, asked for f16; build it anew"), "{error}");
    let (_folder, path, _) = saved(IndexKind::Exact, 5);
    assert_eq!(code(&path, MODEL, IndexKind::Usearch), "index_other_settings");
    assert!(load(&path, MODEL, &config(IndexKind::Auto)).is_ok());
}

#[test]
fn refuses_missing_foreign_and_other_formats_files() {
    let (folder, path, _) = saved(IndexKind::Exact, 5);
    let missing = load(&folder.path().join("none"), MODEL, &config(IndexKind::Auto));
    let missing = missing.err().expect("missing");
    assert_eq!(missing.kind(), crate::ErrorKind::NotFound);
    assert!(missing.to_string().contains("none"), "{missing}");
    let foreign = folder.path().join("foreign");
    fs_err::write(&foreign, b"PK\x03\x04 and so on").expect("written");
    assert_eq!(code(&foreign, MODEL, IndexKind::Auto), "index_foreign_file");
    let mut bytes = fs_err::read(&path).expect("read");
    for format in [1, 2, 4] {
        bytes[8] = format;
        fs_err::write(&path, &bytes).expect("written");
        assert_eq!(code(&path, MODEL, IndexKind::Auto), "index_format_version");
    }
}

#[test]
fn refuses_every_truncation_and_growth() {
    for kind in KINDS {
        let (_folder, path, _) = saved(kind, 3);
        let bytes = fs_err::read(&path).expect("read");
        for length in 0..bytes.len() {
            fs_err::write(&path, &bytes[..length]).expect("written");
            assert_eq!(code(&path, MODEL, kind), "index_wrong_size", "{length} bytes");
        }
        fs_err::write(&path, [&bytes[..], b"x"].concat()).expect("written");
        assert_eq!(code(&path, MODEL, kind), "index_wrong_size");
    }
}

#[test]
fn refuses_every_flipped_byte() {
    for kind in KINDS {
        let (_folder, path, _) = saved(kind, 3);
        let bytes = fs_err::read(&path).expect("read");
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            fs_err::write(&path, damaged).expect("written");
            let expected = match at {
                0..8 => "index_foreign_file",
                8..12 => "index_format_version",
                12..28 => "index_wrong_size",
                _ => "index_checksum",
            };
            assert_eq!(code(&path, MODEL, kind), expected, "byte {at}");
        }
    }
}

#[test]
fn a_killed_save_harms_nothing_and_is_cleaned_up() {
    let (folder, path, index) = saved(IndexKind::Usearch, 20);
    let before = fs_err::read(&path).expect("read");
    // What a save killed half-way leaves.
    let litter = folder.path().join(".some.index.partial");
    fs_err::write(&litter, &before[..before.len() / 2]).expect("written");
    assert_eq!(load(&path, MODEL, &config(IndexKind::Usearch)).expect("loaded").len(), 20);
    index.save(&path, MODEL).expect("saved over the litter");
    assert_eq!(fs_err::read(&path).expect("read"), before);
    assert!(!litter.exists());
}

#[test]
fn a_failed_save_says_where_and_leaves_nothing() {
    let (folder, _, index) = saved(IndexKind::Exact, 5);
    let taken = folder.path().join("taken");
    fs_err::create_dir_all(taken.join("inside")).expect("a folder in the way");
    let error = index.save(&taken, MODEL).expect_err("a folder is in the way");
    assert_eq!(error.code(), "index_io");
    assert!(error.to_string().contains("taken"), "{error}");
    assert!(!folder.path().join(".taken.partial").exists());
    let nowhere = folder.path().join("no/such/folder/index");
    let error = index.save(&nowhere, MODEL).expect_err("no such folder");
    assert_eq!(error.kind(), crate::ErrorKind::NotFound);
}
