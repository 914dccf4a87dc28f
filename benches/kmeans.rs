//! K-means beside scikit-learn's on the same vectors: inertia, iterations, seconds, memory.
//!
//! `cargo bench --bench kmeans -- [--k K] [--restarts N] [--threads N] [--rounds N]` clusters 5,000
//! sentence embeddings of the bundled MiniLM; `--random N` clusters N made-up unit vectors of the
//! same width instead, by ourselves alone. The Python side runs in the environment `make bench`
//! makes (`PAIRWRIGHT_PYTHON` overrides). Rounds alternate, so that a noisy machine troubles both.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use clap::Parser;
use ndarray::Array2;
use pairwright::dataset::sink::NpyWriter;
use pairwright::encoder::EncoderOptions;
use pairwright::instruction::Library;
use pairwright::instruction::Seeds;
use pairwright::instruction::cluster::KMeans;
use pairwright::instruction::embed::TextEmbedder;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

#[path = "support/process.rs"]
mod process;

#[derive(Parser)]
struct Options {
    /// Clusters.
    #[arg(long, default_value_t = 50)]
    k: usize,
    /// Starts of k-means++.
    #[arg(long, default_value_t = 4)]
    restarts: usize,
    /// Iterations of each start.
    #[arg(long, default_value_t = 300)]
    iterations: usize,
    /// Threads; 0 takes one per core.
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Rounds of both sides.
    #[arg(long, default_value_t = 3)]
    rounds: u64,
    /// Made-up vectors in place of sentence embeddings.
    #[arg(long)]
    random: Option<usize>,
    /// cargo's own.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Sentences in all, and their width.
const SENTENCES: usize = 5000;
const WIDTH: usize = 384;

fn main() {
    let options = Options::parse();
    let points = match options.random {
        Some(count) => random_points(count),
        None => sentences(),
    };
    println!(
        "{} x {} vectors, k {}, {} starts",
        points.nrows(),
        points.ncols(),
        options.k,
        options.restarts
    );
    let folder = tempfile::tempdir().expect("temp dir");
    let file = folder.path().join("points.npy");
    if options.random.is_none() {
        let mut npy = NpyWriter::create(&file, WIDTH).expect("a file");
        points.rows().into_iter().for_each(|row| {
            npy.push(row.as_slice().expect("whole rows")).expect("written");
        });
        npy.finish().expect("written");
    }
    for round in 0..options.rounds {
        ours(&options, &points, round);
        if options.random.is_none() {
            theirs(&options, &file, round);
        }
    }
}

fn ours(options: &Options, points: &Array2<f32>, seed: u64) {
    let Options { k, restarts, iterations: max_iterations, threads, .. } = *options;
    let settings = KMeans { k, restarts, max_iterations, tolerance: 1e-4, seed, threads };
    let started = Instant::now();
    let found = settings.fit(points.view(), &|| false).expect("k is in range");
    println!(
        "pairwright:   inertia {:.3}, {} iterations of the best start, {:.2} s, peak memory {:.0} MiB",
        found.inertia,
        found.iterations,
        started.elapsed().as_secs_f64(),
        peak_memory()
    );
}

fn theirs(options: &Options, file: &Path, seed: u64) {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(process::python());
    command.arg(project.join("benches/kmeans_sklearn.py")).arg(file);
    let numbers = [options.k, options.restarts, options.iterations, options.threads];
    command.args(numbers.map(|number| number.to_string())).arg(seed.to_string());
    match command.status() {
        Ok(status) if status.success() => {}
        other => println!("scikit-learn: not measured ({other:?}); run `make bench` once"),
    }
}

/// Instructions in many variations, embedded as the cluster stage embeds them.
fn sentences() -> Array2<f32> {
    const MANNERS: [&str; 7] =
        ["", "briefly", "in verse", "with humour", "in plain words", "as a list", "at length"];
    const READERS: [&str; 6] =
        ["", "for children", "for experts", "for a friend", "for tourists", "for a jury"];
    let seeds = Seeds::read(None).expect("built in").seeds.into_iter().map(|seed| seed.text);
    let library = Library::read(None).expect("built in").instructions.into_iter();
    let bases: Vec<String> = seeds.chain(library.map(|one| one.text)).collect();
    let bases = &bases;
    let texts = MANNERS.iter().flat_map(|manner| {
        READERS.iter().flat_map(move |reader| {
            bases
                .iter()
                .map(move |base| format!("{} {manner} {reader}.", base.trim_end_matches('.')))
        })
    });
    let texts: Vec<String> = texts.take(SENTENCES).collect();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/mini");
    let mut embedder = TextEmbedder::open(&model, None, &EncoderOptions::default())
        .expect("the bundled encoder opens; run `make setup` once");
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let vectors = embedder.embed(&texts).expect("embedded");
    Array2::from_shape_fn((vectors.len(), WIDTH), |(row, column)| vectors[row][column])
}

/// Unit vectors around two thousand directions.
fn random_points(count: usize) -> Array2<f32> {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut draw = || random.random_range(-1.0f32..1.0);
    let centres = Array2::from_shape_simple_fn((2000, WIDTH), &mut draw);
    let mut points = Array2::from_shape_simple_fn((count, WIDTH), &mut draw);
    for (number, mut row) in points.rows_mut().into_iter().enumerate() {
        row += &centres.row(number * 7919 % 2000);
        let length = row.dot(&row).sqrt();
        row /= length;
    }
    points
}

/// Most memory this process held so far, MiB.
fn peak_memory() -> f64 {
    let status = fs_err::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.map_or(f64::NAN, |kib| kib / 1024.0)
}
