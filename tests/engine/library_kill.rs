//! `kill -9` at any moment loses no acknowledged change of the instruction library, leaves no half
//! of another, and leaves index and library in agreement.
//!
//! The process that is killed is this test program itself, started again with a folder in its
//! environment.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use pairwright::base::hash;
use pairwright::encoder::EncoderError;
use pairwright::index::IndexConfig;
use pairwright::instruction::store::{InstructionStore, NewInstruction};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::support::paths::again;

const SEED: u64 = 71;
const KILLS: u64 = 20;
const DIM: usize = 16;
const FOLDER: &str = "PAIRWRIGHT_TEST_LIBRARY";
const ROUND: &str = "PAIRWRIGHT_TEST_ROUND";

fn vector(text: &str) -> Vec<f32> {
    let mut draws = ChaCha8Rng::seed_from_u64(hash::seed(0, &[text]));
    (0..DIM).map(|_| draws.random_range(-1.0..1.0)).collect()
}

fn text(id: &str) -> String {
    format!("Do {id}.")
}

fn no_embedding(_: &[&str]) -> Result<Vec<Vec<f32>>, EncoderError> {
    Err(EncoderError::Tokenize { message: "nothing needs embedding here".into() })
}

/// The index changes its kind at 150, so that kills also hit builds.
fn open(folder: &Path) -> InstructionStore {
    let config = IndexConfig { exact_up_to: 150, threads: 2, ..IndexConfig::default() };
    InstructionStore::open(folder, "model", DIM, &config, &no_embedding).expect("opens")
}

/// One change: the ids that it creates or deletes.
#[derive(Debug, Clone, PartialEq)]
enum Change {
    Create(Vec<String>),
    Delete(Vec<String>),
}

impl Change {
    /// As printed before it is made.
    fn line(&self) -> String {
        match self {
            Self::Create(ids) => format!("try create {}", ids.join(" ")),
            Self::Delete(ids) => format!("try delete {}", ids.join(" ")),
        }
    }

    fn parse(line: &str) -> Option<Self> {
        let ids = |text: &str| text.split(' ').map(str::to_owned).collect();
        let create = line.strip_prefix("try create ").map(|text| Self::Create(ids(text)));
        create.or_else(|| line.strip_prefix("try delete ").map(|text| Self::Delete(ids(text))))
    }

    fn make(&self, store: &InstructionStore) {
        match self {
            Self::Create(ids) => {
                let new = ids.iter().map(|id| NewInstruction {
                    id: Some(id.clone()),
                    text: text(id),
                    vector: vector(&text(id)),
                    ..NewInstruction::default()
                });
                let outcomes = store.create(new.collect()).expect("stored");
                assert!(outcomes.iter().all(Result::is_ok));
            }
            Self::Delete(ids) => {
                let outcomes = store.delete(ids).expect("deleted");
                assert!(outcomes.iter().all(Result::is_ok));
            }
        }
    }

    /// The ids after this change.
    fn apply(&self, ids: &mut Vec<String>) {
        match self {
            Self::Create(new) => ids.extend(new.iter().cloned()),
            Self::Delete(gone) => ids.retain(|id| !gone.contains(id)),
        }
    }
}

/// What the process that is killed does. As a test of its own it has nothing to do.
#[test]
fn writer_to_be_killed() {
    let (Ok(folder), Ok(round)) = (std::env::var(FOLDER), std::env::var(ROUND)) else { return };
    // Ends the line that the test harness has begun.
    say("");
    let store = open(Path::new(&folder));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            loop {
                store.maintain(&|| false).expect("maintained");
                store.save_snapshot().expect("saved");
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        write_forever(&store, &round);
    });
}

fn write_forever(store: &InstructionStore, round: &str) {
    let mut draws = ChaCha8Rng::seed_from_u64(hash::seed(SEED, &[round]));
    let mut ids: Vec<String> = listed(store).into_keys().collect();
    for step in 0.. {
        // About 150 are held, so that the kind of index changes again and again.
        let change = if ids.len() < 20 || draws.random_range(0..300) > ids.len() {
            let count = draws.random_range(1..30);
            Change::Create((0..count).map(|at| format!("r{round}-{step}-{at}")).collect())
        } else {
            let count = draws.random_range(1..20);
            let first = draws.random_range(0..ids.len() - 19);
            Change::Delete(ids[first..first + count].to_vec())
        };
        say(&change.line());
        change.make(store);
        say("done");
        change.apply(&mut ids);
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).expect("the parent listens");
}

/// Ids and rows.
fn listed(store: &InstructionStore) -> BTreeMap<String, u64> {
    let page = store.list(usize::MAX, None, None).expect("a page");
    page.instructions.iter().map(|one| (one.id.to_string(), one.row)).collect()
}

fn start(folder: &Path, round: u64) -> Child {
    again(module_path!(), "writer_to_be_killed")
        .env(FOLDER, folder)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts")
}

/// Changes acknowledged, and the one that was under way.
fn killed_after(mut child: Child, moment: Duration) -> (Vec<Change>, Option<Change>) {
    let out = BufReader::new(child.stdout.take().expect("piped"));
    let reader = std::thread::spawn(move || out.lines().map_while(Result::ok).collect::<Vec<_>>());
    std::thread::sleep(moment);
    child.kill().expect("kill -9");
    let status = child.wait().expect("it ended");
    assert_eq!(status.code(), None, "it was killed, it did not end by itself");
    let (mut done, mut under_way) = (Vec::new(), None);
    for line in reader.join().expect("read") {
        match Change::parse(&line) {
            Some(change) => under_way = Some(change),
            None if line == "done" => done.extend(under_way.take()),
            None => {}
        }
    }
    (done, under_way)
}

/// The library holds what was acknowledged, and all or nothing of what was under way.
fn check(store: &InstructionStore, expected: &mut Vec<String>, under_way: Option<Change>) {
    let rows = listed(store);
    let sorted = |ids: &[String]| {
        let mut ids = ids.to_vec();
        ids.sort();
        ids
    };
    let found: Vec<_> = rows.keys().cloned().collect();
    if found != sorted(expected)
        && let Some(change) = under_way
    {
        change.apply(expected);
    }
    assert_eq!(found, sorted(expected));
    let mut keys: Vec<_> = rows.values().map(ToString::to_string).collect();
    keys.sort();
    assert_eq!(store.index_keys(), keys, "index and library hold the same rows");
    for (id, row) in &rows {
        let hits = store.search(&vector(&text(id)), 1, None).expect("found");
        assert_eq!((&*hits[0].0.id, hits[0].0.row), (id.as_str(), *row));
    }
}

#[test]
fn twenty_kills_lose_nothing_that_was_acknowledged() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut draws = ChaCha8Rng::seed_from_u64(SEED);
    let (mut expected, mut changes, mut cut_short, mut saved) = (Vec::new(), 0, 0, 0);
    for round in 0..KILLS {
        let moment = Duration::from_millis(draws.random_range(30..500));
        let (done, under_way) = killed_after(start(folder.path(), round), moment);
        done.iter().for_each(|change| change.apply(&mut expected));
        (changes, cut_short) = (changes + done.len(), cut_short + usize::from(under_way.is_some()));
        saved += usize::from(folder.path().join("instructions.index").exists());
        check(&open(folder.path()), &mut expected, under_way);
    }
    println!("{changes} changes acknowledged, {cut_short} kills in one, {} left", expected.len());
    assert!(changes > 100, "{changes} changes: too few to mean much");
    assert!(cut_short > 3, "{cut_short} kills hit a change: too few to mean much");
    assert!(saved > 3, "{saved} kills left a snapshot: too few to mean much");
}
