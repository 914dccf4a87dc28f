//! What load does to the service. A real server, real photos, one process of callers on the same
//! machine.
//!
//!     cargo bench --bench serve_load -- overload [SECONDS]
//!     cargo bench --bench serve_load -- neighbours [SECONDS]
//!     cargo bench --bench serve_load -- throughput [SECONDS]
//!
//! `overload`: ten times more callers than places; every call must be answered. `neighbours`: eight
//! interactive callers without and with a bulk job. `throughput`: EmbedImages at 1, 8 and 64
//! callers, batching on and off, beside the same work without queue and gRPC (by the fastest split
//! of the cores, and by one thread that decodes a photo and embeds it in a session over all cores,
//! as one caller could at best), and beside the program that `PAIRWRIGHT_OTHER` names, such as an
//! earlier release.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use pairwright::encoder::{EncoderOptions, OnnxEncoder};
use pairwright::image::DecodeOptions;
use pairwright::server::pb;
use pairwright::server::pb::embedding_service_client::EmbeddingServiceClient;
use pairwright::server::pb::job_service_client::JobServiceClient;
use pairwright::server::pb::matching_service_client::MatchingServiceClient;
use tonic::Code;
use tonic::transport::Channel;

#[path = "support/figures.rs"]
mod figures;
#[path = "raw_limit/raw.rs"]
mod raw;
#[path = "support/server.rs"]
mod support;

use figures::{Chart, Figures, median};
use raw::{Split, splits};
use support::{Server, percentile, photos};

/// The photos, in memory.
pub type Photos = Arc<Vec<Bytes>>;

/// Places of the overloaded server.
const PLACES: usize = 32;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let seconds = args.get(1).and_then(|text| text.parse().ok()).unwrap_or(60);
    let span = Duration::from_secs(seconds);
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    match args.first().map(String::as_str) {
        Some("overload") => runtime.block_on(overload(span)),
        Some("neighbours") => runtime.block_on(neighbours(span)),
        Some("throughput") => runtime.block_on(throughput(span)),
        _ => eprintln!("say which: overload, neighbours or throughput"),
    }
}

/// What callers saw.
#[derive(Default)]
struct Seen {
    latencies: Vec<f64>,
    refused: u64,
    without_hint: u64,
    other: Vec<String>,
}

impl Seen {
    fn add(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        self.refused += other.refused;
        self.without_hint += other.without_hint;
        self.other.extend(other.other);
    }

    fn sorted(&mut self) -> &[f64] {
        self.latencies.sort_by(f64::total_cmp);
        &self.latencies
    }
}

/// `callers` call with one photo each until `span` is over, each as soon as it is answered.
async fn callers(server: &Server, count: usize, span: Duration, patient: bool) -> Seen {
    let photos = Arc::new(photos());
    let next = Arc::new(AtomicU64::new(0));
    // As many connections as cores would do; more is nearer to real callers.
    let mut channels = Vec::new();
    for _ in 0..count.min(8) {
        channels.push(server.connect().await);
    }
    let until = Instant::now() + span;
    let tasks: Vec<_> = (0..count)
        .map(|caller| {
            let channel = channels[caller % channels.len()].clone();
            let (photos, next) = (Arc::clone(&photos), Arc::clone(&next));
            tokio::spawn(one_caller(channel, photos, next, until, patient))
        })
        .collect();
    let mut seen = Seen::default();
    for task in tasks {
        seen.add(task.await.expect("a caller"));
    }
    seen
}

async fn one_caller(
    channel: Channel,
    photos: Arc<Vec<Vec<u8>>>,
    next: Arc<AtomicU64>,
    until: Instant,
    patient: bool,
) -> Seen {
    let mut client = EmbeddingServiceClient::new(channel);
    let mut seen = Seen::default();
    while Instant::now() < until {
        let photo = &photos[next.fetch_add(1, Relaxed) as usize % photos.len()];
        let source = pb::image::Source::Content(photo.clone().into());
        let request =
            pb::EmbedImagesRequest { images: vec![pb::Image { source: Some(source) }], lane: 0 };
        let began = Instant::now();
        match client.embed_images(request).await {
            Ok(_) => seen.latencies.push(began.elapsed().as_secs_f64() * 1e3),
            Err(status) if status.code() == Code::ResourceExhausted => {
                seen.refused += 1;
                let hint = status.metadata().get("retry-after");
                let seconds = hint.and_then(|hint| hint.to_str().ok()?.parse::<u64>().ok());
                seen.without_hint += u64::from(seconds.is_none());
                if patient {
                    tokio::time::sleep(Duration::from_secs(seconds.unwrap_or(1))).await;
                }
            }
            Err(status) => seen.other.push(format!("{}: {}", status.code(), status.message())),
        }
    }
    seen
}

async fn overload(span: Duration) {
    let data = tempfile::tempdir().expect("temp dir");
    let config = data.path().join("serve.toml");
    let text = format!("[serve.queue]\nmax_queue_items = {PLACES}\n");
    fs_err::write(&config, text).expect("write");
    let server = Server::start(data.path(), &["--config", &config.to_string_lossy()]);
    callers(&server, 8, Duration::from_secs(5), false).await;
    let before = server.resident_mib();
    let mut seen = callers(&server, 10 * PLACES, span, false).await;
    let during = server.resident_mib();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let after = server.resident_mib();
    let (refused, without_hint) = (seen.refused, seen.without_hint);
    println!("{} callers, {PLACES} places, {} s", 10 * PLACES, span.as_secs());
    println!("answered OK           {}", seen.latencies.len());
    println!("RESOURCE_EXHAUSTED    {refused} (of them without retry-after: {without_hint})");
    println!("anything else         {} {:?}", seen.other.len(), seen.other.first());
    let sorted = seen.sorted();
    println!(
        "p50 / p99 of OK       {:.0} / {:.0} ms",
        percentile(sorted, 0.5),
        percentile(sorted, 0.99)
    );
    println!("panics in the log     {}", server.panics());
    println!(
        "resident memory       {before:.0} MiB before, {during:.0} at the end, {after:.0} after 5 s"
    );
    // The server still serves.
    let mut again = callers(&server, 8, Duration::from_secs(3), false).await;
    println!(
        "afterwards, 8 callers {} OK, p99 {:.0} ms",
        again.latencies.len(),
        percentile(again.sorted(), 0.99)
    );
}

async fn neighbours(span: Duration) {
    let data = tempfile::tempdir().expect("temp dir");
    let source = tempfile::tempdir().expect("temp dir");
    // Enough for the job to outlast the callers: each photo differs in its last bytes, which
    // decoders do not read.
    let photos = photos();
    for number in 0..30_000usize {
        let mut bytes = photos[number % photos.len()].clone();
        bytes.extend_from_slice(&number.to_le_bytes());
        let name = source.path().join(format!("{number:06}"));
        fs_err::write(name.with_extension("jpg"), bytes).expect("write");
        fs_err::write(name.with_extension("txt"), format!("Photo number {number}."))
            .expect("write");
    }
    let root = source.path().to_string_lossy().into_owned();
    let server = Server::start(data.path(), &["--image-root", &root]);
    callers(&server, 8, Duration::from_secs(5), false).await;
    for round in 1..=3 {
        let mut alone = callers(&server, 8, span, false).await;
        let job = start_job(&server, &root, round).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        let before = embedded(&server, &job).await;
        let mut beside = callers(&server, 8, span, false).await;
        let worked = embedded(&server, &job).await - before;
        cancel(&server, &job).await;
        let (alone, beside) = (alone.sorted(), beside.sorted());
        let p99 = (percentile(alone, 0.99), percentile(beside, 0.99));
        println!(
            "round {round}: alone {:.0}/s p50 {:.1} p99 {:.1} ms; beside a job {:.0}/s p50 {:.1} \
             p99 {:.1} ms (p99 {:.2} times); the job {:.0} photos/s meanwhile",
            alone.len() as f64 / span.as_secs_f64(),
            percentile(alone, 0.5),
            p99.0,
            beside.len() as f64 / span.as_secs_f64(),
            percentile(beside, 0.5),
            p99.1,
            p99.1 / p99.0,
            worked as f64 / span.as_secs_f64(),
        );
    }
    println!("panics in the log: {}", server.panics());
}

async fn start_job(server: &Server, source: &str, round: usize) -> String {
    let mut client = MatchingServiceClient::new(server.connect().await);
    let request = pb::BatchMatchRequest {
        source: Some(pb::Source { path: source.to_owned(), ..Default::default() }),
        run_id: format!("round-{round}"),
        ..Default::default()
    };
    client.batch_match(request).await.expect("a job").into_inner().name
}

async fn embedded(server: &Server, job: &str) -> i64 {
    let mut client = JobServiceClient::new(server.connect().await);
    let request = pb::GetJobRequest { name: job.to_owned() };
    let job = client.get_job(request).await.expect("the job").into_inner();
    assert_eq!(job.state(), pb::JobState::Running, "the job must outlast the callers: {job:?}");
    job.stages.iter().find(|stage| stage.stage == "embed").map_or(0, |stage| stage.done_count)
}

async fn cancel(server: &Server, job: &str) {
    let mut client = JobServiceClient::new(server.connect().await);
    client.cancel_job(pb::CancelJobRequest { name: job.to_owned() }).await.expect("cancelled");
    loop {
        let request = pb::GetJobRequest { name: job.to_owned() };
        let state = client.get_job(request).await.expect("the job").into_inner().state();
        if state != pb::JobState::Running && state != pb::JobState::Queued {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Rounds take turns, so that a noisy machine troubles all alike; figures are medians of rounds.
const ROUNDS: usize = 3;

async fn throughput(span: Duration) {
    let on = tempfile::tempdir().expect("temp dir");
    let off = tempfile::tempdir().expect("temp dir");
    let other = tempfile::tempdir().expect("temp dir");
    let config = off.path().join("serve.toml");
    fs_err::write(&config, "[serve.queue]\nbatch_size = 1\n").expect("write");
    let mut servers = vec![
        ("batching", Server::start(on.path(), &[])),
        ("batching off", Server::start(off.path(), &["--config", &config.to_string_lossy()])),
    ];
    if let Some(program) = std::env::var_os("PAIRWRIGHT_OTHER") {
        servers.push(("other", Server::start_program(&program, other.path(), &[])));
    }
    let photos: Photos = Arc::new(photos().into_iter().map(Bytes::from).collect());
    let (encoder, split) = best_split(&photos);
    println!("best raw split: {split}");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let wide = open(1, cores);
    let one_by_one = Split { sessions: 1, intra: cores, decode: 0, batch: 1 };
    let (mut raw, mut alone) = (Vec::new(), Vec::new());
    let mut served: Vec<(&str, usize, [Vec<f64>; 3])> = Vec::new();
    for round in 0..ROUNDS {
        let count = 200 * span.as_secs() as usize;
        raw.push(split.rate(&encoder, &photos, count));
        alone.push(one_by_one.rate(&wide, &photos, count));
        let each = [1, 8, 64]
            .into_iter()
            .flat_map(|count| servers.iter().map(move |(name, server)| (*name, server, count)));
        for (at, (name, server, count)) in each.enumerate() {
            let mut seen = callers(server, count, span, true).await;
            assert!(seen.other.is_empty(), "{:?}", seen.other);
            let sorted = seen.sorted();
            let rate = sorted.len() as f64 / span.as_secs_f64();
            if round == 0 {
                served.push((name, count, Default::default()));
            }
            let figures = [rate, percentile(sorted, 0.5), percentile(sorted, 0.99)];
            served[at].2.iter_mut().zip(figures).for_each(|(rounds, figure)| rounds.push(figure));
        }
    }
    let (raw, alone) = (median(&raw), median(&alone));
    println!("raw: {raw:.0} images/s; one photo after the other, over all cores: {alone:.0}");
    let mut figures = Figures::begin("serve_load");
    let charts = [
        Chart { title: "EmbedImages, one photo a call", x: "callers", y: "images a second" },
        Chart { title: "EmbedImages, p50", x: "callers", y: "ms" },
        Chart { title: "EmbedImages, p99", x: "callers", y: "ms" },
    ];
    for (name, count, rounds) in served {
        let figured = rounds.map(|rounds| median(&rounds));
        let [rate, p50, p99] = figured;
        println!(
            "{name}, {count:>2} callers: {rate:.0} images/s, {:.3} of raw, {:.3} of one after the \
             other; p50 {p50:.1}, p99 {p99:.1} ms",
            rate / raw,
            rate / alone
        );
        for (chart, figure) in charts.iter().zip(figured) {
            figures.add(*chart, name, count, figure);
        }
    }
    for count in [1, 8, 64] {
        figures.add(charts[0], "without a service", count, raw);
    }
}

/// The fastest way to do the same work without a queue.
fn best_split(photos: &Photos) -> (OnnxEncoder, Split) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut best: Option<(f64, Split)> = None;
    for (sessions, intra) in [(1, cores), (cores, 1)] {
        let encoder = open(sessions, intra);
        for split in splits(sessions, intra, cores) {
            let rate = split.rate(&encoder, photos, 600);
            if best.is_none_or(|(fastest, _)| rate > fastest) {
                best = Some((rate, split));
            }
        }
    }
    let split = best.expect("a split was measured").1;
    (open(split.sessions, split.intra), split)
}

fn open(sessions: usize, intra_threads: usize) -> OnnxEncoder {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/mini");
    let options = EncoderOptions { sessions, intra_threads, ..EncoderOptions::default() };
    OnnxEncoder::open(&model, &options, DecodeOptions::default()).expect("the bundled model")
}
