//! Recall@10 against searches a second: this index, the way it searched before, hnswlib and faiss
//! over the same vectors in one run. Without vectors, as `cargo bench` starts it, it says what it
//! needs and measures nothing.
//!
//! `cargo bench --bench search_peers -- VECTORS.npy [--photos PHOTOS.npy] [--queries N]` runs
//! `search_peers.py` in the environment `make bench` makes (`PAIRWRIGHT_PYTHON` overrides), which
//! builds its own indexes, calls this program back for ours (`--serve`), and takes the engines in
//! turn, round by round, so that a noisy machine troubles all. Speeds are per second of the
//! process's own CPU time, medians of the rounds.
//!
//! The vectors are float32 rows of one width; every so many-th is held back as a query, which is
//! not in the index. `--photos` asks with other vectors instead, such as the embeddings of crops
//! (`--crops FOLDER PHOTOS.npy` makes them: seeded crops of the photos in a folder).

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use clap::Parser;
use pairwright::dataset::sink::NpyWriter;
use pairwright::encoder::{Encoder, EncoderOptions, OnnxEncoder};
use pairwright::image::DecodeOptions;
use pairwright::index::{
    Ask, ExactIndex, HeldBack, Hit, IndexConfig, IndexKind, LocalIndex, Modality, UsearchIndex,
    VectorSearch, VectorStore,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use usearch::{Index, IndexOptions, MetricKind, ScalarKind};

#[path = "support/figures.rs"]
mod figures;
#[path = "../tests/support/npy.rs"]
#[expect(dead_code, reason = "what else tests measure with it")]
mod npy;
#[path = "support/process.rs"]
mod process;

use figures::Figures;
use process::cpu_seconds;

#[derive(Parser)]
struct Options {
    /// The vectors.
    vectors: Option<PathBuf>,
    /// Queries from here in place of some of the vectors.
    #[arg(long)]
    photos: Option<PathBuf>,
    /// Queries.
    #[arg(long, default_value_t = 1000)]
    queries: usize,
    /// Vectors taken; 0 takes all.
    #[arg(long, default_value_t = 0)]
    count: usize,
    /// Rounds.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Leaves one of `before`, `ours`, `hnswlib`, `faiss` out; may stand more than once.
    #[arg(long)]
    skip: Vec<String>,
    /// Makes embeddings of crops instead: a folder of photos, and the file to write.
    #[arg(long, num_args = 2, value_names = ["FOLDER", "NPY"])]
    crops: Option<Vec<PathBuf>>,
    /// Crops of each photo.
    #[arg(long, default_value_t = 25)]
    each: usize,
    /// Answers the script's calls.
    #[arg(long, hide = true)]
    serve: bool,
    /// cargo's own.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let options = Options::parse();
    if let Some([folder, file]) = options.crops.as_deref() {
        return crops(folder, file, options.each);
    }
    if options.serve {
        return serve(&options);
    }
    let Some(vectors) = &options.vectors else {
        // `cargo bench` starts every bench without arguments: that is no failure.
        println!(
            "search_peers: nothing measured, it needs vectors: \
             cargo bench --bench search_peers -- VECTORS.npy"
        );
        return;
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(process::python());
    command.arg(root.join("benches/search_peers.py"));
    command.arg(std::env::current_exe().expect("this program"));
    command.arg(vectors);
    command.args(["--queries", &options.queries.to_string()]);
    command.args(["--count", &options.count.to_string()]);
    command.args(["--rounds", &options.rounds.to_string()]);
    options.skip.iter().for_each(|name| _ = command.args(["--skip", name]));
    if let Some(photos) = &options.photos {
        command.arg("--photos").arg(photos);
    }
    let name = vectors.file_stem().unwrap_or_default().to_string_lossy();
    let asked = if options.photos.is_some() { "-photos" } else { "" };
    command.arg("--figures").arg(Figures::begin(&format!("search_peers-{name}{asked}")).path());
    let status = command.status().expect("Python; `make bench` makes its environment");
    assert!(status.success(), "the script failed");
}

/// An engine of this process.
enum Engine {
    /// usearch by cosine over f32: the index as it was.
    Before(Index),
    Ours(UsearchIndex),
    Exact(ExactIndex),
}

impl Engine {
    fn search(&self, queries: &[&[f32]], width: usize, modality: Modality) -> Vec<Vec<String>> {
        let ids = |hits: Vec<Hit>| hits.into_iter().map(|hit| hit.id).collect();
        match self {
            Self::Before(index) => {
                index.change_expansion_search(width);
                let found = |query: &&[f32]| index.search(query, 10).expect("searched").keys;
                queries
                    .iter()
                    .map(found)
                    .map(|keys| keys.iter().map(u64::to_string).collect())
                    .collect()
            }
            Self::Ours(index) if width > 0 => {
                let found =
                    |query: &&[f32]| index.search_width(query, 10, width).expect("searched");
                queries.iter().map(found).map(ids).collect()
            }
            Self::Ours(index) => {
                let found =
                    index.search_many(queries, Ask::top(10).of(modality)).expect("searched");
                found.into_iter().map(ids).collect()
            }
            // The width is how many queries come together.
            Self::Exact(index) => {
                let parts = queries.chunks(width.max(1));
                let found =
                    parts.map(|part| index.search_many(part, Ask::top(10)).expect("searched"));
                found.flatten().map(ids).collect()
            }
        }
    }
}

/// Builds what the script asks for and answers its searches: one line in, one line out.
fn serve(options: &Options) {
    let (base, queries) = split(options);
    let modality = if options.photos.is_some() { Modality::Image } else { Modality::Text };
    let queries: Vec<&[f32]> = queries.iter().map(Vec::as_slice).collect();
    let (mut engines, mut truth) = (Vec::new(), Vec::new());
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("a line");
        let words: Vec<&str> = line.split_whitespace().collect();
        let began = (Instant::now(), cpu_seconds());
        let mut answer = String::new();
        match words[..] {
            ["build", name] => {
                let engine = build(name, &base);
                if let Engine::Ours(index) = &engine {
                    if modality == Modality::Image {
                        let half = queries.iter().step_by(4).map(|query| query.to_vec()).collect();
                        let measurement = pairwright::index::Measurement::new(modality, half);
                        measurement.run(index).expect("measured");
                    }
                    answer = index.facts().to_string();
                }
                engines.push((name.to_owned(), engine));
            }
            ["truth"] => {
                let exact = build("exact", &base);
                truth = exact.search(&queries, queries.len(), modality);
                answer = truth.iter().map(|ids| ids.join(",")).collect::<Vec<_>>().join(" ");
            }
            ["search", name, width, threads] => {
                let width = width.parse().expect("a width");
                let threads: usize = threads.parse().expect("threads");
                let (_, engine) = engines.iter().find(|(known, _)| known == name).expect("built");
                let share = queries.len().div_ceil(threads);
                let found: Vec<Vec<String>> = std::thread::scope(|scope| {
                    let search = |part| scope.spawn(move || engine.search(part, width, modality));
                    let running: Vec<_> = queries.chunks(share).map(search).collect();
                    running.into_iter().flat_map(|one| one.join().expect("searched")).collect()
                });
                let shared = truth
                    .iter()
                    .zip(&found)
                    .map(|(truth, found)| found.iter().filter(|id| truth.contains(id)).count());
                answer = (shared.sum::<usize>() as f64 / (10 * queries.len()) as f64).to_string();
            }
            _ => panic!("not understood: {line}"),
        }
        let wall = began.0.elapsed().as_secs_f64();
        println!("{} {wall} {answer}", cpu_seconds() - began.1);
        std::io::stdout().flush().expect("written");
    }
}

/// Vectors copied at once while an index is filled.
const PART: usize = 1024;

fn build(name: &str, base: &[(usize, Vec<f32>)]) -> Engine {
    let dim = base[0].1.len();
    match name {
        "before" => {
            let index = Index::new(&IndexOptions {
                dimensions: dim,
                metric: MetricKind::Cos,
                quantization: ScalarKind::F32,
                connectivity: 16,
                expansion_add: 128,
                expansion_search: 64,
                multi: false,
            });
            let index = index.expect("an index");
            index.reserve_capacity_and_threads(base.len(), 2).expect("memory");
            for (at, vector) in base {
                index.add(*at as u64, vector).expect("added");
            }
            Engine::Before(index)
        }
        "exact" => {
            let mut index = ExactIndex::new(dim, 1).expect("an index");
            for (at, vector) in base {
                index.add(&at.to_string(), vector).expect("added");
            }
            Engine::Exact(index)
        }
        _ => {
            let config =
                IndexConfig { kind: IndexKind::Usearch, threads: 2, ..IndexConfig::default() };
            let mut index = UsearchIndex::new(dim, &config).expect("an index");
            let mut held_back = HeldBack::new(&index, base.len());
            for part in base.chunks(PART) {
                let items = part.iter().map(|(at, vector)| (at.to_string(), vector.clone()));
                for (id, vector) in held_back.sift(items.collect()) {
                    index.add(&id, &vector).expect("added");
                }
            }
            held_back.finish(&mut index, Modality::Text).expect("measured");
            Engine::Ours(index)
        }
    }
}

/// A row's number and its vector.
type Numbered = (usize, Vec<f32>);

/// The vectors of the index with their rows in the file, and the queries: as the script does it.
fn split(options: &Options) -> (Vec<Numbered>, Vec<Vec<f32>>) {
    let mut rows = npy::rows(options.vectors.as_deref().expect("a file of vectors"));
    if options.count > 0 {
        rows.truncate(options.count);
    }
    if let Some(photos) = &options.photos {
        let mut queries = npy::rows(photos);
        queries.truncate(options.queries);
        return (rows.into_iter().enumerate().collect(), queries);
    }
    let every = rows.len() / options.queries;
    let held = |at: usize| at.is_multiple_of(every) && at / every < options.queries;
    let (queries, base): (Vec<_>, Vec<_>) =
        rows.into_iter().enumerate().partition(|(at, _)| held(*at));
    (base, queries.into_iter().map(|(_, vector)| vector).collect())
}

/// Embeddings of seeded crops: from half to all of each side, anywhere in the photo.
fn crops(folder: &Path, file: &Path, each: usize) {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/mini");
    let encoder = OnnxEncoder::open(&model, &EncoderOptions::default(), DecodeOptions::default());
    let encoder = encoder.expect("the bundled model");
    let mut paths: Vec<PathBuf> = walkdir::WalkDir::new(folder)
        .into_iter()
        .filter_map(|entry| Some(entry.ok()?.into_path()))
        .filter(|path| path.extension().is_some_and(|kind| kind == "jpg"))
        .collect();
    paths.sort();
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut writer = NpyWriter::create(file, encoder.dim()).expect("a file");
    for path in &paths {
        let photo = image::open(path).expect("a photo");
        let crop = |_: usize| {
            let share = random.random_range(0.5..1.0);
            let (width, height) = (f64::from(photo.width()), f64::from(photo.height()));
            let (x, y) =
                (random.random_range(0.0..1.0 - share), random.random_range(0.0..1.0 - share));
            let part = photo.crop_imm(
                (x * width) as u32,
                (y * height) as u32,
                (share * width) as u32,
                (share * height) as u32,
            );
            let mut bytes = std::io::Cursor::new(Vec::new());
            part.write_to(&mut bytes, image::ImageFormat::Png).expect("encoded");
            encoder.preprocessor().prepare(&bytes.into_inner()).expect("decodes").0
        };
        let pixels: Vec<_> = (0..each).map(crop).collect();
        for batch in pixels.chunks(8) {
            for vector in encoder.embed_images(batch).expect("embeds") {
                writer.push(&vector).expect("written");
            }
        }
    }
    writer.finish().expect("written");
    println!("{} crops of {} photos", paths.len() * each, paths.len());
}
