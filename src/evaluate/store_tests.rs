use super::*;

fn store() -> (tempfile::TempDir, EvaluationStore) {
    let folder = tempfile::tempdir().expect("temp dir");
    let store = EvaluationStore::create(&folder.path().join("e.sqlite")).expect("a store");
    (folder, store)
}

fn reply(attempt: u32, text: &str) -> Reply {
    Reply {
        attempt,
        prompt_sha256: "p".into(),
        seed: 7,
        text: text.into(),
        reasoning: (attempt == 1).then(|| "The bus is red.".into()),
        verdict: String::new(),
        reason: "no_choice".into(),
        finish: "stop".into(),
        llm: "m".into(),
        prompt_tokens: 30,
        completion_tokens: 2,
        calls: 3,
        elapsed_ms: 12,
    }
}

#[test]
fn what_is_kept_is_there_when_the_store_is_opened_again() {
    let (folder, store) = store();
    let about = About {
        task_key: "k".into(),
        question_id: "1".into(),
        shown_a: "a".into(),
        shown_b: "b".into(),
    };
    store.put_reply(&about, &reply(1, "well…")).expect("kept");
    store.put_reply(&about, &reply(2, "B")).expect("kept");
    store.db.set_meta("kind", "judge").expect("set");
    drop(store);
    let store = EvaluationStore::create(&folder.path().join("e.sqlite")).expect("opens");
    let replies = store.replies().expect("read");
    assert_eq!(replies["k"], [reply(1, "well…"), reply(2, "B")]);
    assert_eq!(store.db.meta("kind").expect("read").as_deref(), Some("judge"));
    assert_eq!(store.db.meta("none").expect("read"), None);
}

#[test]
fn failures_are_kept_until_they_are_cleared_and_refusals_for_good() {
    let (_folder, store) = store();
    let failure = |refused| FailedCall {
        code: "llm_timeout".into(),
        reason: "late".into(),
        attempts: 5,
        refused,
    };
    store.put_failure("k", "1", &failure(false)).expect("kept");
    store.put_failure("l", "2", &failure(true)).expect("kept");
    let both = [("k".to_owned(), failure(false)), ("l".to_owned(), failure(true))];
    assert_eq!(store.failures().expect("read"), both.into());
    store.clear_failures().expect("cleared");
    assert_eq!(store.failures().expect("read"), [("l".to_owned(), failure(true))].into());
}

#[test]
fn a_commit_reaches_the_disk_before_it_returns() {
    let (_folder, store) = store();
    let full = 2;
    assert_eq!(store.db.value::<u8>("PRAGMA synchronous", []).expect("set"), full);
}
