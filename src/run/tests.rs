//! The stages on a store of their own, without encoder, LLM or files.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::matching::MatchStage;
use super::*;
use crate::Error;
use crate::config::Config;
use crate::dataset::record::{
    AnswerRow, Instruction, MeasureValue, Measured, SampleView, SourceRecord, Verdict,
};
use crate::dataset::source::{Emit, Source, SourceError, SourceEvent};
use crate::dataset::store::{
    DecodedItem, HeldBenchmark, ImageOutcome, MatchRow, NewItem, PairRow, SampleContext, Store,
};
use crate::dataset::{ImageRef, Photos};
use crate::encoder::{Encoder, EncoderOptions, OnnxEncoder};
use crate::image::{DecodeOptions, ImageError, ImageLimits};
use crate::index::{IndexKind, LEAST, SAMPLE, unit};
use crate::instruction::Library;
use crate::measure::{Measure, MeasureName};
use crate::work::{Silent, Stop, feed};

const ENCODER: &str = "encoder";
const IMAGES: &str = "image settings";
const MATCH: &str = "match settings";
const ANSWER: &str = "answer settings";

/// A source of photos with these names.
struct Names<T>(Vec<T>);

impl<T: AsRef<str> + Send + Sync> Source for Names<T> {
    fn describe(&self) -> String {
        "names".into()
    }

    fn kind(&self) -> &'static str {
        "names"
    }

    fn image_root(&self) -> Option<&Path> {
        None
    }

    fn read(&self, emit: &mut Emit<'_>) -> Result<(), SourceError> {
        for name in self.0.iter().map(AsRef::as_ref) {
            let record = SourceRecord {
                id: name.into(),
                image: ImageRef::member("photos.tar", name),
                description: format!("A {name}."),
                descriptions: Vec::new(),
                origin: "test".into(),
                license: None,
            };
            if let ControlFlow::Break(()) = emit(SourceEvent::Record(record)) {
                break;
            }
        }
        Ok(())
    }
}

/// Photos without bytes, with the stamp they have now; a look at one called `stop` asks for a stop.
struct Stamps(Mutex<&'static str>, Stop);

impl Photos for Stamps {
    fn read(&self, _: &ImageRef, _: &ImageLimits) -> Result<Vec<u8>, ImageError> {
        Err(ImageError::EmptyFile)
    }

    fn stamp(&self, photo: &ImageRef) -> String {
        if photo.to_string().ends_with("stop") {
            self.1.ask();
        }
        (*self.0.lock().expect("one thread")).into()
    }

    fn key(&self) -> String {
        String::new()
    }
}

fn store() -> (Store, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("temp dir");
    (Store::create(&store_path(folder.path())).expect("new store"), folder)
}

#[test]
fn a_photo_whose_stamp_changed_is_new_again() {
    let (store, _folder) = store();
    let (source, stop) = (Names(vec!["cat", "dog"]), Stop::default());
    let photos = Stamps(Mutex::new("1"), stop.clone());
    let ingest = || ingest::ingest(&source, &photos, &store, false, &stop, &Silent).expect("read");
    assert_eq!((ingest().new_or_changed, ingest().new_or_changed), (2, 0));
    *photos.0.lock().expect("one thread") = "2";
    let again = ingest();
    assert_eq!((again.records, again.new_or_changed, again.gone), (2, 2, 0));
    let items = store.new_items(store.pass().expect("pass"), 0, 9).expect("items");
    assert_eq!(items[0].image, ImageRef::member("photos.tar", "cat"));
}

#[test]
fn a_stop_ends_the_reading_and_keeps_what_was_read() {
    let (store, _folder) = store();
    let stop = Stop::default();
    let photos = Stamps(Mutex::new("1"), stop.clone());
    let source = Names(vec!["cat", "stop", "dog"]);
    let error =
        ingest::ingest(&source, &photos, &store, false, &stop, &Silent).expect_err("stopped");
    assert!(error.is_stop());
    assert_eq!(store.count_new(store.pass().expect("pass")).expect("items"), 2);
}

#[test]
fn a_folder_is_taken_once_and_keeps_what_was_resolved() {
    let folder = tempfile::tempdir().expect("temp dir");
    let taken = RunFolder::take(folder.path()).expect("free");
    let again = RunFolder::take(folder.path()).err().expect("taken");
    assert_eq!((again.kind(), again.code()), (ErrorKind::FailedPrecondition, "run_busy"));
    assert!(taken.store().err().expect("no run yet").is_absent());
    let config = crate::config::Config::default();
    let mut resolved = toml::Table::new();
    resolved.insert("encoder".into(), "mini".into());
    taken.write_run_file(&config, Some(resolved)).expect("written");
    taken.write_run_file(&config, None).expect("written");
    let text = fs_err::read_to_string(folder.path().join("run.toml")).expect("a file");
    assert!(text.contains("encoder = \"mini\""), "{text}");
    drop(taken);
    RunFolder::take(folder.path()).expect("free again");
}

/// A store whose photos are embedded as these vectors, by their names as hashes.
fn embedded(vectors: &[(&'static str, [f32; 2])]) -> (Store, tempfile::TempDir) {
    let (store, folder) = store();
    let names = vectors.iter().map(|(name, _)| *name).collect();
    let photos = Stamps(Mutex::new("1"), Stop::default());
    ingest::ingest(&Names(names), &photos, &store, false, &Stop::default(), &Silent).expect("read");
    let pass = store.pass().expect("pass");
    let items = store.new_items(pass, 0, 99).expect("items");
    let ready = |(item, (name, vector)): (_, &(&str, [f32; 2]))| (item, ready(name, vector));
    let batch: Vec<_> = items.into_iter().zip(vectors).map(ready).collect();
    store.put_images(pass, ENCODER, IMAGES, &batch).expect("images");
    (store, folder)
}

fn ready(name: &str, vector: &[f32]) -> ImageOutcome {
    ImageOutcome::Ready(DecodedItem {
        image_sha256: name.into(),
        item_key: format!("key-{name}"),
        width: 4,
        height: 3,
        format: "jpeg".into(),
        vector: vector.to_vec(),
        caption: None,
        look: 0,
        twin: None,
    })
}

/// How many photos are embedded when the matching looks first is a matter of speed.
#[test]
fn equal_runs_measure_their_search_with_the_same_photos() {
    const PHOTOS: usize = 300;
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/mini");
    let encoder = OnnxEncoder::open(&model, &EncoderOptions::default(), DecodeOptions::default());
    let encoder: Arc<dyn Encoder> = Arc::new(encoder.expect("the bundled model"));
    let mut config = Config::default();
    config.index.kind = IndexKind::Usearch;
    config.matching.check = Some(Vec::new());
    let measured = |first: usize| {
        let (store, folder) = store();
        let names = (0..PHOTOS).map(|at| format!("photo-{at}")).collect();
        let photos = Stamps(Mutex::new("1"), Stop::default());
        let stop = Stop::default();
        ingest::ingest(&Names(names), &photos, &store, false, &stop, &Silent).expect("read");
        let pass = store.pass().expect("pass");
        let embed = |store: &Store, count: usize| {
            let items = store.new_items(pass, 0, count).expect("items");
            let done = |item: NewItem| {
                let wave = |at: usize| (item.seq as f32 * (at + 1) as f32).sin();
                let vector: Vec<f32> = (0..encoder.dim()).map(wave).collect();
                let (vector, _) = unit(&vector, vector.len(), String::new).expect("sound");
                let outcome = ready(&item.id, &vector);
                (item, outcome)
            };
            let batch: Vec<_> = items.into_iter().map(done).collect();
            store.put_images(pass, encoder.hash(), IMAGES, &batch).expect("images");
            batch.len()
        };
        embed(&store, first);
        let library = Library::read(None).expect("built in");
        let encoder = Arc::clone(&encoder);
        let stage = MatchStage::prepare(&config, encoder, library, &store, folder.path(), None);
        let stage = stage.expect("prepared");
        let (embedding, mut embedded) = feed();
        let (matched, _) = feed();
        let other = store.reopen().expect("a second connection");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (embedding, other) = (embedding, other);
                while embed(&other, 8) > 0 {
                    embedding.more();
                }
            });
            let feeds = (&mut embedded, &matched);
            let (count, _) = stage.run(&store, feeds, None, &stop, &Silent).expect("matched");
            assert_eq!(count, PHOTOS as u64);
        });
        Settings::read(&store).expect("settings").search.expect("it was measured")
    };
    let [soon, late] = [LEAST, PHOTOS].map(measured);
    assert_eq!(soon.recall.iter().map(|one| one.queries).max(), Some(SAMPLE), "{soon}");
    assert_eq!(soon, late);
}

#[test]
fn near_duplicates_of_held_out_photos_are_held_out_with_them_once() {
    let (store, _folder) =
        embedded(&[("held", [1.0, 0.0]), ("near", [0.99, 0.141]), ("far", [0.0, 1.0])]);
    assert_eq!(hold_near_duplicates(&store, ENCODER).expect("no benchmark"), 0);
    let benchmark =
        HeldBenchmark { folder: "b".into(), near: 0.95, pairs: vec![], settings: "s".into() };
    store.hold_out(&benchmark, &["held"].into(), &BTreeSet::new()).expect("held out");
    assert_eq!(hold_near_duplicates(&store, ENCODER).expect("found"), 1);
    assert_eq!(hold_near_duplicates(&store, ENCODER).expect("known"), 0);
    let held = store.held_out().expect("what is held out");
    assert_eq!(held.near.into_iter().collect::<Vec<_>>(), [("near".into(), "held".into())]);
}

/// Measures what it is shown.
struct Shown;

impl Measure for Shown {
    fn version(&self) -> String {
        "1".into()
    }

    fn values(&self, samples: &[SampleView<'_>]) -> Result<Vec<Measured>, Error> {
        let value = |one: &SampleView<'_>| {
            let photo = one.photo.map(|photo| f64::from(photo[0]))?;
            let rank = one.pair.map(|pair| f64::from(pair.rank))?;
            Some(photo + 10.0 * rank + 100.0 * one.siblings.len() as f64)
        };
        Ok(samples.iter().map(|one| Measured::number(value(one))).collect())
    }
}

#[test]
fn a_measure_sees_the_photo_the_draw_and_the_siblings() {
    let (store, _folder) = embedded(&[("cat", [0.5, 0.0]), ("dog", [0.25, 0.0])]);
    let library = ["poem", "menu"].map(|id| Instruction {
        id: id.into(),
        text: format!("Write a {id}."),
        ..Instruction::default()
    });
    store.put_instructions(&library, "library").expect("instructions");
    let pass = store.pass().expect("pass");
    let items = store.items_to_match(pass, MATCH, ENCODER, 0, 9).expect("items");
    let drawn = |item: &crate::dataset::store::ItemToMatch, count: usize| MatchRow {
        seq: item.seq,
        item_key: item.item_key.clone(),
        candidates: Vec::new(),
        refused_by: None,
        pairs: (1u32..)
            .zip(&library)
            .take(count)
            .map(|(rank, instruction)| PairRow {
                pair_key: format!("{}-{rank}", item.id),
                rank,
                instruction_key: instruction.key(),
                similarity: 0.5,
                score: 0.5,
                probability: None,
            })
            .collect(),
        rejection: None,
    };
    store.put_matches(MATCH, &[drawn(&items[0], 2), drawn(&items[1], 1)]).expect("matches");
    for (pair, attempt) in store.pairs_to_answer(MATCH, ANSWER, 1, (-1, 0), 9).expect("pairs") {
        let answer = AnswerRow {
            answer_key: format!("answer-{}", pair.key),
            pair_key: pair.key,
            attempt,
            text: "An answer.".into(),
            finish: "stop".into(),
            llm: "stub".into(),
            seed: 1,
            examples: Vec::new(),
            prompt_tokens: 1,
            completion_tokens: 1,
            reasoning: None,
            verdict: Verdict::Pass,
            filters: Vec::new(),
        };
        store.put_answer(ANSWER, "filters", &answer).expect("answer");
    }
    let context = SampleContext {
        match_conf: MATCH,
        answer_conf: ANSWER,
        strategy: "top1",
        prompt_hash: "p",
        encoder: "e",
        encoder_hash: ENCODER,
        image_root: None,
    };
    let left =
        |version| store.samples_to_measure(&context, "shown", version, (-1, 9)).expect("samples");
    let values = measuring::values(&store, &context, &Shown, &left("1")).expect("measured");
    let expected = [("cat-1", 210.5), ("cat-2", 220.5), ("dog-1", 110.25)];
    assert_eq!(
        values,
        expected.map(|(key, value)| (format!("answer-{key}"), Measured::number(Some(value))))
    );
    store.put_measures("shown", "1", &values).expect("kept");
    assert_eq!((left("1").len(), left("2").len()), (0, 3), "another version is taken anew");
    let totals = store.measure_totals(MATCH, ANSWER).expect("totals");
    assert_eq!((totals[0].count, totals[0].min, totals[0].max), (3, 110.25, 220.5));

    let name = MeasureName::NearDuplicateOf;
    let duplicates = || measuring::near_duplicates(&store, &context, name).expect("measured");
    assert_eq!((duplicates(), duplicates()), (3, 0), "taken once for a set of samples");
    let said = |key: &str| {
        let measured = store.measures_of(&format!("answer-{key}")).expect("measured");
        let Measured { value, detail } = measured["near_duplicate_of"].clone();
        let of = detail.map_or(String::new(), |detail| detail["of"].to_string());
        (value.expect("a value"), of)
    };
    // All three answers are the same; the first of the export is the original.
    let same = (MeasureValue::Number(1.0), "\"cat-1\"".to_owned());
    assert_eq!(said("cat-1"), (MeasureValue::Number(0.0), String::new()));
    assert_eq!((said("cat-2"), said("dog-1")), (same.clone(), same));
    let twins = measuring::twins(&store, &context, &left("2")).expect("measured");
    assert!(twins.iter().all(|(_, one)| *one == Measured::number(Some(0.0))), "{twins:?}");
}
