//! How long the instruction library takes at a size: creating, building the graph, saving, opening,
//! and how long searches wait beside a bulk create.
//!
//! `cargo run --release --example library_scale -- [COUNT] [FOLDER]`, 100,000 vectors of width 384
//! by default, scattered around 1,000 centres, in a temporary folder.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pairwright::encoder::EncoderError;
use pairwright::index::IndexConfig;
use pairwright::instruction::store::{InstructionStore, NewInstruction};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const DIM: usize = 384;
const CENTRES: u64 = 1000;
const CALL: usize = 1000;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let count: usize = arguments.next().map_or(Ok(100_000), |count| count.parse())?;
    let folder = arguments.next().map_or_else(
        || std::env::temp_dir().join(format!("library-scale-{}", std::process::id())),
        PathBuf::from,
    );
    let store = timed("open an empty library", || open(&folder))?;
    timed(&format!("create {count} in calls of {CALL}"), || fill(&store, 0..count))?;
    timed("build the other index and save it", || store.maintain(&|| false))?;
    println!("{:?}; {} MB resident", store.index_kind(), resident_mb()?);
    println!("alone: {}", waits(&store, &AtomicBool::new(true)));
    timed("create 1,000 more beside searches", || beside_searches(&store, count))?;
    timed("save", || store.save_snapshot())?;
    drop(store);
    let store = timed("open with a snapshot", || open(&folder))?;
    println!("{} instructions; {} MB resident", store.len(), resident_mb()?);
    drop(store);
    fs_err::remove_dir_all(&folder)?;
    Ok(())
}

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let value = work();
    println!("{what}: {:.2} s", begun.elapsed().as_secs_f64());
    value
}

fn open(folder: &Path) -> Result<InstructionStore, Box<dyn Error>> {
    let embed = |_: &[&str]| -> Result<Vec<Vec<f32>>, EncoderError> {
        Err(EncoderError::Tokenize { message: "all vectors are made up".into() })
    };
    Ok(InstructionStore::open(folder, "made up", DIM, &IndexConfig::default(), &embed)?)
}

fn vector(number: usize) -> Vec<f32> {
    let mut centre = ChaCha8Rng::seed_from_u64(number as u64 % CENTRES);
    let mut own = ChaCha8Rng::seed_from_u64(CENTRES + number as u64);
    let mut draw = |_| centre.random_range(-1.0..1.0f32) + own.random_range(-0.7..0.7f32);
    (0..DIM).map(&mut draw).collect()
}

fn fill(store: &InstructionStore, numbers: std::ops::Range<usize>) -> Result<(), Box<dyn Error>> {
    for first in numbers.clone().step_by(CALL) {
        let new = (first..numbers.end.min(first + CALL)).map(|number| NewInstruction {
            id: Some(format!("instruction-{number}")),
            text: format!("Describe the scene from the point of view of visitor {number}."),
            category: Some(format!("category-{}", number % 20)),
            vector: vector(number),
            ..NewInstruction::default()
        });
        for outcome in store.create(new.collect())? {
            outcome?;
        }
    }
    Ok(())
}

fn beside_searches(store: &InstructionStore, count: usize) -> Result<(), Box<dyn Error>> {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let searching = scope.spawn(|| waits(store, &done));
        let filled = fill(store, count..count + CALL).map_err(|error| error.to_string());
        done.store(true, Ordering::Relaxed);
        println!("beside: {}", searching.join().unwrap_or_default());
        filled.map_err(Into::into)
    })
}

/// Search times until `done`, of at least 200 searches.
fn waits(store: &InstructionStore, done: &AtomicBool) -> String {
    let mut times: Vec<Duration> = Vec::new();
    while times.len() < 200 || !done.load(Ordering::Relaxed) {
        let query = vector(7 * times.len() + 3);
        let begun = Instant::now();
        if let Err(error) = store.search(&query, 10, None) {
            return error.to_string();
        }
        times.push(begun.elapsed());
    }
    times.sort();
    let at = |share: f64| times[(times.len() as f64 * share) as usize].as_secs_f64() * 1e3;
    let (half, most, last) = (at(0.5), at(0.99), times[times.len() - 1].as_secs_f64() * 1e3);
    format!("{} searches: p50 {half:.2} ms, p99 {most:.2} ms, max {last:.2} ms", times.len())
}

/// Linux only: elsewhere 0.
fn resident_mb() -> Result<usize, Box<dyn Error>> {
    let status = fs_err::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    Ok(line.unwrap_or("0 kB").trim().trim_end_matches(" kB").parse::<usize>()? / 1000)
}
