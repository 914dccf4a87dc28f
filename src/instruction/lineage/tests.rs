use super::*;

fn store() -> (tempfile::TempDir, GenerationStore) {
    let folder = tempfile::tempdir().expect("temp dir");
    let store = GenerationStore::create(&folder.path().join("g.sqlite")).expect("a store");
    (folder, store)
}

fn reply(key: &str) -> StoredReply {
    StoredReply {
        key: key.into(),
        role: "augment".into(),
        subject: "a".into(),
        attempt: 1,
        model: "m".into(),
        seed: 7,
        text: "t".into(),
        reasoning: Some("r".into()),
        finish: "stop".into(),
        prompt_tokens: 3,
        completion_tokens: 2,
    }
}

fn failure(key: &str, refused: bool) -> StoredFailure {
    let (role, subject) = ("augment".to_owned(), "a".to_owned());
    StoredFailure { key: key.into(), role, subject, code: "c".into(), reason: "r".into(), refused }
}

#[test]
fn replies_and_vectors_come_back_as_they_were() {
    let (_folder, store) = store();
    assert_eq!(store.reply("k").expect("read"), None);
    store.put_reply(&reply("k")).expect("write");
    assert_eq!(store.reply("k").expect("read"), Some(reply("k")));
    let vectors = vec![("t".to_owned(), vec![0.25f32, -1.5])];
    store.put_vectors("e", &vectors).expect("write");
    let found = store.vectors("e", &["t".into(), "u".into()]).expect("read");
    assert_eq!(found.into_iter().collect::<Vec<_>>(), vectors);
    assert!(store.vectors("other", &["t".into()]).expect("read").is_empty());
}

#[test]
fn failures_are_tried_again_unless_refused() {
    let (_folder, store) = store();
    store.put_failure(&failure("a", false)).expect("write");
    store.put_failure(&failure("b", true)).expect("write");
    store.put_failure(&failure("c", false)).expect("write");
    store.put_reply(&reply("c")).expect("write");
    assert_eq!(store.failures().expect("read").len(), 2, "a reply ends its failure");
    store.clear_failures().expect("clear");
    assert_eq!(store.failures().expect("read"), [failure("b", true)]);
    let refused = |key, unproven| store.is_refused(key, unproven).expect("read");
    assert!(refused("b", false) && !refused("a", true));
    store.db.execute("UPDATE failures SET refused = 1", []).expect("as release 0.1.0 kept it");
    assert!(refused("b", true) && !refused("b", false));
    assert_eq!(store.failures().expect("read"), [failure("b", true)]);
}

#[test]
fn a_round_replaces_what_came_after_it() {
    let (_folder, store) = store();
    let raw = |place: usize, text: &str| RawRow {
        place,
        key: text.into(),
        text: text.into(),
        description: 0,
        seeds: vec!["s".into()],
        call_key: "k".into(),
        verdict: ACCEPTED.into(),
        reason: String::new(),
    };
    store.put_round(0, &[], &[raw(0, "a"), raw(1, "b")]).expect("write");
    store.put_round(2, &[], &[raw(2, "c")]).expect("write");
    store.put_round(1, &[], &[raw(1, "d")]).expect("write");
    assert_eq!(store.raws().expect("read"), [raw(0, "a"), raw(1, "d")]);
}

#[test]
fn a_commit_reaches_the_disk_before_it_returns() {
    let (_folder, store) = store();
    let full = 2;
    assert_eq!(store.db.value::<u8>("PRAGMA synchronous", []).expect("set"), full);
}

#[test]
fn of_a_reply_that_was_cut_only_whole_lines_count() {
    let of = |text: &str, finish: &str| {
        let reply = StoredReply { text: text.into(), finish: finish.into(), ..reply("k") };
        reply.whole().map(str::to_owned)
    };
    let two = "1. Write a poem about the image.\n2. Describe the im";
    assert_eq!(of(two, "length").as_deref(), Ok("1. Write a poem about the image."));
    assert_eq!(of(two, "stop").as_deref(), Ok(two));
    assert_eq!(of(two, "length_kept").as_deref(), Ok(two), "as an earlier release took it");
    assert_eq!(of("Write a short tra", "length"), Err("truncated"));
    assert_eq!(of("", "length"), Err("truncated"));
    let json = r#"{"instructions": ["Write a poem.", "Descr"#;
    assert_eq!(of(json, "length").as_deref(), Ok(json), "its reader drops what is cut");
}
