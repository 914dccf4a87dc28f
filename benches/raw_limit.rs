//! What the queue costs: photos per second from JPEG bytes to embeddings without a queue, at the
//! best split of the cores, beside the queue with 1, 8 and 64 callers in the same run; and what a
//! job beside 8 callers does to their waiting times.
//!
//! `cargo bench --bench raw_limit -- [--images DIR] [--rounds N] [--photos N] [--config TOML]
//! [--split SxT]`, where the last sets the sessions and the threads of each instead of trying.
//! Rounds take turns, so that a noisy machine troubles all alike; figures are medians of rounds.

#[path = "support/figures.rs"]
mod figures;
#[path = "support/photos.rs"]
mod photos;
#[path = "support/process.rs"]
mod process;
mod raw_limit {
    pub mod callers;
    pub mod job;
    pub mod raw;
}

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use pairwright::encoder::queue::{EncoderService, QueueConfig, Unobserved};
use pairwright::encoder::{Encoder, EncoderOptions, OnnxEncoder};
use pairwright::image::DecodeOptions;
use pairwright::model::Device;

use figures::median;
use process::cpu_seconds;
use raw_limit::callers::{Callers, percentile};
use raw_limit::job::BesideJob;
use raw_limit::raw::{Split, splits};

struct Options {
    images: PathBuf,
    rounds: usize,
    photos: usize,
    config: QueueConfig,
    /// Sessions and the threads of each, where they are not to be tried.
    split: Option<(usize, usize)>,
}

/// The photos, in memory.
pub type Photos = Arc<Vec<Bytes>>;

fn main() {
    let options = options();
    let photos = read(&options.images);
    println!(
        "{} photos of {}, {} per round, {} rounds; {:?}",
        photos.len(),
        options.images.display(),
        options.photos,
        options.rounds,
        options.config
    );
    let best = best_split(&photos, &options);
    against_raw(best, &photos, &options);
    beside_job(&photos, &options);
}

/// Every split once a round: a spell of noise costs each a round and none its place.
fn best_split(photos: &Photos, options: &Options) -> Split {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let shapes = options.split.map_or_else(|| vec![(1, cores), (cores, 1)], |split| vec![split]);
    let opened: Vec<_> = shapes.iter().map(|&(sessions, intra)| open(sessions, intra)).collect();
    let mut tried: Vec<Tried> = shapes
        .iter()
        .enumerate()
        .flat_map(|(at, &(sessions, intra))| {
            splits(sessions, intra, cores).into_iter().map(move |split| (at, split))
        })
        .map(|(encoder, split)| Tried { encoder, split, rates: Vec::new(), cpu: Vec::new() })
        .collect();
    let count = (options.photos / 4).max(1);
    for round in 0..=options.rounds {
        for one in &mut tried {
            let before = cpu_seconds();
            let rate = one.split.rate(&opened[one.encoder], photos, count);
            // The first round warms up.
            if round > 0 {
                one.rates.push(rate);
                one.cpu.push((cpu_seconds() - before) * 1e3 / count as f64);
            }
        }
    }
    tried.sort_by(|a, b| median(&b.rates).total_cmp(&median(&a.rates)));
    for Tried { split, rates, cpu, .. } in &tried {
        let (rate, cpu) = (median(rates), median(cpu));
        println!("raw {split}: {rate:.1} images/s, {cpu:.1} ms of CPU an image");
    }
    let best = tried.first().expect("a split was measured");
    println!("best raw split: {}: {:.1} images/s", best.split, median(&best.rates));
    best.split
}

/// A split and what its rounds came to.
struct Tried {
    /// Which of the opened encoders it uses.
    encoder: usize,
    split: Split,
    rates: Vec<f64>,
    /// Milliseconds of CPU an image.
    cpu: Vec<f64>,
}

fn against_raw(best: Split, photos: &Photos, options: &Options) {
    let raw = open(best.sessions, best.intra);
    let service = serve(&options.config);
    let unbatched = serve(&QueueConfig { batch_size: 1, ..options.config.clone() });
    let runtime = runtime();
    let mut figures: Vec<(String, Vec<f64>)> = Vec::new();
    for round in 0..=options.rounds {
        let mut of_round = vec![("raw".to_owned(), best.rate(&raw, photos, options.photos))];
        for (name, service) in [("queue", &service), ("queue, batching off", &unbatched)] {
            for callers in [1, 8, 64] {
                let load = Callers { callers, photos: options.photos };
                let run = runtime.block_on(load.run(service, photos));
                of_round.push((format!("{name}, {callers} callers"), run.rate));
            }
        }
        // The first round warms up.
        if round > 0 {
            add(&mut figures, of_round);
        }
    }
    let raw = median(&figures[0].1);
    for (name, rates) in &figures {
        let rate = median(rates);
        println!("{name}: {rate:.1} images/s, {:.3} of raw", rate / raw);
    }
}

fn beside_job(photos: &Photos, options: &Options) {
    let service = serve(&options.config);
    let runtime = runtime();
    let load = Callers { callers: 8, photos: options.photos };
    let mut figures: Vec<(String, Vec<f64>)> = Vec::new();
    for round in 0..=options.rounds {
        let alone = runtime.block_on(load.run(&service, photos));
        let job = BesideJob::start(&service, photos);
        let beside = runtime.block_on(load.run(&service, photos));
        let job_rate = job.stop();
        let job = BesideJob::start(&service, photos);
        std::thread::sleep(std::time::Duration::from_secs(3));
        let job_alone = job.stop();
        let of_round = vec![
            ("8 callers, images/s".to_owned(), alone.rate),
            ("8 callers, p50 ms".to_owned(), percentile(&alone.waits, 0.50)),
            ("8 callers, p99 ms".to_owned(), percentile(&alone.waits, 0.99)),
            ("beside a job, images/s".to_owned(), beside.rate),
            ("beside a job, p50 ms".to_owned(), percentile(&beside.waits, 0.50)),
            ("beside a job, p99 ms".to_owned(), percentile(&beside.waits, 0.99)),
            ("the job, images/s".to_owned(), job_rate),
            ("the job alone, images/s".to_owned(), job_alone),
        ];
        if round > 0 {
            add(&mut figures, of_round);
        }
    }
    for (name, values) in &figures {
        println!("{name}: {:.1}", median(values));
    }
}

fn add(figures: &mut Vec<(String, Vec<f64>)>, of_round: Vec<(String, f64)>) {
    if figures.is_empty() {
        figures.extend(of_round.iter().map(|(name, _)| (name.clone(), Vec::new())));
    }
    for ((_, values), (_, value)) in figures.iter_mut().zip(of_round) {
        values.push(value);
    }
}

fn serve(config: &QueueConfig) -> EncoderService {
    let EncoderOptions { sessions, intra_threads, .. } = config.encoder_options(Device::Auto);
    let encoder = Arc::new(open(sessions, intra_threads));
    EncoderService::start(encoder, config, Arc::new(Unobserved)).expect("starts")
}

fn open(sessions: usize, intra_threads: usize) -> OnnxEncoder {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/mini");
    let options = EncoderOptions { sessions, intra_threads, ..EncoderOptions::default() };
    // As the server opens it.
    let encoder =
        EncoderService::open(|| OnnxEncoder::open(&model, &options, DecodeOptions::default()));
    let encoder = encoder.expect("the bundled encoder opens; run `make setup` once");
    assert_eq!(encoder.dim(), encoder.manifest().embedding_dim);
    encoder
}

/// As few threads as a server needs: they only pass messages.
fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().expect("a runtime")
}

fn read(folder: &Path) -> Photos {
    let bytes = |path: &PathBuf| Bytes::from(fs_err::read(path).expect("reads"));
    Arc::new(photos::files(folder).iter().map(bytes).collect())
}

fn options() -> Options {
    let images = photos::folder();
    let config = QueueConfig::default();
    let mut options = Options { images, rounds: 5, photos: 480, config, split: None };
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    while let Some(name) = arguments.next() {
        let value = arguments.next().unwrap_or_else(|| panic!("{name} wants a value"));
        let number = || value.parse().unwrap_or_else(|_| panic!("{name}: {value} is no number"));
        match name.as_str() {
            "--images" => options.images = value.into(),
            "--rounds" => options.rounds = number(),
            "--photos" => options.photos = number(),
            "--config" => options.config = toml::from_str(&value).expect("settings of the queue"),
            "--split" => options.split = Some(shape(&value)),
            _ => panic!("unknown option {name}"),
        }
    }
    options
}

/// Sessions and threads of each, such as `1x2`.
fn shape(text: &str) -> (usize, usize) {
    let numbers = text.split_once('x').and_then(|(sessions, intra)| {
        let number = |text: &str| text.parse().ok().filter(|&count: &usize| count > 0);
        Some((number(sessions)?, number(intra)?))
    });
    numbers.unwrap_or_else(|| panic!("--split: {text} is not SESSIONSxTHREADS, such as 1x2"))
}
