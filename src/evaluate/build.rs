//! Builds a benchmark out of a run: instructions and photos that the run's exports then leave out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::Error;
use crate::base::hash;
use crate::dataset::Photos;
use crate::dataset::record::Pair;
use crate::dataset::store::{HeldBenchmark, Store, plain_words};
use crate::image::ImageLimits;
use crate::run::{RunError, RunFolder, Settings, hold_near_duplicates};
use crate::sandbox::FileAccess;

use super::error::EvaluationError;
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
        return Err(RunError::StepMissing { path, step: "evaluate build", needs: "match" }.into());
    };
    let out = prepare_out(&request.out)?;
    let pairs = store.pairs(&matching.conf)?;
    let chosen = match store.held_benchmark()? {
        Some(held) => resume(&held, &out, request, pairs)?,
        None => {
            let chosen = choose(&pairs, request, folder.path())?;
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
    pairs: Vec<Pair>,
) -> Result<Vec<Pair>, EvaluationError> {
    let refuse = |message: String| EvaluationError::Benchmark { path: out.to_owned(), message };
    if held.folder != out || held.settings != request.settings() {
        return Err(refuse(format!(
            "this run already holds out the benchmark in {} ({}); a second one would make the \
             first one's photos trainable again, so build it from another run",
            held.folder.display(),
            held.settings
        )));
    }
    let mut by_key: BTreeMap<String, Pair> =
        pairs.into_iter().map(|pair| (pair.key.clone(), pair)).collect();
    let chosen: Option<Vec<Pair>> = held.pairs.iter().map(|key| by_key.remove(key)).collect();
    chosen.ok_or_else(|| {
        refuse("the run was matched anew, and some of the benchmark's pairs are gone".to_owned())
    })
}

/// Before any file is written: a kill between the two must not leave a benchmark in the exports.
fn mark(store: &Store, chosen: &[Pair], out: &Path, request: &BuildRequest) -> Result<(), Error> {
    let benchmark = HeldBenchmark {
        folder: out.to_owned(),
        near: request.near,
        pairs: chosen.iter().map(|pair| pair.key.clone()).collect(),
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

fn write(out: &Path, chosen: &[Pair]) -> Result<(), Error> {
    let mut rows = Vec::new();
    for (index, pair) in chosen.iter().enumerate() {
        let question = Question {
            question_id: QuestionId::Number(index as i64),
            image: copy_image(out, pair)?,
            text: pair.instruction.clone(),
            caption: pair.description.clone(),
            category: category(pair).to_owned(),
        };
        rows.push(serde_json::json!(question));
    }
    output::save_json_lines(&out.join(QUESTIONS_FILE), &rows)
}

/// The category or cluster of a pair's instruction; empty where it has none.
fn category(pair: &Pair) -> &str {
    pair.category.as_deref().unwrap_or_default()
}

/// Copies a photo under the name of its content, and returns that name.
fn copy_image(out: &Path, pair: &Pair) -> Result<String, Error> {
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

fn summary(out: &Path, chosen: &[Pair], near: usize) -> Benchmark {
    let mut by_category: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for pair in chosen {
        by_category.entry(category(pair).to_owned()).or_default().insert(&pair.instruction_key);
    }
    let count =
        |key: fn(&Pair) -> &str| chosen.iter().map(key).collect::<BTreeSet<_>>().len() as u64;
    Benchmark {
        path: out.join(QUESTIONS_FILE),
        questions: chosen.len() as u64,
        instructions: count(|pair| &pair.instruction_key),
        images: count(|pair| &pair.image_sha256),
        near_duplicates: near as u64,
        categories: by_category.into_iter().map(|(name, keys)| (name, keys.len() as u64)).collect(),
    }
}

/// Instructions by category, each with its pairs.
type Strata<'a> = BTreeMap<&'a str, BTreeMap<&'a str, Vec<&'a Pair>>>;

/// Chooses instructions in proportion to the categories' sizes, then photos for each: those first
/// that no earlier instruction took. The same pairs and seed give the same choice.
fn choose(
    pairs: &[Pair],
    request: &BuildRequest,
    run: &Path,
) -> Result<Vec<Pair>, EvaluationError> {
    let mut strata = Strata::new();
    for pair in pairs {
        let stratum = strata.entry(category(pair)).or_default();
        stratum.entry(&pair.instruction_key).or_default().push(pair);
    }
    let sizes: Vec<usize> = strata.values().map(BTreeMap::len).collect();
    let (wanted, there) = (request.instructions as usize, sizes.iter().sum::<usize>());
    // The last one must stay: a run that holds out all it has trains nothing.
    if wanted >= there {
        let message = format!(
            "its pairs have {there} instructions, too few to hold out {wanted} and keep any"
        );
        return Err(EvaluationError::Benchmark { path: run.to_owned(), message });
    }
    let mut random = ChaCha8Rng::seed_from_u64(hash::seed(request.seed, &["evaluate build"]));
    let (mut chosen, mut taken) = (Vec::new(), BTreeSet::new());
    for (stratum, count) in strata.values().zip(shares(&sizes, wanted)) {
        let mut instructions: Vec<&Vec<&Pair>> = stratum.values().collect();
        instructions.shuffle(&mut random);
        for pairs in instructions.into_iter().take(count) {
            let mut pairs = pairs.clone();
            pairs.shuffle(&mut random);
            pairs.sort_by_key(|pair| taken.contains(pair.image_sha256.as_str()));
            for pair in pairs.into_iter().take(request.images as usize) {
                taken.insert(pair.image_sha256.as_str());
                chosen.push(pair.clone());
            }
        }
    }
    Ok(chosen)
}

/// `wanted` places in proportion to `sizes`: whole parts first, then the largest remainders. No
/// share passes its size, since `wanted` is at most their sum.
fn shares(sizes: &[usize], wanted: usize) -> Vec<usize> {
    let total: usize = sizes.iter().sum();
    let mut shares: Vec<usize> = sizes.iter().map(|size| size * wanted / total).collect();
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(sizes[*index] * wanted % total));
    let left = wanted - shares.iter().sum::<usize>();
    for index in order.into_iter().take(left) {
        shares[index] += 1;
    }
    shares
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pair(instruction: usize, image: usize) -> Pair {
        Pair {
            key: format!("{instruction}-{image}"),
            instruction_key: format!("i{instruction}"),
            instruction: format!("Do {instruction}."),
            category: Some(if instruction < 8 { "big" } else { "small" }.into()),
            image_sha256: format!("{image}"),
            ..Pair::default()
        }
    }

    fn pairs() -> Vec<Pair> {
        (0..12).flat_map(|one| (0..5).map(move |image| pair(one, one * 3 + image))).collect()
    }

    fn request(instructions: u32, seed: u64) -> BuildRequest {
        BuildRequest { out: "out".into(), instructions, images: 2, near: 0.95, seed }
    }

    #[test]
    fn categories_get_their_share_and_seeds_matter() {
        let chosen = choose(&pairs(), &request(6, 1), Path::new("run")).expect("enough");
        assert_eq!(chosen.len(), 12, "two photos for each");
        let of = |name: &str| {
            let keys = chosen.iter().filter(|pair| category(pair) == name);
            keys.map(|pair| &pair.instruction_key).collect::<BTreeSet<_>>().len()
        };
        assert_eq!((of("big"), of("small")), (4, 2), "8 to 4, halved");
        let again = choose(&pairs(), &request(6, 1), Path::new("run")).expect("enough");
        assert_eq!(chosen, again);
        assert_ne!(chosen, choose(&pairs(), &request(6, 2), Path::new("run")).expect("enough"));
    }

    #[test]
    fn a_run_must_keep_something() {
        let error = choose(&pairs(), &request(12, 1), Path::new("run")).expect_err("all of it");
        assert!(error.to_string().contains("12 instructions, too few to hold out 12"), "{error}");
    }

    proptest! {
        #[test]
        fn shares_fit(sizes in proptest::collection::vec(1usize..50, 1..12), part in 0.0f64..1.0) {
            let total: usize = sizes.iter().sum();
            let wanted = (total as f64 * part) as usize;
            let shares = shares(&sizes, wanted);
            prop_assert_eq!(shares.iter().sum::<usize>(), wanted);
            prop_assert!(shares.iter().zip(&sizes).all(|(share, size)| share <= size));
        }
    }
}
