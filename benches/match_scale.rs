//! Match on stored vectors against libraries of growing size: calls/s, latencies, and recall@10
//! against an exact search, beside the same index searched in the process.
//!
//!     cargo bench --bench match_scale -- [COUNT ...] [--vectors FILE.npy] [--photos FILE.npy]
//!
//! Where the index is a graph it is searched again with wider searches
//! (`index.expansion_search`), so that recall can be weighed against time.
//!
//! The instructions are vectors made from real ones: each is the embedding of one COCO caption (or
//! sample description) or of one built-in instruction, with seeded noise of the length given by
//! `NOISE`, so that they lie where instructions and captions lie. Queries are embeddings of real
//! photos, made by the same encoder. `--vectors` takes the first rows of a file in place of made
//! vectors, `--photos` asks with those of another, such as crops (`search_peers --crops`).

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Parser;
use pairwright::encoder::{Encoder, EncoderOptions, OnnxEncoder};
use pairwright::image::DecodeOptions;
use pairwright::index::{Ask, ExactIndex, Hit, IndexConfig, Modality, VectorSearch, VectorStore};
use pairwright::instruction::Library;
use pairwright::instruction::store::{InstructionStore, NewInstruction};
use pairwright::matching::MatchingConfig;
use pairwright::server::pb;
use pairwright::server::pb::match_result::Result as Outcome;
use pairwright::server::pb::matching_service_client::MatchingServiceClient;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tonic::transport::Channel;

#[path = "support/figures.rs"]
mod figures;
#[path = "../tests/support/npy.rs"]
#[expect(dead_code, reason = "what else tests measure with it")]
mod npy;
#[path = "support/server.rs"]
mod support;

use figures::{Chart, Figures};
use support::{Server, percentile, photos};

/// Length of the noise beside a vector of length 1.
const NOISE: f64 = 0.6;

/// Widths of the search that are tried beside the default, where the index is a graph.
const EXPANSIONS: [usize; 5] = [128, 256, 512, 1024, 2048];

/// How many call at once.
const CALLERS: [usize; 3] = [1, 8, 64];

/// Queries of one call, where a call has several.
const TOGETHER: usize = 64;

/// Queries that recall is measured with, at most.
const QUERIES: usize = 1000;

/// Instructions written in one transaction.
const CHUNK: usize = 5000;

/// How long each measurement lasts.
const SPAN: Duration = Duration::from_secs(10);

#[derive(Parser)]
struct Options {
    /// Instructions in each library.
    #[arg(default_values_t = [1000, 100_000])]
    counts: Vec<usize>,
    /// Their vectors, in place of made ones.
    #[arg(long)]
    vectors: Option<PathBuf>,
    /// What is asked with, in place of the photos at hand.
    #[arg(long)]
    photos: Option<PathBuf>,
    /// Only the width of search that the index chose.
    #[arg(long)]
    chosen: bool,
    /// cargo's own.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let options = Options::parse();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/mini");
    let encoder = OnnxEncoder::open(&model, &EncoderOptions::default(), DecodeOptions::default());
    let encoder = encoder.expect("the bundled model");
    let mut queries = options.photos.as_deref().map_or_else(|| queries(&encoder), npy::rows);
    queries.truncate(QUERIES);
    let seeds = if options.vectors.is_none() { seeds(&encoder) } else { Vec::new() };
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    let mut figures = Figures::begin("match_scale");
    for count in options.counts {
        let data = tempfile::tempdir().expect("temp dir");
        let vectors = match &options.vectors {
            Some(file) => npy::rows(file).into_iter().take(count).collect(),
            None => vectors(&seeds, count),
        };
        assert_eq!(vectors.len(), count, "there are not as many vectors");
        let began = Instant::now();
        let store = write(data.path(), &encoder, &vectors);
        let written = began.elapsed().as_secs_f64();
        let truth = truth(&vectors, &queries);
        drop(vectors);
        let index = store.live_index();
        // As a service measures itself with the first photos that it is asked about.
        let asked: Vec<&[f32]> = queries.iter().map(Vec::as_slice).collect();
        index.search_many(&asked, Ask::top(10).of(Modality::Image)).expect("searched");
        store.maintain(&|| false).expect("measured");
        let alone = CALLERS.map(|threads| searched(&*index, &queries, threads, 1));
        let alone_together = searched(&*index, &queries, 1, TOGETHER);
        println!("{}", store.search_facts());
        drop((store, index));
        let began = Instant::now();
        let server = Server::start(data.path(), &["--library-seed", "none"]);
        println!(
            "{count} instructions: written and indexed in {written:.0} s, the server serves after \
             {:.1} s, resident {:.0} MiB",
            began.elapsed().as_secs_f64(),
            server.resident_mib()
        );
        let served = runtime.block_on(measure(&server, &queries, &truth));
        let title = format!("Match on stored vectors, {count} instructions");
        let chart = Chart { title: &title, x: "callers", y: "queries a second" };
        for ((callers, alone), rate) in CALLERS.into_iter().zip(alone).zip(served) {
            figures.add(chart, "Match", callers, rate);
            figures.add(chart, "the index in the process", callers, alone);
            println!(
                "  {callers:>2} callers: {:.2} of the index in the process ({alone:.0}/s)",
                rate / alone
            );
        }
        println!("  a call adds {:.2} ms for one caller", 1e3 / served[0] - 1e3 / alone[0]);
        let rate = runtime.block_on(together(&server, &queries));
        println!(
            "  {TOGETHER} queries a call: {rate:.0} queries/s, {:.2} of the index in the process",
            rate / alone_together
        );
        drop(server);
        if !options.chosen && count > IndexConfig::default().exact_up_to {
            for expansion in EXPANSIONS {
                let config = data.path().join("config.toml");
                fs_err::write(&config, format!("index.expansion_search = {expansion}\n"))
                    .expect("written");
                let config = config.to_string_lossy().into_owned();
                let flags = ["--library-seed", "none", "--config", &config];
                let server = Server::start(data.path(), &flags);
                println!(" expansion_search {expansion}");
                runtime.block_on(measure(&server, &queries, &truth));
            }
        }
    }
}

/// Embeddings of real texts.
fn seeds(encoder: &OnnxEncoder) -> Vec<Vec<f32>> {
    let library = Library::read(None).expect("built in").instructions;
    let mut texts: Vec<String> = library.into_iter().map(|one| one.text).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let captions = root.join("../shared/data/coco-train80/captions.jsonl");
    if let Ok(lines) = fs_err::read_to_string(captions) {
        for line in lines.lines() {
            let row: serde_json::Value = serde_json::from_str(line).expect("JSON");
            let captions = row["captions"].as_array().into_iter().flatten();
            texts.extend(captions.filter_map(|text| Some(text.as_str()?.to_owned())));
        }
    }
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    encoder.embed_texts(&texts).expect("embeds").into_iter().map(|text| text.vector).collect()
}

fn queries(encoder: &OnnxEncoder) -> Vec<Vec<f32>> {
    let prepare = |photo: Vec<u8>| encoder.preprocessor().prepare(&photo).expect("decodes").0;
    let pixels: Vec<_> = photos().into_iter().map(prepare).collect();
    pixels.chunks(8).flat_map(|batch| encoder.embed_images(batch).expect("embeds")).collect()
}

fn vectors(seeds: &[Vec<f32>], count: usize) -> Vec<Vec<f32>> {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    // Uniform in a cube: its direction is nearly uniform at this width.
    let side = NOISE * (3.0 / seeds[0].len() as f64).sqrt();
    (0..count)
        .map(|at| {
            let seed = &seeds[at % seeds.len()];
            seed.iter().map(|value| value + random.random_range(-side..side) as f32).collect()
        })
        .collect()
}

fn write(data: &Path, encoder: &OnnxEncoder, vectors: &[Vec<f32>]) -> InstructionStore {
    let embed = |texts: &[&str]| {
        Ok(encoder.embed_texts(texts)?.into_iter().map(|text| text.vector).collect())
    };
    // Exact while it is written; `maintain` then builds the graph as the server would.
    let exact = IndexConfig::default();
    let store = InstructionStore::open(data, encoder.hash(), encoder.dim(), &exact, &embed);
    let store = store.expect("a library");
    for (part, vectors) in vectors.chunks(CHUNK).enumerate() {
        let new = vectors.iter().enumerate().map(|(at, vector)| NewInstruction {
            id: Some((part * CHUNK + at).to_string()),
            text: format!("Write about subject number {}.", part * CHUNK + at),
            vector: vector.clone(),
            ..NewInstruction::default()
        });
        let created = store.create(new.collect()).expect("written");
        assert!(created.iter().all(Result::is_ok));
    }
    store.maintain(&|| false).expect("maintained");
    store.save_snapshot().expect("saved");
    store
}

/// Queries a second of so many threads that search the index, so many queries at once.
fn searched(
    index: &dyn VectorSearch,
    queries: &[Vec<f32>],
    threads: usize,
    together: usize,
) -> f64 {
    let queries: Vec<&[f32]> = queries.iter().map(Vec::as_slice).cycle().take(QUERIES).collect();
    // As many as a match draws from.
    let pool = MatchingConfig::default().pool;
    let began = Instant::now();
    let count = |first: usize| {
        let mut done = 0;
        for part in queries.chunks(together).cycle().skip(first) {
            index.search_many(part, Ask::top(pool).of(Modality::Image)).expect("searched");
            done += part.len();
            if began.elapsed() >= SPAN {
                break;
            }
        }
        done
    };
    let counts: Vec<usize> = std::thread::scope(|scope| {
        let count = &count;
        let running: Vec<_> = (0..threads).map(|first| scope.spawn(move || count(first))).collect();
        running.into_iter().map(|thread| thread.join().expect("searched")).collect()
    });
    counts.iter().sum::<usize>() as f64 / began.elapsed().as_secs_f64()
}

/// The ten nearest of each query, by comparing all.
fn truth(vectors: &[Vec<f32>], queries: &[Vec<f32>]) -> Vec<Vec<Hit>> {
    let mut exact = ExactIndex::new(vectors[0].len(), 0).expect("an index");
    for (at, vector) in vectors.iter().enumerate() {
        exact.add(&at.to_string(), vector).expect("added");
    }
    let queries: Vec<&[f32]> = queries.iter().map(Vec::as_slice).collect();
    exact.search_many(&queries, Ask::top(10)).expect("searched")
}

fn request(queries: &[Vec<f32>]) -> pb::MatchRequest {
    let query = |query: &Vec<f32>| pb::MatchQuery {
        image_source: Some(pb::match_query::ImageSource::ImageEmbedding(pb::Embedding {
            values: query.clone(),
        })),
        ..Default::default()
    };
    let options = pb::MatchOptions {
        min_similarity: Some(-1.0),
        record_candidates: Some(10),
        ..Default::default()
    };
    pb::MatchRequest {
        queries: queries.iter().map(query).collect(),
        options: Some(options),
        lane: 0,
    }
}

/// Tells recall and times, and gives the calls a second for each of [`CALLERS`].
async fn measure(server: &Server, queries: &[Vec<f32>], truth: &[Vec<Hit>]) -> [f64; 3] {
    let mut client = MatchingServiceClient::new(server.connect().await);
    let (mut found, mut lost) = (0, 0.0);
    for (query, truth) in queries.iter().zip(truth) {
        let reply = client
            .r#match(request(std::slice::from_ref(query)))
            .await
            .expect("answered")
            .into_inner();
        let Some(Outcome::Match(matched)) = &reply.results[0].result else { panic!("{reply:?}") };
        let candidates = || matched.candidates.iter().take(10);
        found += candidates()
            .filter(|one| {
                truth.iter().any(|hit| one.instruction.ends_with(&format!("/{}", hit.id)))
            })
            .count();
        let exact: f64 = truth.iter().map(|hit| f64::from(hit.similarity)).sum();
        lost += exact - candidates().map(|one| one.similarity).sum::<f64>();
    }
    println!(
        "  recall@10 {:.4} over {} photos; mean similarity of the ten {:.4} below the exact one",
        found as f64 / (10 * queries.len()) as f64,
        queries.len(),
        lost / (10 * queries.len()) as f64
    );
    let mut rates = [0.0; 3];
    for (callers, rate) in CALLERS.into_iter().zip(&mut rates) {
        let channel = server.connect().await;
        let until = Instant::now() + SPAN;
        let tasks: Vec<_> = (0..callers)
            .map(|caller| tokio::spawn(calls(channel.clone(), queries.to_vec(), caller, 1, until)))
            .collect();
        let mut times = Vec::new();
        for task in tasks {
            times.extend(task.await.expect("a caller"));
        }
        times.sort_by(f64::total_cmp);
        *rate = times.len() as f64 / SPAN.as_secs_f64();
        println!(
            "  {callers:>2} callers: {rate:.0} calls/s, p50 {:.2} ms, p99 {:.2} ms",
            percentile(&times, 0.5),
            percentile(&times, 0.99),
        );
    }
    rates
}

/// Queries a second of one caller, who asks with so many at once.
async fn together(server: &Server, queries: &[Vec<f32>]) -> f64 {
    let until = Instant::now() + SPAN;
    let times = calls(server.connect().await, queries.to_vec(), 0, TOGETHER, until).await;
    (times.len() * TOGETHER.min(queries.len())) as f64 / SPAN.as_secs_f64()
}

/// Milliseconds of each call until then.
async fn calls(
    channel: Channel,
    queries: Vec<Vec<f32>>,
    first: usize,
    together: usize,
    until: Instant,
) -> Vec<f64> {
    let mut client = MatchingServiceClient::new(channel);
    let mut times = Vec::new();
    let parts: Vec<&[Vec<f32>]> = queries.chunks_exact(together.min(queries.len())).collect();
    for part in parts.iter().cycle().skip(first) {
        if Instant::now() >= until {
            break;
        }
        let request = request(part);
        let began = Instant::now();
        client.r#match(request).await.expect("answered");
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    times
}
