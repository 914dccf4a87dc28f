//! What one caller may take, and that others do not feel it.

use std::time::{Duration, Instant};

use pairwright::server::pb;
use pairwright::server::pb::embedding_service_client::EmbeddingServiceClient;
use pairwright::server::pb::info_service_client::InfoServiceClient;
use pairwright::server::pb::instruction_service_client::InstructionServiceClient;
use pairwright::server::pb::job_service_client::JobServiceClient;
use pairwright::server::pb::matching_service_client::MatchingServiceClient;
use tonic::{Code, Request};

use crate::support::serve::{Server, info, reason};

fn create(texts: impl Iterator<Item = String>) -> pb::BatchCreateInstructionsRequest {
    let one = |text| pb::CreateInstructionRequest {
        instruction: Some(pb::Instruction { text, ..Default::default() }),
        ..Default::default()
    };
    pb::BatchCreateInstructionsRequest { requests: texts.map(one).collect() }
}

/// Instructions of about a hundred tokens, each another.
fn long_instruction(number: usize) -> String {
    format!("Write {number} sentences {}", "about the photo and what is in it ".repeat(11))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_runs_in_the_bulk_lane() {
    let server = Server::start(&[]);
    let channel = server.connect().await;
    let importing = tokio::spawn(async move {
        let mut client = InstructionServiceClient::new(channel);
        for part in 0..4 {
            let request = create((part * 256..(part + 1) * 256).map(long_instruction));
            client.batch_create_instructions(request).await.expect("created");
        }
    });
    let mut client = InfoServiceClient::new(server.connect().await);
    let (mut interactive, mut bulk) = (0, 0);
    while !importing.is_finished() {
        let told = client.get_server_info(pb::GetServerInfoRequest {}).await.expect("told");
        for queue in told.into_inner().queues.iter().filter(|queue| queue.tower == "text") {
            match queue.lane() {
                pb::Lane::Bulk => bulk = bulk.max(queue.waiting_count),
                _ => interactive = interactive.max(queue.waiting_count),
            }
        }
    }
    importing.await.expect("no panic");
    // The server's own probe may wait there for a moment.
    assert!(bulk > 8 && interactive <= 1, "bulk {bulk}, interactive {interactive}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_word_does_not_wait_for_another_callers_long_texts() {
    let server = Server::start(&[]);
    let embed = |texts: Vec<String>| pb::EmbedTextsRequest { texts, lane: 0 };
    let mut hog = EmbeddingServiceClient::new(server.connect().await);
    let mut polite = EmbeddingServiceClient::new(server.connect().await);
    let began = Instant::now();
    let heavy = embed(vec!["ab cd ".repeat(5400); 256]);
    let hogging = tokio::spawn(async move {
        hog.embed_texts(heavy).await.expect("answered");
        began.elapsed()
    });
    let mut waits = Vec::new();
    while !hogging.is_finished() {
        let sent = Instant::now();
        polite.embed_texts(embed(vec!["x".to_owned()])).await.expect("answered");
        waits.push(sent.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let heavy = hogging.await.expect("no panic");
    // Of 256 texts a batch takes 16 at most: a few batches are far less than a quarter.
    let longest = waits.iter().max().copied().unwrap_or_default();
    assert!(waits.len() > 3 && longest < heavy / 4, "{longest:?} of {heavy:?}: {waits:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn quotas_are_told_refused_and_counted() {
    let folder = tempfile::tempdir().expect("temp dir");
    let config = folder.path().join("c.toml");
    let text =
        "[serve.callers.address]\nitems_per_second = 10\nopen_streams = 1\nqueued_jobs = 7\n";
    fs_err::write(&config, text).expect("written");
    let server = Server::start(&["--config", &config.to_string_lossy()]);
    let mut client = InfoServiceClient::new(server.connect().await);
    let told = client.get_server_info(pb::GetServerInfoRequest {}).await.expect("told");
    let quotas = told.into_inner().quotas.expect("quotas");
    assert_eq!((quotas.items_per_second, quotas.open_streams, quotas.queued_jobs), (10, 1, 7));
    assert_eq!((quotas.calls_per_second, quotas.bytes_per_second), (0, 0));

    let mut embedding = EmbeddingServiceClient::new(server.connect().await);
    let embed =
        |count: usize| pb::EmbedTextsRequest { texts: vec!["a word".into(); count], lane: 0 };
    // A second's worth each, at once: one after the other, a slow machine may take that second.
    let mut again = embedding.clone();
    let both = tokio::join!(embedding.embed_texts(embed(10)), again.embed_texts(embed(10)));
    let refused = match both {
        (Ok(_), Err(status)) | (Err(status), Ok(_)) => status,
        (one, other) => panic!("{:?} and {:?}", one.map(drop), other.map(drop)),
    };
    assert_eq!((refused.code(), &*reason(&refused)), (Code::ResourceExhausted, "QUOTA_EXCEEDED"));
    assert_eq!(info(&refused).metadata["limit"], "items_per_second");
    let hint = refused.metadata().get("retry-after").expect("retry-after");
    let seconds: u64 = hint.to_str().expect("text").parse().expect("seconds");
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    embedding.embed_texts(embed(10)).await.expect("after the time told");

    let open = embedding.embed_stream(futures::stream::pending()).await.expect("one stream");
    let refused = embedding.embed_stream(futures::stream::pending()).await.expect_err("a second");
    assert_eq!(info(&refused).metadata["limit"], "open_streams");
    drop(open);
    server.until_metric("pw_streams_open", |open| open == 0.0).await;
    assert_eq!(server.metric("pw_quota_refused{quota=\"items\"}").await, 1.0);
    assert_eq!(server.metric("pw_quota_refused{quota=\"streams\"}").await, 1.0);
    assert_eq!(server.metric("pw_quota_refused{quota=\"calls\"}").await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_has_ended_is_deleted_with_its_run() {
    let server = Server::start(&[]);
    let channel = server.connect().await;
    let mut library = InstructionServiceClient::new(channel.clone());
    library.batch_create_instructions(create((0..4).map(long_instruction))).await.expect("created");
    let mut matching = MatchingServiceClient::new(channel.clone());
    let source = pb::Source { path: ".".into(), ..Default::default() };
    let request = pb::BatchMatchRequest { source: Some(source), ..Default::default() };
    let job = matching.batch_match(request).await.expect("queued").into_inner();
    let mut jobs = JobServiceClient::new(channel);
    let delete = |allow_missing| pb::DeleteJobRequest { name: job.name.clone(), allow_missing };
    let early = jobs.delete_job(delete(false)).await.expect_err("it has not ended");
    assert_eq!((early.code(), &*reason(&early)), (Code::FailedPrecondition, "WRONG_JOB_STATE"));
    let mut watch = Request::new(pb::WatchJobRequest { name: job.name.clone() });
    watch.set_timeout(Duration::from_secs(120));
    let mut news = jobs.watch_job(watch).await.expect("watched").into_inner();
    while news.message().await.expect("news").is_some() {}
    server.until_metric("pw_data_bytes{part=\"runs\"}", |bytes| bytes >= 0.0).await;
    let folder = std::path::PathBuf::from(&job.run_path);
    assert!(folder.exists());
    jobs.delete_job(delete(false)).await.expect("deleted");
    assert!(!folder.exists());
    let gone = jobs.delete_job(delete(false)).await.expect_err("gone");
    assert_eq!(reason(&gone), "JOB_NOT_FOUND");
    jobs.delete_job(delete(true)).await.expect("missing is allowed");
}
