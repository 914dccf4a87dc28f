//! SIGTERM while a job of each kind runs: the job is neither failed nor cancelled, goes on at the
//! next start, and asks nothing again.

use std::time::Duration;

use futures::StreamExt;
use pairwright::server::pb;
use pairwright::server::pb::evaluation_service_client::EvaluationServiceClient;
use pairwright::server::pb::instruction_service_client::InstructionServiceClient;
use pairwright::server::pb::matching_service_client::MatchingServiceClient;
use tonic::transport::Channel;

use super::judge::{desk, request as judge_request};
use super::{jobs, server};
use crate::support::judge_stub::{JudgeStub, Script, Weather};
use crate::support::run::Llm;
use crate::support::serve::{Server, samples};
use crate::support::stub_llm::StubOptions;

/// The time of one call. With one call at a time, a job takes many times as long as a stop.
const CALL: Duration = Duration::from_millis(150);

const ONE_CALL: [&str; 2] = ["--llm-in-flight", "1"];

fn slow() -> Llm {
    tokio::task::block_in_place(|| Llm::start(StubOptions { delay: CALL, ..Default::default() }))
}

fn source() -> Option<pb::Source> {
    Some(pb::Source { path: samples().to_string_lossy().into_owned(), ..Default::default() })
}

/// Follows the job until `holds`, or until its last news.
async fn watched(channel: &Channel, name: &str, holds: impl Fn(&pb::Job) -> bool) -> pb::Job {
    let request = pb::WatchJobRequest { name: name.to_owned() };
    let mut news = jobs(channel.clone()).watch_job(request).await.expect("watched").into_inner();
    let mut last = None;
    while let Some(told) = news.next().await {
        let job = told.expect("news").job.expect("a job");
        if holds(&job) {
            return job;
        }
        last = Some(job);
    }
    panic!("it never came: {last:?}");
}

fn has_worked(stage: &str) -> impl Fn(&pb::Job) -> bool {
    move |job| job.stages.iter().any(|one| one.stage == stage && one.done_count >= 2)
}

/// Stops the server once the job has worked two items of `stage`, starts it again, and waits for
/// the job's end.
async fn stopped_and_resumed(server: &mut Server, name: &str, stage: &str) -> pb::Job {
    watched(&server.connect().await, name, has_worked(stage)).await;
    tokio::task::block_in_place(|| {
        let status = server.terminate();
        assert!(status.success(), "{status}: {}", server.log());
        server.restart();
    });
    let open = [pb::JobState::Queued, pb::JobState::Running];
    let ended = |job: &pb::Job| !open.contains(&job.state());
    let job = watched(&server.connect().await, name, ended).await;
    assert_eq!(job.state(), pb::JobState::Succeeded, "{job:?}");
    assert_eq!(job.attempt, 2, "{job:?}");
    job
}

#[tokio::test(flavor = "multi_thread")]
async fn pairs_with_answers_go_on_after_a_stop() {
    let (place, llm) = (tempfile::tempdir().expect("temp dir"), slow());
    let mut server = server(place.path(), &llm.target(), &ONE_CALL);
    let request =
        pb::BatchMatchRequest { source: source(), generate_answers: true, ..Default::default() };
    let mut client = MatchingServiceClient::new(server.connect().await);
    let job = client.batch_match(request).await.expect("a job").into_inner();
    let done = stopped_and_resumed(&mut server, &job.name, "answer").await;
    assert!(done.answer_count > 0 && done.pair_count >= done.answer_count, "{done:?}");
    assert_asked_once(&llm);
    tokio::task::block_in_place(|| drop(llm));
}

#[tokio::test(flavor = "multi_thread")]
async fn instructions_go_on_after_a_stop() {
    let (place, llm) = (tempfile::tempdir().expect("temp dir"), slow());
    let mut server = server(place.path(), &llm.target(), &ONE_CALL);
    let request = pb::GenerateRequest {
        source: source(),
        cluster_count: Some(4),
        seed: Some(7),
        ..Default::default()
    };
    let mut client = InstructionServiceClient::new(server.connect().await);
    let job = client.generate(request).await.expect("a job").into_inner();
    let done = stopped_and_resumed(&mut server, &job.name, "augment").await;
    assert!(done.instruction_count > 0, "{done:?}");
    assert_asked_once(&llm);
    tokio::task::block_in_place(|| drop(llm));
}

#[tokio::test(flavor = "multi_thread")]
async fn verdicts_go_on_after_a_stop() {
    let place = tempfile::tempdir().expect("temp dir");
    let weather = Weather::Slow(u64::try_from(CALL.as_millis()).expect("short"));
    let judge = tokio::task::block_in_place(|| JudgeStub::start(Script::Longer, weather));
    desk(place.path());
    let mut server = server(place.path(), &judge.target(), &ONE_CALL);
    let mut client = EvaluationServiceClient::new(server.connect().await);
    let job = client.judge(judge_request()).await.expect("a job").into_inner();
    stopped_and_resumed(&mut server, &job.name, "judge").await;
    assert_eq!(judge.calls(), judge.distinct(), "no call was made again");
    tokio::task::block_in_place(|| drop(judge));
}

/// A graceful stop lets calls under way finish and keeps their replies.
fn assert_asked_once(llm: &Llm) {
    let distinct = tokio::task::block_in_place(|| llm.distinct());
    assert_eq!(llm.stub.calls(), distinct, "no call was made again");
}
