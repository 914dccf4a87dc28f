//! Builds a benchmark out of a run: instructions and photos that the run's exports then leave out.

mod choose;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::Error;
use crate::base::hash;
use crate::dataset::Photos;
use crate::dataset::store::{HeldBenchmark, PairToHold, Store, plain_words};
use crate::image::ImageLimits;
use crate::run::{PipelineError, RunFolder, Settings, hold_near_duplicates};
use crate::sandbox::FileAccess;

use super::EvaluationError;
use super::output;
use super::question::{Question, QuestionId};
use super::request::within;

/// The questions in the published format.
const QUESTIONS_FILE: &str = "questions.jsonl";
const IMAGES: &str = "images";

/// What to hold out.
#[derive(Debug, Clone, PartialEq)]
pub struct BuildRequest {
    /// Folder for the benchmark.
    pub out: PathBuf,
    /// Instructions, spread over the categories, 1 to 100000.
    pub instructions: u32,
    /// Photos per instruction at most, 1 to 1000.
    pub images: u32,
    /// Cosine similarity from which a photo is a near-duplicate, above 0 and up to 1.
    pub near: f64,
    pub seed: u64,
}

/// A benchmark that was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Benchmark {
    /// The file of questions.
    pub path: PathBuf,
    pub questions: u64,
    pub instructions: u64,
    pub images: u64,
    /// Photos held out beside them, because they are nearly the same.
    pub near_duplicates: u64,
    /// Held-out instructions by category.
    pub categories: BTreeMap<String, u64>,
}

/// Chooses instructions and photos, marks them in the run's store so that no export writes them,
/// and then writes `questions.jsonl` and `images/`. The same call goes on where an earlier one was
/// killed.
///
/// # Errors
/// The run was not matched, holds too few instructions, or holds out another benchmark; a photo
/// has changed since it was embedded; a file cannot be written.
pub fn build(request: &BuildRequest, folder: &RunFolder) -> Result<Benchmark, Error> {
    request.validate()?;
    let store = folder.store()?;
    let Some(matching) = Settings::read(&store)?.matching else {
        let path = folder.path().to_owned();
        return Err(
            PipelineError::StepMissing { path, step: "evaluate build", needs: "match" }.into()
        );
    };
    let out = prepare_out(&request.out)?;
    let pairs = store.pairs_to_hold(&matching.conf)?;
    let chosen = match store.held_benchmark()? {
        Some(held) => resume(&held, &out, request, pairs)?,
        None => {
            let chosen = choose::choose(&pairs, request, folder.path())?;
            mark(&store, &chosen, &out, request)?;
            chosen
        }
    };
    hold_near_duplicates(&store, &matching.encoder.hash)?;
    write(&out, &chosen)?;
    Ok(summary(&out, &chosen, store.held_out()?.near.len()))
}

impl BuildRequest {
    fn validate(&self) -> Result<(), EvaluationError> {
        within("instructions", self.instructions.into(), 1, 100_000)?;
        within("images", self.images.into(), 1, 1000)?;
        if self.near > 0.0 && self.near <= 1.0 {
            return Ok(());
        }
        let (value, expected) = (self.near.to_string(), "above 0 and at most 1".to_owned());
        Err(EvaluationError::Setting { setting: "near", value, expected })
    }

    /// Everything but the folder that a choice depends on.
    fn settings(&self) -> String {
        let Self { out: _, instructions, images, near, seed } = self;
        format!("instructions {instructions}, images {images}, near {near}, seed {seed}")
    }
}

fn prepare_out(out: &Path) -> Result<PathBuf, EvaluationError> {
    let io = |source| EvaluationError::Io { path: out.to_owned(), source };
    fs_err::create_dir_all(out.join(IMAGES)).map_err(io)?;
    let path = fs_err::canonicalize(out).map_err(io)?;
    match path.to_str() {
        Some(_) => Ok(path),
        None => {
            let message = "the run must remember this path, so it must be Unicode".to_owned();
            Err(EvaluationError::Benchmark { path, message })
        }
    }
}

/// What was chosen before: a run that has grown must not choose again.
fn resume(
    held: &HeldBenchmark,
    out: &Path,
    request: &BuildRequest,
    pairs: Vec<PairToHold>,
) -> Result<Vec<PairToHold>, EvaluationError> {
    let refuse = |message: String| EvaluationError::Benchmark { path: out.to_owned(), message };
    if held.folder != out || held.settings != request.settings() {
        return Err(refuse(format!(
            "this run already holds out the benchmark in {} ({}); a second one would make the \
             first one's photos trainable again, so build it from another run",
            held.folder.display(),
            held.settings
        )));
    }
    let mut by_key: BTreeMap<String, PairToHold> =
        pairs.into_iter().map(|pair| (pair.pair_key.clone(), pair)).collect();
    let chosen: Option<Vec<PairToHold>> = held.pairs.iter().map(|key| by_key.remove(key)).collect();
    chosen.ok_or_else(|| {
        refuse("the run was matched anew, and some of the benchmark's pairs are gone".to_owned())
    })
}

/// Before any file is written: a kill between the two must not leave a benchmark in the exports.
fn mark(
    store: &Store,
    chosen: &[PairToHold],
    out: &Path,
    request: &BuildRequest,
) -> Result<(), Error> {
    let benchmark = HeldBenchmark {
        folder: out.to_owned(),
        near: request.near,
        pairs: chosen.iter().map(|pair| pair.pair_key.clone()).collect(),
        settings: request.settings(),
    };
    let images: BTreeSet<&str> = chosen.iter().map(|pair| pair.image_sha256.as_str()).collect();
    let words: BTreeSet<String> =
        chosen.iter().map(|pair| plain_words(&pair.instruction)).collect();
    let texts = store.instruction_texts()?;
    // Copies of a held-out instruction under another key are the same instruction.
    let twins = texts.iter().filter(|(_, text)| words.contains(&plain_words(text)));
    let instructions: BTreeSet<&str> = twins.map(|(key, _)| key.as_str()).collect();
    Ok(store.hold_out(&benchmark, &images, &instructions)?)
}

fn write(out: &Path, chosen: &[PairToHold]) -> Result<(), Error> {
    let mut text = String::new();
    for (index, pair) in chosen.iter().enumerate() {
        let question = Question {
            question_id: QuestionId::Number(index as i64),
            image: copy_image(out, pair)?,
            text: pair.instruction.clone(),
            caption: pair.description.clone(),
            category: pair.category.clone(),
        };
        text.push_str(&serde_json::json!(question).to_string());
        text.push('\n');
    }
    output::save(&out.join(QUESTIONS_FILE), text.as_bytes())
}

/// Copies a photo under the name of its content, and returns that name.
fn copy_image(out: &Path, pair: &PairToHold) -> Result<String, Error> {
    let ending = if pair.format == "jpeg" { "jpg" } else { &pair.format };
    let name = format!("{:.32}.{ending}", pair.image_sha256);
    let target = out.join(IMAGES).join(&name);
    // It was within the run's limits when it was embedded, and must be the same still.
    let limits = ImageLimits { max_file_bytes: u64::MAX, ..ImageLimits::default() };
    let bytes = FileAccess::Anywhere.read(&pair.image, &limits)?;
    if hash::sha256_hex(&bytes) != pair.image_sha256 {
        let message = "this photo was changed since it was embedded; run the run again".to_owned();
        return Err(
            EvaluationError::Benchmark { path: pair.image.to_string().into(), message }.into()
        );
    }
    if !target.is_file() {
        output::save(&target, &bytes)?;
    }
    Ok(name)
}

fn summary(out: &Path, chosen: &[PairToHold], near: usize) -> Benchmark {
    let mut by_category: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for pair in chosen {
        by_category.entry(pair.category.clone()).or_default().insert(&pair.instruction_key);
    }
    let count =
        |key: fn(&PairToHold) -> &str| chosen.iter().map(key).collect::<BTreeSet<_>>().len() as u64;
    Benchmark {
        path: out.join(QUESTIONS_FILE),
        questions: chosen.len() as u64,
        instructions: count(|pair| &pair.instruction_key),
        images: count(|pair| &pair.image_sha256),
        near_duplicates: near as u64,
        categories: by_category.into_iter().map(|(name, keys)| (name, keys.len() as u64)).collect(),
    }
}
