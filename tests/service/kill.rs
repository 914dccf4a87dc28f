//! `kill -9` of the server while instructions are written and a job runs: nothing that was
//! acknowledged is lost, and the job ends with the pairs of a job that was never interrupted.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pairwright::server::pb;
use pairwright::server::pb::instruction_service_client::InstructionServiceClient;
use pairwright::server::pb::job_service_client::JobServiceClient;
use pairwright::server::pb::matching_service_client::MatchingServiceClient;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tonic::transport::Channel;

use crate::support::serve::{Server, connect, samples};

const KILLS: usize = 20;
const PHOTOS: usize = 240;

/// Distinct photos: samples with a few bytes behind their end, which no decoder reads.
fn fill(folder: &Path) {
    let mut paths: Vec<_> = fs_err::read_dir(samples())
        .expect("samples")
        .map(|entry| entry.expect("entry").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "jpg"))
        .collect();
    paths.sort();
    for number in 0..PHOTOS {
        let mut bytes = fs_err::read(&paths[number % paths.len()]).expect("a photo");
        bytes.extend_from_slice(&number.to_le_bytes());
        let photo = folder.join(format!("photos/{number:03}.jpg"));
        fs_err::write(&photo, bytes).expect("write");
        let text = format!("Photo number {number} of a long series.");
        fs_err::write(photo.with_extension("txt"), text).expect("write");
    }
}

fn batch() -> pb::BatchMatchRequest {
    let options = pb::MatchOptions { per_image: Some(2), seed: Some(3), ..Default::default() };
    pb::BatchMatchRequest {
        source: Some(pb::Source { path: "photos-here".into(), ..Default::default() }),
        options: Some(options),
        max_share: Some(0.1),
        request_id: "the-job".into(),
        ..Default::default()
    }
}

async fn start_job(server: &Server) -> String {
    let mut request = batch();
    let photos = server.folder().join("photos").to_string_lossy().into_owned();
    request.source.as_mut().expect("a source").path = photos;
    let mut client = MatchingServiceClient::new(server.connect().await);
    client.batch_match(request).await.expect("a job").into_inner().name
}

async fn finished(channel: Channel, name: &str) -> pb::Job {
    let mut client = JobServiceClient::new(channel);
    loop {
        let request = pb::GetJobRequest { name: name.to_owned() };
        let job = client.get_job(request).await.expect("the job").into_inner();
        if !matches!(job.state(), pb::JobState::Queued | pb::JobState::Running) {
            return job;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Photo, rank, instruction and similarity of every pair.
async fn pairs(channel: Channel, name: &str) -> Vec<(String, i32, String, u64)> {
    let mut client = JobServiceClient::new(channel);
    let (mut all, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListJobPairsRequest { name: name.to_owned(), page_size: 100, page_token };
        let page = client.list_job_pairs(request).await.expect("pairs").into_inner();
        all.extend(
            page.pairs.into_iter().map(|pair| {
                (pair.image_id, pair.rank, pair.instruction, pair.similarity.to_bits())
            }),
        );
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return all;
        }
    }
}

/// What the server acknowledged: whether the instruction of this id must be there.
type Ledger = Arc<Mutex<BTreeMap<String, bool>>>;

/// Creates and deletes until the server is gone. What was asked for but not acknowledged may be
/// there or not, so it leaves the ledger.
async fn write(address: String, ledger: Ledger, over: Arc<AtomicBool>, round: usize) {
    let mut client = InstructionServiceClient::new(connect(&address).await);
    for number in 0.. {
        if over.load(Ordering::Acquire) {
            return;
        }
        let id = format!("r{round}-{number}");
        ledger.lock().expect("ledger").remove(&id);
        let instruction = pb::Instruction {
            text: format!("Write text number {number} of round {round}."),
            ..Default::default()
        };
        let request = pb::CreateInstructionRequest {
            instruction_id: id.clone(),
            instruction: Some(instruction),
        };
        if client.create_instruction(request).await.is_err() {
            return;
        }
        ledger.lock().expect("ledger").insert(id.clone(), true);
        if number % 3 == 0 {
            ledger.lock().expect("ledger").remove(&id);
            let name = format!("instructions/{id}");
            let request = pb::DeleteInstructionRequest { name, allow_missing: false };
            if client.delete_instruction(request).await.is_err() {
                return;
            }
            ledger.lock().expect("ledger").insert(id, false);
        }
    }
}

/// Everything acknowledged is as it was acknowledged, and what is listed is what is found.
async fn check_library(channel: Channel, ledger: &Ledger) {
    let mut client = InstructionServiceClient::new(channel);
    let (mut listed, mut page_token) = (BTreeMap::new(), String::new());
    loop {
        let request = pb::ListInstructionsRequest {
            page_size: 1000,
            page_token,
            include_embedding: true,
            ..Default::default()
        };
        let page = client.list_instructions(request).await.expect("a page").into_inner();
        for one in page.instructions {
            let embedding = one.embedding.expect("every listed instruction is in the index");
            listed.insert(one.name, embedding);
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    for (id, there) in ledger.lock().expect("ledger").iter() {
        let name = format!("instructions/{id}");
        assert_eq!(listed.contains_key(&name), *there, "{name}");
    }
    if let Some((name, embedding)) = listed.iter().next_back() {
        let query = pb::search_instructions_request::Query::Embedding(embedding.clone());
        let request =
            pb::SearchInstructionsRequest { query: Some(query), top_k: 1, ..Default::default() };
        let found = client.search_instructions(request).await.expect("found").into_inner();
        let nearest = found.results[0].instruction.as_ref().expect("an instruction");
        assert_eq!(&nearest.name, name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_kills_lose_nothing_and_change_no_pair() {
    let calm = Server::start(&[]);
    fill(calm.folder());
    let job = start_job(&calm).await;
    let ended = finished(calm.connect().await, &job).await;
    assert_eq!(ended.state(), pb::JobState::Succeeded, "{ended:?}");
    let wanted = pairs(calm.connect().await, &job).await;
    // Two for each photo, but where the check leaves less to draw from.
    assert!((PHOTOS..=2 * PHOTOS).contains(&wanted.len()), "{}", wanted.len());
    drop(calm);

    let folder = tempfile::tempdir().expect("temp dir");
    let mut server = Server::over(folder.path(), &[]);
    fill(server.folder());
    let job = start_job(&server).await;
    let ledger = Ledger::default();
    let mut draws = ChaCha8Rng::seed_from_u64(9);
    for round in 0..KILLS {
        let over = Arc::new(AtomicBool::new(false));
        let writing =
            tokio::spawn(write(server.address.clone(), ledger.clone(), over.clone(), round));
        let known = ledger.lock().expect("ledger").len();
        tokio::time::sleep(Duration::from_millis(draws.random_range(10..400))).await;
        // On a busy machine nothing may have been acknowledged by then. Two for each round, so that
        // there are more than kills at the end.
        let patience = std::time::Instant::now();
        while ledger.lock().expect("ledger").len() < known + 2
            && patience.elapsed() < Duration::from_secs(60)
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        server.kill();
        over.store(true, Ordering::Release);
        writing.await.expect("the writer");
        server.restart();
        check_library(server.connect().await, &ledger).await;
    }
    // A repeated request finds the job it started.
    assert_eq!(start_job(&server).await, job);
    let ended = finished(server.connect().await, &job).await;
    assert_eq!(ended.state(), pb::JobState::Succeeded, "{ended:?}");
    assert!(ended.attempt > 1, "no kill met the job: {ended:?}");
    assert_eq!(pairs(server.connect().await, &job).await, wanted);
    assert!(ledger.lock().expect("ledger").len() > KILLS);
}
