use crate::base::failure::Failure;
use std::cell::Cell;

use super::*;

/// A library of 30 with a saved index of the first 20 and of one deleted since.
fn stale() -> Home {
    let home = Home::new();
    let store = home.open();
    create(&store, numbered(0..20));
    assert!(store.save_snapshot().expect("saved"));
    store.delete(&["n7"]).expect("deleted");
    create(&store, numbered(20..31));
    home
}

fn assert_whole(home: &Home) {
    let store = home.open();
    assert_eq!((store.len(), store.get("n7")), (30, None));
    assert_agree(&store, MODEL);
}

#[test]
fn a_snapshot_is_saved_when_something_changed() {
    let home = Home::new();
    let store = home.open();
    assert!(!store.save_snapshot().expect("nothing to save"));
    create(&store, numbered(0..3));
    assert!(store.save_snapshot().expect("saved"));
    assert!(!store.save_snapshot().expect("nothing to save"));
    drop(store);
    let store = home.open();
    assert!(!store.save_snapshot().expect("as it was read"));
    store.delete(&["n1"]).expect("deleted");
    assert!(store.save_snapshot().expect("saved"));
}

#[test]
fn an_old_snapshot_is_brought_up_to_the_library() {
    let home = stale();
    assert_whole(&home);
    let store = home.open();
    assert!(store.save_snapshot().expect("saved"), "what was brought up is worth saving");
}

#[test]
fn a_lost_or_damaged_snapshot_is_built_anew() {
    let home = stale();
    let path = home.file(SNAPSHOT_FILE);
    let sound = fs_err::read(&path).expect("saved");
    let mut flipped = sound.clone();
    flipped[sound.len() / 2] ^= 1;
    for damaged in [&flipped[..], &sound[..sound.len() / 2], b"", b"something else"] {
        fs_err::write(&path, damaged).expect("written");
        assert_whole(&home);
        assert!(!path.exists(), "a useless file is removed");
    }
    assert_whole(&home);
}

#[test]
fn a_snapshot_of_the_format_before_is_built_anew() {
    let home = stale();
    let path = home.file(SNAPSHOT_FILE);
    let mut bytes = fs_err::read(&path).expect("saved");
    bytes[8] -= 1;
    fs_err::write(&path, bytes).expect("written");
    assert_whole(&home);
    assert!(!path.exists());
    home.open().save_snapshot().expect("saved");
    assert_whole(&home);
}

#[test]
fn a_graph_is_read_with_what_was_deleted() {
    let home = Home::with(IndexConfig { kind: IndexKind::Usearch, ..IndexConfig::default() });
    let store = home.open();
    create(&store, numbered(0..60));
    store.delete(&["n3", "n59"]).expect("deleted");
    store.save_snapshot().expect("saved");
    store.delete(&["n4"]).expect("deleted");
    drop(store);
    let store = home.open();
    assert_eq!((store.len(), store.live.read().index.removed()), (57, 3));
    assert_agree(&store, MODEL);
    let found = store.search(&vector("Do n3."), 57, None).expect("found");
    assert_eq!(found.len(), 57);
    assert!(found.iter().all(|(one, _)| !["n3", "n4", "n59"].contains(&&*one.id)));
}

#[test]
fn a_snapshot_of_another_library_or_of_other_settings_is_not_used() {
    let other = stale();
    let home = stale();
    let path = home.file(SNAPSHOT_FILE);
    fs_err::copy(other.file(SNAPSHOT_FILE), &path).expect("copied");
    assert_whole(&home);
    assert!(!path.exists());
    let mut home = stale();
    home.config.kind = IndexKind::Usearch;
    assert_whole(&home);
    assert_eq!(home.open().index_kind(), IndexKind::Usearch);
}

#[test]
fn a_snapshot_from_after_a_restored_backup_is_not_used() {
    let home = Home::new();
    let store = home.open();
    create(&store, numbered(0..5));
    drop(store);
    let backup = fs_err::read(home.file("library.sqlite")).expect("read");
    let store = home.open();
    create(&store, numbered(5..10));
    store.save_snapshot().expect("saved");
    drop(store);
    fs_err::write(home.file("library.sqlite"), backup).expect("restored");
    // Rows 6 to 10 of the snapshot will soon be others.
    create(&home.open(), numbered(20..25));
    let store = home.open();
    assert_eq!(store.len(), 10);
    assert_agree(&store, MODEL);
}

#[test]
fn another_model_embeds_anew_and_goes_on_where_it_was() {
    let home = Home::new();
    create(&home.open(), numbered(0..600));
    home.open().save_snapshot().expect("saved");
    let asked = Cell::new(0);
    let open = |fail_after: usize| {
        let embed = |texts: &[&str]| {
            if asked.get() >= fail_after {
                return Err(EncoderError::Tokenize { message: "stopped".into() });
            }
            asked.set(asked.get() + texts.len());
            Ok(texts.iter().map(|text| direction("model-b", text)).collect())
        };
        InstructionStore::open(home.folder.path(), "model-b", DIM, &home.config, &embed)
    };
    let stopped = open(300).err().expect("stopped");
    assert_eq!(stopped.code(), "library_embedding_failed");
    assert!(!home.file(SNAPSHOT_FILE).exists(), "it holds vectors that are replaced");
    assert!((300..600).contains(&asked.get()), "{}", asked.get());
    let store = open(usize::MAX).expect("goes on");
    assert_eq!(asked.get(), 600, "each text was embedded once");
    assert_agree(&store, "model-b");
    drop(store);
    open(600).expect("nothing to embed");
}

#[test]
fn a_changed_width_is_embedded_anew_too() {
    let home = Home::new();
    create(&home.open(), numbered(0..5));
    let embed = |texts: &[&str]| Ok(vec![vec![1.0, 2.0, 3.0]; texts.len()]);
    let store = InstructionStore::open(home.folder.path(), "wide", 3, &home.config, &embed);
    let found = store.expect("opens").search(&[1.0, 2.0, 3.0], 9, None).expect("found");
    assert_eq!(found.len(), 5);
}

#[test]
fn a_library_that_lacks_vectors_or_is_foreign_is_refused() {
    let home = Home::new();
    create(&home.open(), numbered(0..5));
    let path = home.file("library.sqlite");
    let sql = |sql: &str| {
        let connection = rusqlite::Connection::open(&path).expect("opens");
        connection.execute_batch(sql).expect("done");
    };
    let code = || home.try_open().err().expect("refused").code();
    sql("DELETE FROM embeddings WHERE row = 3");
    assert_eq!(code(), "library_damaged");
    sql("INSERT INTO embeddings VALUES (3, x'0000803f')");
    assert_eq!(code(), "library_damaged");
    sql("PRAGMA user_version = 9");
    assert_eq!(code(), "library_version");
    fs_err::write(&path, b"not a database, but long enough to have a header".repeat(9))
        .expect("written");
    assert_eq!(code(), "library_damaged");
}
