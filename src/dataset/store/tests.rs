use super::*;
use crate::dataset::record::{AnswerRow, Instruction, Pair, Refused, SourceRecord, Stage, Verdict};

const ENCODER: &str = "encoder";
const IMAGE: &str = "image-conf";
const MATCH: &str = "match-conf";
const ANSWER: &str = "answer-conf";

struct Run {
    store: Store,
    _folder: tempfile::TempDir,
}

fn run() -> Run {
    let folder = tempfile::tempdir().expect("temp dir");
    let store = Store::create(&folder.path().join("run.sqlite")).expect("new store");
    let instruction =
        Instruction { id: "poem".into(), text: "Write a poem.".into(), ..Instruction::default() };
    store.put_instructions(&[instruction], "library").expect("instructions");
    Run { store, _folder: folder }
}

fn record(id: &str, description: &str) -> StampedRecord {
    let record = SourceRecord {
        id: id.into(),
        image: ImageRef::file(format!("/photos/{id}.jpg")),
        description: description.into(),
        descriptions: Vec::new(),
        origin: "test".into(),
        license: None,
    };
    (record, "10:1".into())
}

fn ready(item: &NewItem, image: &str) -> ImageOutcome {
    ImageOutcome::Ready(DecodedItem {
        image_sha256: image.into(),
        item_key: format!("{image}+{}", item.description),
        width: 4,
        height: 3,
        format: "JPEG".into(),
        vector: vec![1.0, 0.0],
        caption: None,
        look: 0,
        twin: None,
    })
}

impl Run {
    fn ingest(&self, records: &[StampedRecord]) -> i64 {
        let pass = self.store.begin_pass().expect("pass");
        self.store.put_records(pass, records).expect("records");
        pass
    }

    /// Embeds every waiting item; each photo has its id as bytes.
    fn embed(&self, pass: i64) {
        let items = self.store.new_items(pass, 0, 100).expect("items");
        let batch: Vec<_> = items
            .into_iter()
            .map(|item| {
                let outcome = ready(&item, &item.id.clone());
                (item, outcome)
            })
            .collect();
        self.store.put_images(pass, ENCODER, IMAGE, &batch).expect("images");
    }

    fn to_match(&self, pass: i64) -> Vec<ItemToMatch> {
        self.store.items_to_match(pass, MATCH, ENCODER, 0, 100).expect("items")
    }

    fn matched(&self, item: &ItemToMatch) -> MatchRow {
        let instruction = Instruction {
            id: "poem".into(),
            text: "Write a poem.".into(),
            ..Instruction::default()
        };
        let pair = PairRow {
            pair_key: format!("pair-{}", item.item_key),
            rank: 1,
            instruction_key: instruction.key(),
            similarity: 0.5,
            score: 0.5,
            probability: None,
        };
        MatchRow {
            seq: item.seq,
            item_key: item.item_key.clone(),
            candidates: Vec::new(),
            refused_by: None,
            pairs: vec![pair],
            rejection: None,
        }
    }

    fn match_all(&self, pass: i64) {
        let rows: Vec<_> = self.to_match(pass).iter().map(|item| self.matched(item)).collect();
        self.store.put_matches(MATCH, &rows).expect("matches");
    }

    fn to_answer(&self) -> Vec<(Pair, u32)> {
        self.store.pairs_to_answer(MATCH, ANSWER, 2, (-1, 0), 100).expect("pairs")
    }

    fn answer(&self, (pair, attempt): &(Pair, u32), verdict: Verdict) {
        let row = AnswerRow {
            answer_key: format!("{}-{attempt}", pair.key),
            pair_key: pair.key.clone(),
            attempt: *attempt,
            text: "An answer.".into(),
            finish: "stop".into(),
            llm: "stub".into(),
            seed: 1,
            examples: vec!["e1".into()],
            prompt_tokens: 10,
            completion_tokens: 3,
            reasoning: None,
            verdict,
            filters: vec!["empty".into()],
        };
        self.store.put_answer(ANSWER, "filters", &row).expect("answer");
    }

    fn samples(&self) -> Vec<String> {
        let context = SampleContext {
            match_conf: MATCH,
            answer_conf: ANSWER,
            strategy: "top1",
            prompt_hash: "p",
            encoder: "e",
            encoder_hash: ENCODER,
            image_root: Some(std::path::Path::new("/photos")),
        };
        let mut found = Vec::new();
        let read = self.store.each_sample(&context, |sample| {
            found.push(format!("{} {}", sample.id, sample.image));
            Ok::<(), DbError>(())
        });
        read.expect("samples");
        found
    }
}

fn reject() -> Verdict {
    Verdict::Reject(Refused { code: "empty".into(), reason: "no words".into() })
}

#[test]
fn a_second_reading_keeps_what_is_unchanged_and_restarts_what_changed() {
    let run = run();
    let pass = run.ingest(&[record("a", "one"), record("b", "two"), record("c", "three")]);
    run.embed(pass);
    let pass = run.store.begin_pass().expect("pass");
    let changed = run
        .store
        .put_records(pass, &[record("a", "one"), record("b", "other"), record("d", "four")])
        .expect("records");
    assert_eq!(changed, 2);
    let waiting: Vec<_> =
        run.store.new_items(pass, 0, 10).expect("items").into_iter().map(|one| one.id).collect();
    assert_eq!(waiting, ["b", "d"]);
    let summary = run.store.pass_summary(pass, changed).expect("summary");
    assert_eq!((summary.records, summary.gone), (3, 1));
}

#[test]
fn a_digest_changes_with_what_the_run_holds_and_not_with_another_reading() {
    let run = run();
    let (one, two) = (record("a", "one"), record("b", "two"));
    let pass = run.ingest(&[one.clone(), two.clone()]);
    run.embed(pass);
    let refused = |subject: &str| Rejection {
        stage: Stage::Source,
        code: "missing_image".into(),
        reason: "no photo".into(),
        subject: subject.into(),
    };
    let refuse = |subjects: [&str; 2]| {
        run.store.put_source_rejections(&subjects.map(refused)).expect("kept");
    };
    refuse(["x", "y"]);
    let digest = || run.store.digest().expect("reads");
    let first = digest();

    // Read again, in another order: the same.
    run.ingest(&[two.clone(), one.clone()]);
    refuse(["y", "x"]);
    run.store.add_stage_time("source", 2, 1.5).expect("kept");
    run.store.database().set_meta(DERIVED, "anything").expect("kept");
    assert_eq!(digest(), first);

    // A photo left the source, and came back.
    run.ingest(std::slice::from_ref(&one));
    refuse(["x", "y"]);
    assert_ne!(digest(), first);
    run.ingest(&[one.clone(), two.clone()]);
    refuse(["x", "y"]);
    assert_eq!(digest(), first);

    // Settings and any other row count.
    run.store.database().set_meta("settings:match", "{}").expect("kept");
    assert_ne!(digest(), first);
}

#[test]
fn captions_are_kept_apart_and_change_no_state() {
    let run = run();
    let pass = run.ingest(&[record("a", "one. two."), record("b", "other")]);
    run.embed(pass);
    let (mut several, stamp) = record("a", "one. two.");
    several.descriptions = vec!["one".into(), "two".into()];
    let pass = run.store.begin_pass().expect("pass");
    let put = run.store.put_records(pass, &[(several, stamp), record("b", "other")]);
    assert_eq!(put.expect("records"), 0, "as in a run made before captions were kept apart");
    let said: Vec<_> = run.to_match(pass).into_iter().map(|one| one.descriptions).collect();
    assert_eq!(said, [vec!["one", "two"], vec!["other"]]);
    assert_eq!(run.store.count_new(pass).expect("count"), 0);
}

#[test]
fn a_twin_is_rejected_and_names_the_first() {
    let run = run();
    let pass = run.ingest(&[record("a", "same"), record("b", "same")]);
    let items = run.store.new_items(pass, 0, 10).expect("items");
    let batch: Vec<_> =
        items.into_iter().map(|item| (item.clone(), ready(&item, "photo"))).collect();
    assert_eq!(run.store.put_images(pass, ENCODER, IMAGE, &batch).expect("images"), 1);
    let examples =
        run.store.rejection_examples(Stage::Image.name(), "duplicate_item", 5).expect("examples");
    assert_eq!(examples.len(), 1);
    assert_eq!(examples[0].0, "b");
    assert!(examples[0].1.contains("\"a\""), "{examples:?}");
}

#[test]
fn a_twin_comes_back_when_the_first_leaves() {
    let run = run();
    let both = [record("a", "same"), record("b", "same")];
    let embed = |pass: i64| {
        let items = run.store.new_items(pass, 0, 10).expect("items");
        let batch: Vec<_> =
            items.into_iter().map(|item| (item.clone(), ready(&item, "photo"))).collect();
        run.store.put_images(pass, ENCODER, IMAGE, &batch).expect("images")
    };
    assert_eq!(embed(run.ingest(&both)), 1);
    let pass = run.ingest(&both);
    assert_eq!(run.store.reset_refused(pass, IMAGE).expect("reset"), 0);
    let pass = run.ingest(&both[1..]);
    assert_eq!(run.store.reset_refused(pass, IMAGE).expect("reset"), 1);
    assert_eq!(embed(pass), 1);
}

#[test]
fn other_image_settings_look_at_refused_photos_again() {
    let run = run();
    let pass = run.ingest(&[record("a", "1")]);
    let item = run.store.new_items(pass, 0, 10).expect("items").remove(0);
    let rejection = Rejection {
        stage: Stage::Image,
        code: "image_too_many_pixels".into(),
        reason: "too many".into(),
        subject: "a".into(),
    };
    let batch = [(item, ImageOutcome::Rejected(rejection))];
    run.store.put_images(pass, ENCODER, IMAGE, &batch).expect("images");
    assert_eq!(run.store.reset_refused(pass, IMAGE).expect("same settings"), 0);
    assert_eq!(run.store.reset_refused(pass, "larger limits").expect("other settings"), 1);
    assert_eq!(run.store.count_new(pass).expect("count"), 1);
}

#[test]
fn nothing_behind_a_waiting_photo_is_matched() {
    let run = run();
    let pass = run.ingest(&[record("a", "1"), record("b", "2"), record("c", "3")]);
    let items = run.store.new_items(pass, 0, 10).expect("items");
    let done: Vec<_> = items
        .iter()
        .filter(|item| item.id != "b")
        .map(|item| (item.clone(), ready(item, &item.id)))
        .collect();
    run.store.put_images(pass, ENCODER, IMAGE, &done).expect("images");
    let ids: Vec<_> = run.to_match(pass).into_iter().map(|item| item.id).collect();
    assert_eq!(ids, ["a"], "c must wait for b, or quotas would depend on timing");
}

#[test]
fn another_encoder_sends_photos_back() {
    let run = run();
    let pass = run.ingest(&[record("a", "1")]);
    run.embed(pass);
    assert_eq!(run.store.reset_unembedded(ENCODER, false).expect("same encoder"), 0);
    assert_eq!(run.store.reset_unembedded(ENCODER, true).expect("captions wanted"), 1);
    run.embed(pass);
    assert_eq!(run.store.reset_unembedded("other", false).expect("other encoder"), 1);
}

#[test]
fn a_pair_is_answered_until_accepted_or_out_of_attempts() {
    let run = run();
    let pass = run.ingest(&[record("a", "1"), record("b", "2")]);
    run.embed(pass);
    run.match_all(pass);
    assert!(run.to_match(pass).is_empty());
    let pairs = run.to_answer();
    assert_eq!(pairs.len(), 2);
    run.answer(&pairs[0], Verdict::Pass);
    run.answer(&pairs[1], reject());
    let again = run.to_answer();
    assert_eq!(again.len(), 1);
    assert_eq!((again[0].0.item_id.as_str(), again[0].1), ("b", 2));
    run.answer(&again[0], reject());
    assert!(run.to_answer().is_empty());
    assert_eq!(run.samples(), ["a-1 a.jpg"]);
}

#[test]
fn a_failed_call_waits_for_the_next_start_only() {
    let run = run();
    let pass = run.ingest(&[record("a", "1")]);
    run.embed(pass);
    run.match_all(pass);
    let (pair, _) = run.to_answer().remove(0);
    let failure = Rejection {
        stage: Stage::Answer,
        code: "timeout".into(),
        reason: "slow".into(),
        subject: "a".into(),
    };
    run.store.put_failure(ANSWER, &pair.key, &failure, 3).expect("failure");
    assert!(run.to_answer().is_empty());
    assert_eq!(run.store.clear_failures().expect("clear"), 1);
    assert_eq!(run.to_answer().len(), 1);
}

#[test]
fn a_photo_that_is_gone_takes_its_samples_along_and_brings_them_back() {
    let run = run();
    let both = [record("a", "1"), record("b", "2")];
    let pass = run.ingest(&both);
    run.embed(pass);
    run.match_all(pass);
    for pair in run.to_answer() {
        run.answer(&pair, Verdict::Pass);
    }
    assert_eq!(run.samples().len(), 2);
    run.ingest(&both[..1]);
    assert_eq!(run.samples(), ["a-1 a.jpg"]);
    run.ingest(&both);
    assert_eq!(run.samples().len(), 2, "answers were kept");
}

#[test]
fn a_file_that_is_no_database_is_a_typed_error() {
    let folder = tempfile::tempdir().expect("temp dir");
    let path = folder.path().join("run.sqlite");
    fs_err::write(&path, "not a database, only some text that is long enough").expect("write");
    let error = Store::open(&path).err().expect("refused");
    assert!(error.to_string().contains("run.sqlite"), "{error}");
}

#[test]
fn a_commit_reaches_the_disk_before_it_returns() {
    let run = run();
    let full = 2;
    assert_eq!(run.store.db.value::<u8>("PRAGMA synchronous", []).expect("set"), full);
}

#[test]
fn failed_calls_of_other_roles_are_no_pairs() {
    let run = run();
    let failure = |stage| Rejection {
        stage,
        code: "llm_server".into(),
        reason: "HTTP 500".into(),
        subject: "a".into(),
    };
    for (key, stage) in [("describe:k", Stage::Describe), ("check:k", Stage::Match)] {
        run.store.put_failure(ANSWER, key, &failure(stage), 1).expect("kept");
    }
    assert_eq!(run.store.count_failed_pairs().expect("a count"), 0);
    run.store.put_failure(ANSWER, "pair-k", &failure(Stage::Answer), 1).expect("kept");
    assert_eq!(run.store.count_failed_pairs().expect("a count"), 1);
    assert_eq!(run.store.failure_counts().expect("counts")[0].1, 3);
}
