//! How long `filter --dry-run` takes over a large run. `cargo bench --bench dry_run -- [SAMPLES]`,
//! 10,000 if none is given.

use std::time::Instant;

use pairwright::config::Layers;
use pairwright::dataset::store::Store;
use pairwright::measure::keep::Keep;
use pairwright::run::{DryRunOptions, dry_run, store_path};

#[path = "../tests/support/made_run.rs"]
mod made_run;

fn main() {
    let given = std::env::args().skip(1).find_map(|argument| argument.parse().ok());
    let samples: usize = given.unwrap_or(10_000);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let started = Instant::now();
    made_run::make(folder.path(), samples);
    println!("made a run of {samples} samples in {:.1} s", started.elapsed().as_secs_f64());
    let config = Layers::default().file(&folder.path().join("run.toml")).expect("a file");
    let config = config.resolve().expect("a configuration");
    let list = ["sentence_similarity_min >= 0.2", "completion_tokens < 130", "similarity > 0.05"];
    let keep = Keep::parse(&list).expect("expressions");
    let options = DryRunOptions { seed: 0, show: 3 };
    for _ in 0..3 {
        let started = Instant::now();
        let store = Store::open_to_read(&store_path(folder.path())).expect("a store");
        let found = dry_run(folder.path(), &store, &config, &keep, options).expect("a dry run");
        let seconds = started.elapsed().as_secs_f64();
        println!("{seconds:.2} s; {} of {} left out", found.together.left_out, found.samples);
    }
}
