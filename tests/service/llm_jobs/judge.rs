//! `pairwright.v1.EvaluationService`.

use std::path::Path;

use pairwright::server::pb;
use pairwright::server::pb::evaluation_service_client::EvaluationServiceClient;
use serde_json::json;
use tonic::Code;
use tonic::transport::Channel;

use super::{ended, jobs, server, until};
use crate::support::judge_stub::{JudgeStub, Script, Weather};
use crate::support::serve::{Server, item_reason, photo, reason};

const QUESTIONS: usize = 12;

/// Questions about one photo, and two models' answers: the first one's are longer for ids below 8,
/// as long for 8, shorter above.
pub fn desk(folder: &Path) {
    let desk = folder.join("photos");
    fs_err::create_dir_all(desk.join("images")).expect("create");
    fs_err::write(desk.join("images/cat.jpg"), photo("tabby-cat")).expect("write");
    let write = |name: &str, row: &dyn Fn(usize) -> serde_json::Value| {
        let rows = (0..QUESTIONS).map(|id| format!("{}\n", row(id)));
        fs_err::write(desk.join(name), rows.collect::<String>()).expect("write");
    };
    write("q.jsonl", &|id| {
        json!({"question_id": id, "image": "cat.jpg", "text": format!("Write text {id}."),
            "caption": "A cat.", "category": if id < 6 { "low" } else { "high" }})
    });
    write("a.jsonl", &|id| {
        let words = match id {
            0..8 => "a rather long answer",
            8 => "equal",
            _ => "short",
        };
        json!({"question_id": id, "text": words, "model_id": "m"})
    });
    write("b.jsonl", &|id| {
        let words = match id {
            0..8 => "short",
            8 => "equal",
            _ => "a rather long answer",
        };
        json!({"question_id": id, "text": words, "model_id": "n"})
    });
}

pub fn request() -> pb::JudgeRequest {
    pb::JudgeRequest {
        questions: "q.jsonl".into(),
        first_answers: "a.jsonl".into(),
        second_answers: "b.jsonl".into(),
        ..Default::default()
    }
}

fn client(channel: Channel) -> EvaluationServiceClient<Channel> {
    EvaluationServiceClient::new(channel)
}

async fn start(channel: &Channel, request: pb::JudgeRequest) -> pb::Job {
    client(channel.clone()).judge(request).await.expect("a job").into_inner()
}

async fn evaluation(channel: &Channel, job: &str) -> pb::Evaluation {
    let request = pb::GetEvaluationRequest { job: job.to_owned() };
    client(channel.clone()).get_evaluation(request).await.expect("results").into_inner()
}

fn counts(results: Option<pb::RuleResults>) -> [i64; 3] {
    let total = results.expect("counted").total.expect("a total");
    [total.first_wins, total.ties, total.second_wins].map(|share| share.expect("a share").count)
}

async fn desk_server(stub: &JudgeStub) -> (tempfile::TempDir, Server, Channel) {
    let place = tempfile::tempdir().expect("temp dir");
    desk(place.path());
    let server = server(place.path(), &stub.target(), &[]);
    let channel = server.connect().await;
    (place, server, channel)
}

fn stub(script: Script, weather: Weather) -> JudgeStub {
    tokio::task::block_in_place(|| JudgeStub::start(script, weather))
}

#[tokio::test(flavor = "multi_thread")]
async fn two_models_are_judged_and_two_judges_compared() {
    let judge = stub(Script::Longer, Weather::Fine);
    let (_place, server, channel) = desk_server(&judge).await;
    let job = start(&channel, request()).await;
    assert_eq!(job.kind, "Judge");
    let done = ended(&channel, &job.name).await;
    assert_eq!(done.state(), pb::JobState::Succeeded, "{done:?}");
    assert_eq!(done.stages[0].done_count, 2 * QUESTIONS as i64);
    let found = evaluation(&channel, &job.name).await;
    assert_eq!((found.first_model.as_str(), found.second_model.as_str()), ("m", "n"));
    assert_eq!(
        (found.judge_model.as_str(), found.sight()),
        ("stub-judge", pb::JudgeSight::Caption)
    );
    assert_eq!(counts(found.strict.clone()), [8, 1, 3]);
    assert_eq!(counts(found.paper), [8, 1, 3]);
    let groups = found.strict.expect("counted").by_category;
    let names: Vec<&str> = groups.iter().map(|group| group.name.as_str()).collect();
    assert_eq!(names, ["high", "low"]);
    assert_eq!(found.consistency.expect("counted").agreed_count, QUESTIONS as i64);
    assert_eq!(found.reply_count, 2 * QUESTIONS as i64);
    assert!(Path::new(&found.report_path).is_file(), "{}", found.report_path);

    let name = job.name.clone();
    let first = pb::ListJobVerdictsRequest { name, page_size: 5, page_token: String::new() };
    let mut second = first.clone();
    let page = jobs(channel.clone()).list_job_verdicts(first).await.expect("a page").into_inner();
    second.page_token = page.next_page_token;
    let page = jobs(channel.clone()).list_job_verdicts(second).await.expect("a page").into_inner();
    assert!(!page.next_page_token.is_empty());
    let eighth = &page.verdicts[3];
    assert_eq!((eighth.question_id.as_str(), eighth.strict()), ("8", pb::Outcome::Tie));
    assert_eq!((eighth.forward_verdict.as_str(), eighth.backward_verdict.as_str()), ("C", "C"));
    assert!(eighth.forward_reply.starts_with("C. Neither"), "{eighth:?}");

    // Another judge, over the same data folder.
    drop(server);
    let other = stub(Script::AlwaysA, Weather::Fine);
    let server = super::server(_place.path(), &other.target(), &[]);
    let channel = server.connect().await;
    let second = start(&channel, pb::JudgeRequest { images: "images".into(), ..request() }).await;
    assert_eq!(ended(&channel, &second.name).await.state(), pb::JobState::Succeeded);
    let seen = evaluation(&channel, &second.name).await;
    assert_eq!(
        (seen.sight(), counts(seen.strict)),
        (pb::JudgeSight::Image, [0, QUESTIONS as i64, 0])
    );
    let prompt = other.last_request().to_string();
    assert!(prompt.contains("data:image/jpeg;base64,"), "the judge saw the image");
    let compare = pb::CompareRequest { job: job.name, other_job: second.name, rule: 0 };
    let agreed = client(channel).compare(compare).await.expect("compared").into_inner();
    assert_eq!((agreed.compared_count, agreed.agreement.expect("counted").count), (12, 1));
    assert_eq!(agreed.differing_question_ids.len(), 11);
    let eight = agreed.outcomes.iter().find(|pair| pair.outcome() == pb::Outcome::First);
    assert_eq!(eight.map(|pair| (pair.other_outcome(), pair.count)), Some((pb::Outcome::Tie, 8)));
    tokio::task::block_in_place(|| drop((judge, other)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_asks_only_what_is_open() {
    let judge = stub(Script::Longer, Weather::Slow(120));
    let (_place, mut server, channel) = desk_server(&judge).await;
    let job = start(&channel, request()).await;
    until(&channel, &job.name, |job| job.stages.first().is_some_and(|stage| stage.done_count >= 4))
        .await;
    tokio::task::block_in_place(|| {
        server.kill();
        server.restart();
    });
    let channel = server.connect().await;
    let done = ended(&channel, &job.name).await;
    assert_eq!((done.state(), done.attempt), (pb::JobState::Succeeded, 2));
    assert_eq!(counts(evaluation(&channel, &job.name).await.strict), [8, 1, 3]);
    // Calls that were under way at the kill are asked again, no others.
    assert!(judge.calls() < 2 * 2 * QUESTIONS - 4, "{} calls", judge.calls());
    tokio::task::block_in_place(|| drop(judge));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_evaluation_keeps_what_was_judged_and_goes_on() {
    let judge = stub(Script::Longer, Weather::Slow(300));
    let (_place, _server, channel) = desk_server(&judge).await;
    let job = start(&channel, request()).await;
    until(&channel, &job.name, |job| job.stages.first().is_some_and(|stage| stage.done_count >= 2))
        .await;
    let cancel = pb::CancelJobRequest { name: job.name.clone() };
    jobs(channel.clone()).cancel_job(cancel).await.expect("asked");
    assert_eq!(ended(&channel, &job.name).await.state(), pb::JobState::Cancelled);
    let partial = evaluation(&channel, &job.name).await.strict.expect("counted");
    assert!(partial.total.expect("a total").missing_count > 0);
    let resume = pb::ResumeJobRequest { name: job.name.clone() };
    jobs(channel.clone()).resume_job(resume).await.expect("queued");
    assert_eq!(ended(&channel, &job.name).await.state(), pb::JobState::Succeeded);
    assert_eq!(counts(evaluation(&channel, &job.name).await.strict), [8, 1, 3]);
    tokio::task::block_in_place(|| drop(judge));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_named_before_anything_is_asked() {
    let judge = stub(Script::Longer, Weather::Fine);
    let (place, _server, channel) = desk_server(&judge).await;
    let desk = place.path().join("photos");
    fs_err::write(place.path().join("secret.jsonl"), "{}").expect("write");
    #[cfg(unix)]
    fs_err::os::unix::fs::symlink(place.path().join("secret.jsonl"), desk.join("link.jsonl"))
        .expect("linked");
    type Change<'a> = &'a dyn Fn(&mut pb::JudgeRequest);
    let cases: [(Change<'_>, &str); 11] = [
        (&|one| one.questions.clear(), "FIELD_REQUIRED"),
        (&|one| one.first_answers = "../secret.jsonl".into(), "PATH_OUTSIDE_ROOT"),
        (&|one| one.first_answers = "link.jsonl".into(), "PATH_OUTSIDE_ROOT"),
        (&|one| one.second_answers = "gone.jsonl".into(), "FILE_NOT_FOUND"),
        (&|one| one.rule = 9, "ENUM_UNKNOWN"),
        (&|one| one.sight = -1, "ENUM_UNKNOWN"),
        (&|one| one.sight = pb::JudgeSight::Image.into(), "FIELD_REQUIRED"),
        (&|one| one.empty_answers = 7, "ENUM_UNKNOWN"),
        (&|one| one.attempts = Some(0), "FIELD_OUT_OF_RANGE"),
        (&|one| one.temperature = Some(f64::NAN), "FIELD_OUT_OF_RANGE"),
        (&|one| one.max_tokens = Some(-5), "FIELD_OUT_OF_RANGE"),
    ];
    for (change, wanted) in cases {
        let mut asked = request();
        change(&mut asked);
        let status = client(channel.clone()).judge(asked).await.expect_err(wanted);
        assert_eq!(reason(&status), wanted, "{status:?}");
    }
    // Files that do not fit together, and an image that leads out: the job says so.
    let write = |name: &str, row: serde_json::Value| {
        fs_err::write(desk.join(name), row.to_string()).expect("write");
    };
    write("out.jsonl", json!({"question_id": 0, "image": "../../secret.jsonl", "text": "Write."}));
    write("one.jsonl", json!({"question_id": 0, "text": "x", "model_id": "one"}));
    write("two.jsonl", json!({"question_id": 0, "text": "y", "model_id": "two"}));
    let leads_out = pb::JudgeRequest {
        questions: "out.jsonl".into(),
        first_answers: "one.jsonl".into(),
        second_answers: "two.jsonl".into(),
        images: "images".into(),
        ..request()
    };
    let misaligned = pb::JudgeRequest { second_answers: "two.jsonl".into(), ..request() };
    for (asked, wanted) in [(misaligned, "EVALUATION_MISALIGNED"), (leads_out, "EVALUATION_IMAGES")]
    {
        let job = start(&channel, asked).await;
        let failed = ended(&channel, &job.name).await;
        assert_eq!(failed.state(), pb::JobState::Failed, "{failed:?}");
        assert_eq!(item_reason(&failed.error.expect("an error")), wanted);
        let none = pb::GetEvaluationRequest { job: job.name };
        let status = client(channel.clone()).get_evaluation(none).await.expect_err("none");
        assert_eq!((status.code(), &*reason(&status)), (Code::NotFound, "EVALUATION_NO_RESULTS"));
    }
    assert_eq!(judge.calls(), 0, "nothing was asked");
    tokio::task::block_in_place(|| drop(judge));
}
