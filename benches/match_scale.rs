//! Match on stored vectors against libraries of growing size: calls/s, latencies, and recall@10
//! against an exact search.
//!
//!     cargo bench --bench match_scale -- [COUNT ...]
//!
//! Where the index is a graph it is searched again with wider searches
//! (`index.expansion_search`), so that recall can be weighed against time.
//!
//! The instructions are vectors made from real ones: each is the embedding of one COCO caption (or
//! sample description) or of one built-in instruction, with seeded noise of the length given by
//! `NOISE`, so that they lie where instructions and captions lie. Queries are embeddings of real
//! photos, made by the same server.

use std::path::Path;
use std::time::{Duration, Instant};

use pairwright::encoder::{Encoder, EncoderOptions, OnnxEncoder};
use pairwright::image::DecodeOptions;
use pairwright::index::{Ask, ExactIndex, Hit, IndexConfig, VectorSearch, VectorStore};
use pairwright::instruction::Library;
use pairwright::instruction::store::{InstructionStore, NewInstruction};
use pairwright::server::pb;
use pairwright::server::pb::match_result::Result as Outcome;
use pairwright::server::pb::matching_service_client::MatchingServiceClient;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tonic::transport::Channel;

#[path = "support/server.rs"]
mod support;

use support::{Server, percentile, photos};

/// Length of the noise beside a vector of length 1.
const NOISE: f64 = 0.6;

/// Widths of the search that are tried beside the default, where the index is a graph.
const EXPANSIONS: [usize; 5] = [128, 256, 512, 1024, 2048];

/// Instructions written in one transaction.
const CHUNK: usize = 5000;

/// How long each measurement lasts.
const SPAN: Duration = Duration::from_secs(10);

fn main() {
    let counts: Vec<usize> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    let counts = if counts.is_empty() { vec![1000, 100_000, 1_000_000] } else { counts };
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/mini");
    let encoder = OnnxEncoder::open(&model, &EncoderOptions::default(), DecodeOptions::default());
    let encoder = encoder.expect("the bundled model");
    let seeds = seeds(&encoder);
    let queries = queries(&encoder);
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    for count in counts {
        let data = tempfile::tempdir().expect("temp dir");
        let vectors = vectors(&seeds, count);
        let began = Instant::now();
        write(data.path(), &encoder, &vectors);
        let written = began.elapsed().as_secs_f64();
        let truth = truth(&vectors, &queries);
        drop(vectors);
        let began = Instant::now();
        let server = Server::start(data.path(), &["--library-seed", "none"]);
        println!(
            "{count} instructions: written and indexed in {written:.0} s, the server serves after \
             {:.1} s, resident {:.0} MiB",
            began.elapsed().as_secs_f64(),
            server.resident_mib()
        );
        runtime.block_on(measure(&server, &queries, &truth));
        drop(server);
        if count > IndexConfig::default().exact_up_to {
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

fn write(data: &Path, encoder: &OnnxEncoder, vectors: &[Vec<f32>]) {
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

fn request(query: &[f32]) -> pb::MatchRequest {
    let embedding = pb::Embedding { values: query.to_vec() };
    let query = pb::MatchQuery {
        image_source: Some(pb::match_query::ImageSource::ImageEmbedding(embedding)),
        ..Default::default()
    };
    let options = pb::MatchOptions {
        min_similarity: Some(-1.0),
        record_candidates: Some(10),
        ..Default::default()
    };
    pb::MatchRequest { queries: vec![query], options: Some(options), lane: 0 }
}

async fn measure(server: &Server, queries: &[Vec<f32>], truth: &[Vec<Hit>]) {
    let mut client = MatchingServiceClient::new(server.connect().await);
    let (mut found, mut lost) = (0, 0.0);
    for (query, truth) in queries.iter().zip(truth) {
        let reply = client.r#match(request(query)).await.expect("answered").into_inner();
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
    for callers in [1, 8, 64] {
        let channel = server.connect().await;
        let until = Instant::now() + SPAN;
        let tasks: Vec<_> = (0..callers)
            .map(|caller| tokio::spawn(calls(channel.clone(), queries.to_vec(), caller, until)))
            .collect();
        let mut times = Vec::new();
        for task in tasks {
            times.extend(task.await.expect("a caller"));
        }
        times.sort_by(f64::total_cmp);
        println!(
            "  {callers:>2} callers: {:.0} calls/s, p50 {:.2} ms, p99 {:.2} ms",
            times.len() as f64 / SPAN.as_secs_f64(),
            percentile(&times, 0.5),
            percentile(&times, 0.99),
        );
    }
}

async fn calls(channel: Channel, queries: Vec<Vec<f32>>, first: usize, until: Instant) -> Vec<f64> {
    let mut client = MatchingServiceClient::new(channel);
    let mut times = Vec::new();
    let mut at = first;
    while Instant::now() < until {
        let began = Instant::now();
        client.r#match(request(&queries[at % queries.len()])).await.expect("answered");
        times.push(began.elapsed().as_secs_f64() * 1e3);
        at += 1;
    }
    times
}
