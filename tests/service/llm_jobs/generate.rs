//! `InstructionService.Generate`.

use std::time::Duration;

use pairwright::server::pb;
use pairwright::server::pb::instruction_service_client::InstructionServiceClient;
use pairwright::server::pb::matching_service_client::MatchingServiceClient;
use tonic::Code;
use tonic::transport::Channel;

use super::{ended, jobs, server, until};
use crate::support::run::{Llm, assert_code, finish, pairwright, root};
use crate::support::serve::{Server, info, reason, samples};
use crate::support::stub_llm::StubOptions;

/// Times the server is killed while it generates.
const KILLS: u64 = 5;

fn request() -> pb::GenerateRequest {
    let path = samples().to_string_lossy().into_owned();
    pb::GenerateRequest {
        source: Some(pb::Source { path, ..Default::default() }),
        cluster_count: Some(4),
        seed: Some(7),
        run_id: "first".into(),
        ..Default::default()
    }
}

async fn start(server: &Server, request: pb::GenerateRequest) -> pb::Job {
    client(server.connect().await).generate(request).await.expect("a job").into_inner()
}

fn client(channel: Channel) -> InstructionServiceClient<Channel> {
    InstructionServiceClient::new(channel)
}

async fn library(channel: &Channel) -> Vec<pb::Instruction> {
    let request = pb::ListInstructionsRequest { page_size: 100, ..Default::default() };
    let listed = client(channel.clone()).list_instructions(request).await.expect("listed");
    listed.into_inner().instructions
}

async fn clusters(channel: &Channel, name: &str, page_size: i32) -> Vec<pb::JobInstruction> {
    let (mut all, mut page_token) = (Vec::new(), String::new());
    loop {
        let name = name.to_owned();
        let request = pb::ListJobInstructionsRequest { name, page_size, page_token };
        let page = jobs(channel.clone()).list_job_instructions(request).await.expect("a page");
        let page = page.into_inner();
        all.extend(page.instructions);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return all;
        }
    }
}

fn folder(name: &str) -> tempfile::TempDir {
    tempfile::Builder::new().prefix(name).tempdir().expect("temp dir")
}

/// What the command makes of the same: `library.jsonl`.
fn by_command(llm: &Llm, out: &std::path::Path) -> Vec<u8> {
    let mut command = pairwright(&["instructions", "generate", "--llm", &llm.target()]);
    command.arg("--source").arg(samples()).arg("--out").arg(out);
    command.args(["--k", "4", "--seed", "7"]).current_dir(root());
    assert_code(&finish(&mut command), 0);
    fs_err::read(out.join("library.jsonl")).expect("a library")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_job_makes_what_the_command_makes_and_adds_it_to_the_library() {
    let (place, llm) = (folder("generate"), tokio::task::block_in_place(Llm::default));
    let server = server(place.path(), &llm.target(), &["--library-seed", "none"]);
    let channel = server.connect().await;
    let asked =
        pb::GenerateRequest { add_to_library: true, request_id: "once".into(), ..request() };
    let first = start(&server, asked.clone()).await;
    assert_eq!((first.kind.as_str(), first.run_id.as_str()), ("Generate", "first"));
    assert_eq!(start(&server, asked).await.name, first.name, "the same request, the same job");
    let done = ended(&channel, &first.name).await;
    assert_eq!(done.state(), pb::JobState::Succeeded, "{done:?}");
    let stages: Vec<&str> = done.stages.iter().map(|stage| stage.stage.as_str()).collect();
    assert_eq!(stages, ["augment", "cluster", "summarise"]);

    let found = clusters(&channel, &first.name, 3).await;
    assert_eq!(found.len(), 4);
    let accepted: Vec<&pb::JobInstruction> =
        found.iter().filter(|one| one.verdict == "accepted").collect();
    assert!(!accepted.is_empty() && done.instruction_count == accepted.len() as i64, "{found:?}");
    for one in &accepted {
        let nearest = &one.members[0];
        assert!(!nearest.text.is_empty() && !nearest.image_id.is_empty(), "{one:?}");
        assert_eq!((nearest.seeds.len(), one.model.as_str()), (4, "stub-model"));
    }
    let mut wanted: Vec<(String, &str)> = accepted
        .iter()
        .map(|one| (format!("instructions/{}", one.instruction_id), one.text.as_str()))
        .collect();
    let kept = library(&channel).await;
    let mut there: Vec<(String, &str)> =
        kept.iter().map(|one| (one.name.clone(), one.text.as_str())).collect();
    wanted.sort_unstable();
    there.sort_unstable();
    assert_eq!(there, wanted);

    let made = fs_err::read(server.folder().join("data/runs/first/library.jsonl")).expect("made");
    let command = tokio::task::block_in_place(|| by_command(&llm, &place.path().join("out")));
    assert_eq!(String::from_utf8_lossy(&made), String::from_utf8_lossy(&command));
    tokio::task::block_in_place(|| drop(llm));
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_on_the_way_it_ends_with_the_same_library() {
    let place = folder("kills");
    let options = StubOptions { delay: Duration::from_millis(150), ..Default::default() };
    let llm = tokio::task::block_in_place(|| Llm::start(options));
    let mut server = server(place.path(), &llm.target(), &["--library-seed", "none"]);
    let job = start(&server, pb::GenerateRequest { add_to_library: true, ..request() }).await;
    for kill in 1..=KILLS {
        tokio::time::sleep(Duration::from_millis(137 * kill)).await;
        tokio::task::block_in_place(|| {
            server.kill();
            server.restart();
        });
    }
    let channel = server.connect().await;
    let done = ended(&channel, &job.name).await;
    assert_eq!(done.state(), pb::JobState::Succeeded, "{done:?}");
    assert!(done.attempt > 1, "{done:?}");
    assert_eq!(library(&channel).await.len() as i64, done.instruction_count);
    let made = fs_err::read(server.folder().join("data/runs/first/library.jsonl")).expect("made");
    let command = tokio::task::block_in_place(|| by_command(&llm, &place.path().join("out")));
    assert_eq!(String::from_utf8_lossy(&made), String::from_utf8_lossy(&command));
    tokio::task::block_in_place(|| drop(llm));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_waits_for_a_model_that_is_away_and_goes_on_when_it_is_back() {
    let place = folder("away");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    drop(listener);
    let target = format!("openai:http://127.0.0.1:{port}/v1");
    let server = server(place.path(), &target, &[]);
    let channel = server.connect().await;
    let job = start(&server, request()).await;
    let waiting = until(&channel, &job.name, |job| !job.answers_paused_reason.is_empty()).await;
    assert_eq!(waiting.state(), pb::JobState::Running);
    let other = start(&server, pb::GenerateRequest { run_id: "second".into(), ..request() }).await;
    let cancel = pb::CancelJobRequest { name: other.name.clone() };
    let cancelled = jobs(channel.clone()).cancel_job(cancel).await.expect("cancelled");
    assert_eq!(cancelled.into_inner().state(), pb::JobState::Cancelled);

    // What needs no model is not kept waiting.
    let batch = pb::BatchMatchRequest { source: request().source, ..Default::default() };
    let mut matching = MatchingServiceClient::new(channel.clone());
    let pairs = matching.batch_match(batch).await.expect("a job").into_inner();
    assert_eq!(ended(&channel, &pairs.name).await.state(), pb::JobState::Succeeded);

    let llm =
        tokio::task::block_in_place(|| Llm::start(StubOptions { port, ..Default::default() }));
    let done = ended(&channel, &job.name).await;
    assert_eq!(done.state(), pb::JobState::Succeeded, "{done:?}");
    assert!(done.answers_paused_reason.is_empty() && done.instruction_count > 0, "{done:?}");
    tokio::task::block_in_place(|| drop(llm));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_request_is_named() {
    let (place, llm) = (folder("bad"), tokio::task::block_in_place(Llm::default));
    let server = server(place.path(), &llm.target(), &[]);
    let channel = server.connect().await;
    let refused = async |change: &dyn Fn(&mut pb::GenerateRequest)| {
        let mut asked = request();
        change(&mut asked);
        client(channel.clone()).generate(asked).await.expect_err("refused")
    };
    let source = |path: &str| Some(pb::Source { path: path.to_owned(), ..Default::default() });
    type Change<'a> = &'a dyn Fn(&mut pb::GenerateRequest);
    let cases: [(Change<'_>, &str); 9] = [
        (&|one| one.source = None, "FIELD_REQUIRED"),
        (&|one| one.source = source("/etc"), "PATH_OUTSIDE_ROOT"),
        (&|one| one.seeds = vec!["Write a poem.".into(), " ".into()], "FIELD_REQUIRED"),
        (&|one| one.description_limit = Some(0), "FIELD_OUT_OF_RANGE"),
        (&|one| one.seeds_per_prompt = Some(-1), "FIELD_OUT_OF_RANGE"),
        (&|one| one.instructions_per_description = Some(21), "FIELD_OUT_OF_RANGE"),
        (&|one| one.cluster_count = Some(0), "FIELD_OUT_OF_RANGE"),
        (&|one| one.min_cluster_count = Some(3), "FIELD_INVALID"),
        (&|one| one.run_id = "No Such Id".into(), "INVALID_RUN_ID"),
    ];
    for (change, wanted) in cases {
        let status = refused(change).await;
        assert_eq!(reason(&status), wanted, "{status:?}");
        assert_ne!(status.code(), Code::Internal, "{status:?}");
    }
    // Too few seeds for the prompts, and more clusters than instructions: known only at work.
    for (change, wanted) in [
        (pb::GenerateRequest { seeds: vec!["Write a poem.".into()], ..request() }, "SEEDS"),
        (pb::GenerateRequest { cluster_count: Some(5000), ..request() }, "CLUSTER"),
    ] {
        let job = start(&server, pb::GenerateRequest { run_id: String::new(), ..change }).await;
        let failed = ended(&channel, &job.name).await;
        assert_eq!(failed.state(), pb::JobState::Failed, "{failed:?}");
        let error = failed.error.expect("an error");
        let reason = crate::support::serve::item_reason(&error);
        assert!(reason.contains(wanted), "{reason}: {}", error.message);
    }
    tokio::task::block_in_place(|| drop(llm));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_another_kind_of_job_are_refused() {
    let (place, llm) = (folder("kinds"), tokio::task::block_in_place(Llm::default));
    let server = server(place.path(), &llm.target(), &[]);
    let channel = server.connect().await;
    let job = start(&server, request()).await;
    ended(&channel, &job.name).await;
    let mut client = jobs(channel.clone());
    let pairs = pb::ListJobPairsRequest { name: job.name.clone(), ..Default::default() };
    let status = client.list_job_pairs(pairs).await.expect_err("no pairs");
    assert_eq!(
        (status.code(), &*reason(&status)),
        (Code::FailedPrecondition, "JOB_OF_ANOTHER_KIND")
    );
    let verdicts = pb::ListJobVerdictsRequest { name: job.name.clone(), ..Default::default() };
    let status = client.list_job_verdicts(verdicts).await.expect_err("no verdicts");
    assert_eq!(info(&status).domain, "pairwright.dev");
    let name = job.name.clone();
    let token = pb::ListJobInstructionsRequest { name, page_size: 1, page_token: "?".into() };
    let status = client.list_job_instructions(token).await.expect_err("no such token");
    assert_eq!(reason(&status), "BAD_PAGE_TOKEN");

    // A run's folder holds one kind.
    let source = request().source;
    let batch = pb::BatchMatchRequest { source, run_id: "first".into(), ..Default::default() };
    let mut matching = MatchingServiceClient::new(channel);
    let status = matching.batch_match(batch).await.expect_err("refused");
    assert_eq!(reason(&status), "RUN_OF_ANOTHER_KIND");
    tokio::task::block_in_place(|| drop(llm));
}
