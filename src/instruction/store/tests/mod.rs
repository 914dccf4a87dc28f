//! Tests of the library through its public calls.

mod behaviour;
mod growth;
mod model;
mod reopen;

use crate::base::failure::Failure;
use std::collections::BTreeMap;
use std::path::PathBuf;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tempfile::TempDir;

use super::*;
use crate::base::hash;
use crate::encoder::EncoderError;

const DIM: usize = 8;
const MODEL: &str = "model-a";

/// A direction that depends on nothing but the model and the text.
fn direction(model: &str, text: &str) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(hash::seed(0, &[model, text]));
    (0..DIM).map(|_| rng.next_u32() as f32 / u32::MAX as f32 - 0.5).collect()
}

fn vector(text: &str) -> Vec<f32> {
    direction(MODEL, text)
}

fn new(id: &str, category: Option<&str>) -> NewInstruction {
    let text = format!("Do {id}.");
    let (id, category) = (Some(id.to_owned()), category.map(str::to_owned));
    NewInstruction { vector: vector(&text), id, text, category, ..NewInstruction::default() }
}

fn numbered(numbers: std::ops::Range<usize>) -> Vec<NewInstruction> {
    numbers.map(|number| new(&format!("n{number}"), None)).collect()
}

/// For opening a library in which nothing needs embedding.
fn no_embedding(texts: &[&str]) -> Result<Vec<Vec<f32>>, EncoderError> {
    panic!("asked to embed {texts:?}")
}

/// A library's folder and the settings it is opened with.
struct Home {
    folder: TempDir,
    config: IndexConfig,
}

impl Home {
    fn new() -> Self {
        Self::with(IndexConfig::default())
    }

    fn with(config: IndexConfig) -> Self {
        let config = IndexConfig { threads: 2, ..config };
        Self { folder: tempfile::tempdir().expect("a folder"), config }
    }

    fn open(&self) -> InstructionStore {
        self.try_open().expect("opens")
    }

    fn try_open(&self) -> Result<InstructionStore, LibraryStoreError> {
        InstructionStore::open(self.folder.path(), MODEL, DIM, &self.config, &no_embedding)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// Creates instructions that are expected to be accepted.
fn create(store: &InstructionStore, new: Vec<NewInstruction>) {
    for outcome in store.create(new).expect("stored") {
        outcome.expect("created");
    }
}

fn ids(found: &[Found]) -> Vec<&str> {
    found.iter().map(|(one, _)| &*one.id).collect()
}

fn codes<T>(outcomes: &[Result<T, CreateError>]) -> Vec<&'static str> {
    outcomes.iter().map(|one| one.as_ref().err().map_or("created", CreateError::code)).collect()
}

/// Index and library hold the same rows, and the index each row's own vector.
fn assert_agree(store: &InstructionStore, model: &str) {
    let index = store.live_index();
    let all = store.list(usize::MAX, None, None).expect("a page").instructions;
    let expected: BTreeMap<_, _> =
        all.iter().map(|one| (one.row.to_string(), direction(model, &one.text))).collect();
    assert_eq!(store.index_keys(), expected.keys().cloned().collect::<Vec<_>>());
    assert_eq!((index.count().expect("counted"), store.len()), (expected.len(), expected.len()));
    for (key, vector) in expected {
        let found = index.vectors(&[&key]).expect("given").remove(0).expect("in the index");
        let similarity = crate::index::dot(&found, &unit(&vector));
        assert!(similarity > 0.9999, "{key}: {similarity}");
    }
}

fn unit(vector: &[f32]) -> Vec<f32> {
    crate::index::unit(vector, vector.len(), String::new).expect("sound").0
}
