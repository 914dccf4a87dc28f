//! The client for OpenAI-compatible servers against a real HTTP server that misbehaves on demand.

use pairwright::Failure;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pairwright::ErrorKind;
use pairwright::llm::{
    ChatModel, ChatRequest, FinishReason, LlmConfig, LlmError, Message, SamplingSettings, connect,
};
use tokio_util::sync::CancellationToken;

mod settings;
mod stream;

use crate::support::stub_llm::{After, Fault, StubLlm, StubOptions};

/// Settings for `stub` that do not make a test wait.
fn quick(stub: &StubLlm) -> LlmConfig {
    LlmConfig {
        target: format!("openai:{}", stub.base_url).parse().expect("a target"),
        model: Some("stub-model".into()),
        max_attempts: 4,
        backoff_base_s: 0.001,
        backoff_cap_s: 0.01,
        deadline_s: 20.0,
        ..Default::default()
    }
}

async fn stub() -> StubLlm {
    StubLlm::start(StubOptions::default()).await
}

async fn client(stub: &StubLlm) -> Arc<dyn ChatModel> {
    connect(&quick(stub)).await.expect("the stub is up")
}

fn question(text: &str) -> ChatRequest {
    let messages = vec![Message::system("Describe the photo."), Message::user(text)];
    ChatRequest::new(messages, SamplingSettings::default(), 7)
}

/// The error that a first call meets when the stub plays `fault` every time.
async fn meets(fault: Fault) -> (LlmError, usize) {
    let stub = stub().await;
    stub.always(fault);
    let model = client(&stub).await;
    let result = model.chat(&question("a bus"), &CancellationToken::new()).await;
    (result.expect_err("a fault"), stub.calls())
}

/// Asserts the reason, and that the attempts reported are those that reached the server.
async fn assert_fault(fault: Fault, code: &str, attempts: u32) -> LlmError {
    let (error, calls) = meets(fault.clone()).await;
    assert_eq!(error.code(), code, "{fault:?}: {error}");
    assert_eq!((error.attempts, calls), (attempts, attempts as usize), "{fault:?}: {error}");
    error
}

#[tokio::test]
async fn a_reply_carries_text_usage_and_finish() {
    let stub = stub().await;
    let model = client(&stub).await;
    let cancel = CancellationToken::new();
    let reply = model.chat(&question("a red bus"), &cancel).await.expect("answered");
    let words = reply.text.split(' ').count();
    assert!((40..=80).contains(&words), "{words} words: {}", reply.text);
    assert_eq!(reply.usage.completion_tokens, words as u64);
    assert_eq!(reply.usage.prompt_tokens, 6, "the words of both messages");
    assert_eq!((reply.finish, reply.attempts), (FinishReason::Stop, 1));
    assert_eq!((reply.model.as_str(), model.name()), ("stub-model", "stub-model"));
    let again = model.chat(&question("a red bus"), &cancel).await.expect("answered");
    assert_eq!(again.text, reply.text);
    let other = ChatRequest { seed: 8, ..question("a red bus") };
    assert_ne!(model.chat(&other, &cancel).await.expect("answered").text, reply.text);
}

#[tokio::test]
async fn the_request_says_what_was_asked() {
    let stub = stub().await;
    let mut request = question("a bus");
    request.settings.stop = vec!["###".into()];
    request.settings.repeat_penalty = Some(1.2);
    let model = client(&stub).await;
    model.chat(&request, &CancellationToken::new()).await.expect("answered");
    let sent = stub.requests().remove(0);
    assert_eq!(sent["messages"][0]["role"], "system");
    assert_eq!(sent["messages"][1]["content"], "a bus");
    assert_eq!((&sent["seed"], &sent["max_tokens"]), (&7.into(), &512.into()));
    assert_eq!((&sent["repeat_penalty"], &sent["stop"][0]), (&1.2.into(), &"###".into()));
}

#[tokio::test]
async fn a_cut_reply_says_so() {
    let stub = stub().await;
    let mut request = question("a bus");
    request.settings.max_tokens = 5;
    let model = client(&stub).await;
    let reply = model.chat(&request, &CancellationToken::new()).await.expect("answered");
    assert_eq!((reply.finish, reply.usage.completion_tokens), (FinishReason::Length, 5));
}

#[tokio::test]
async fn a_schema_is_passed_on_and_followed() {
    let stub = stub().await;
    let schema = serde_json::json!({
        "type": "object",
        "properties": {"verdict": {"enum": ["A", "B"]}, "why": {"type": "string"}},
    });
    let request = question("which?").with_json_schema(schema);
    let model = client(&stub).await;
    let reply = model.chat(&request, &CancellationToken::new()).await.expect("answered");
    let parsed: serde_json::Value = serde_json::from_str(&reply.text).expect("JSON");
    assert!(["A", "B"].contains(&parsed["verdict"].as_str().expect("a choice")), "{parsed}");
}

#[tokio::test]
async fn faults_that_time_may_heal_use_up_the_attempts() {
    let limited = assert_fault(Fault::RateLimit(After::Nothing), "llm_rate_limited", 4).await;
    assert_eq!(limited.kind(), ErrorKind::Unavailable);
    let server = assert_fault(Fault::Status(500, "boom"), "llm_server_error", 4).await;
    assert!(server.to_string().contains("boom"), "{server}");
    assert!(server.to_string().ends_with("(after 4 attempts)"), "{server}");
    assert_fault(Fault::Status(503, "loading"), "llm_server_error", 4).await;
    assert_fault(Fault::Status(408, "slow"), "llm_server_error", 4).await;
    assert_fault(Fault::Cut, "llm_disconnected", 4).await;
}

#[tokio::test]
async fn garbage_is_asked_again_only_twice() {
    let html = assert_fault(Fault::Body("<html>Sign in</html>"), "llm_garbage", 3).await;
    assert!(html.to_string().contains("Sign in"), "{html}");
    assert_fault(Fault::Body(r#"{"choices": [{"mess"#), "llm_garbage", 3).await;
    assert_fault(Fault::Body(r#"{"choices": []}"#), "llm_garbage", 3).await;
    assert_fault(Fault::Body("{}"), "llm_garbage", 3).await;
    assert_fault(Fault::Body(""), "llm_garbage", 3).await;
}

#[tokio::test]
async fn faults_that_stay_are_met_once() {
    let auth = assert_fault(Fault::Status(401, "no"), "llm_unauthorized", 1).await;
    assert_eq!(auth.kind(), ErrorKind::PermissionDenied);
    assert_fault(Fault::Status(403, "no"), "llm_unauthorized", 1).await;
    let gone = assert_fault(Fault::Status(404, "no such model"), "llm_not_found", 1).await;
    assert!(gone.to_string().contains("stub-model"), "{gone}");
    assert_fault(Fault::Status(400, "bad"), "llm_bad_request", 1).await;
    assert_fault(Fault::Status(422, "bad"), "llm_bad_request", 1).await;
    assert_fault(Fault::Status(302, "elsewhere"), "llm_not_found", 1).await;
    let long = Fault::Status(400, "exceed_context_size_error");
    assert_fault(long, "llm_context_too_long", 1).await;
    assert_fault(Fault::Status(429, "insufficient_quota"), "llm_quota_exhausted", 1).await;
}

#[tokio::test]
async fn a_call_recovers_when_the_fault_passes() {
    let stub = stub().await;
    let model = client(&stub).await;
    stub.script([Fault::Status(500, "boom"), Fault::Cut, Fault::RateLimit(After::Nothing)]);
    let reply = model.chat(&question("a bus"), &CancellationToken::new()).await.expect("healed");
    assert_eq!((reply.attempts, stub.calls()), (4, 4));
    let stats = model.stats();
    assert_eq!((stats.calls, stats.attempts, stats.retries, stats.failed_calls), (1, 4, 3, 0));
    assert_eq!(stats.faults["llm_server_error"], 1);
    assert_eq!(stats.faults["llm_disconnected"], 1);
    assert_eq!(stats.completion_tokens, reply.usage.completion_tokens);
}

/// How long a call takes when the first attempt meets a 429 with `after`.
async fn waited(after: After, config: impl Fn(&mut LlmConfig)) -> Duration {
    let stub = stub().await;
    let mut settings = quick(&stub);
    config(&mut settings);
    let model = connect(&settings).await.expect("the stub is up");
    stub.script([Fault::RateLimit(after)]);
    let start = Instant::now();
    let reply = model.chat(&question("a bus"), &CancellationToken::new()).await.expect("healed");
    assert_eq!(reply.attempts, 2);
    start.elapsed()
}

#[tokio::test]
async fn retry_after_is_waited_for() {
    let second = Duration::from_secs(1);
    assert!(waited(After::Seconds(1), |_| {}).await >= second);
    assert!(waited(After::Date(second), |_| {}).await >= second);
}

#[tokio::test]
async fn an_endless_retry_after_is_cut_to_the_cap() {
    // Without the cap this test would take an hour.
    let waited = waited(After::Seconds(3600), |config| config.retry_after_cap_s = 0.2).await;
    assert!(waited >= Duration::from_millis(200));
}

#[tokio::test]
async fn a_server_that_hangs_meets_the_deadline_of_each_attempt() {
    let stub = stub().await;
    let model = client(&stub).await;
    stub.script([Fault::Hang]);
    let deadline = Some(Duration::from_millis(300));
    let request = ChatRequest { deadline, ..question("a bus") };
    let reply = model.chat(&request, &CancellationToken::new()).await.expect("second attempt");
    assert_eq!(reply.attempts, 2);
    stub.always(Fault::Hang);
    let error = model.chat(&request, &CancellationToken::new()).await.expect_err("hangs");
    assert_eq!((error.code(), error.attempts), ("llm_timeout", 4));
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
}

#[tokio::test]
async fn a_slow_answer_within_the_deadline_is_taken() {
    let stub = stub().await;
    let model = client(&stub).await;
    stub.script([Fault::Slow(Duration::from_millis(300))]);
    let reply = model.chat(&question("a bus"), &CancellationToken::new()).await.expect("late");
    assert_eq!(reply.attempts, 1);
}

#[tokio::test]
async fn nobody_at_the_port_is_unreachable() {
    let config = {
        let stub = stub().await;
        quick(&stub)
    };
    let model = connect(&config).await.expect("a named model asks nothing");
    let error = model.chat(&question("x"), &CancellationToken::new()).await.expect_err("nobody");
    assert_eq!((error.code(), error.attempts), ("llm_unreachable", 4));
    assert!(error.to_string().contains("127.0.0.1"), "{error}");
    assert_eq!(model.check().await.expect_err("nobody").code(), "llm_unreachable");
}

#[tokio::test]
async fn a_connection_closed_before_any_answer_is_retried() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/v1", listener.local_addr().expect("bound"));
    let closer = tokio::spawn(async move {
        for accepted in 0.. {
            let Ok((connection, _)) = listener.accept().await else { return accepted };
            connection.set_zero_linger().ok();
        }
        0
    });
    let config = LlmConfig {
        target: format!("openai:{url}").parse().expect("a target"),
        model: Some("m".into()),
        max_attempts: 3,
        backoff_base_s: 0.001,
        ..Default::default()
    };
    let model = connect(&config).await.expect("a named model asks nothing");
    let error = model.chat(&question("x"), &CancellationToken::new()).await.expect_err("reset");
    let expected = ["llm_disconnected", "llm_unreachable"];
    assert!(expected.contains(&error.code()) && error.attempts == 3, "{error}");
    closer.abort();
}

#[tokio::test]
async fn no_more_calls_than_places_reach_the_server() {
    let delay = Duration::from_millis(50);
    let stub = StubLlm::start(StubOptions { delay, ..Default::default() }).await;
    let config = LlmConfig { max_in_flight: 3, ..quick(&stub) };
    let model = connect(&config).await.expect("the stub is up");
    stub.script(vec![Fault::RateLimit(After::Nothing); 5]);
    let cancel = CancellationToken::new();
    let questions: Vec<_> = (0..20).map(|n| question(&format!("photo {n}"))).collect();
    let calls = questions.iter().map(|question| model.chat(question, &cancel));
    let replies = futures::future::join_all(calls).await;
    assert!(replies.iter().all(Result::is_ok));
    assert_eq!(stub.most_at_once(), 3, "all places are used, and no more");
}
