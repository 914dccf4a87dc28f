//! All layers together, without TLS.

use std::time::Duration;

use http::uri::PathAndQuery;
use pairwright::server::auth::{KeyFile, KeyRing, Scope};
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_health::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_check_response};
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_types::StatusExt;

use super::server::{CHECK, HANG, Options, Running, start};

/// A reflection call that stays open until what is returned is dropped: both halves of it.
async fn reflect(channel: Channel, key: Option<&str>) -> Result<impl Sized, Status> {
    let question = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let (questions, open) = tokio::sync::mpsc::channel(1);
    questions.try_send(question).expect("room for one");
    let open = tokio_stream::wrappers::ReceiverStream::new(open);
    let mut request = Request::new(open);
    if let Some(key) = key {
        let value: MetadataValue<_> = format!("Bearer {key}").parse().expect("ASCII");
        request.metadata_mut().insert("authorization", value);
    }
    let mut answers =
        ServerReflectionClient::new(channel).server_reflection_info(request).await?.into_inner();
    answers.message().await?.expect("an answer");
    Ok((questions, answers))
}

fn reason(status: &Status) -> String {
    status.get_details_error_info().expect("a reason").reason
}

async fn hang(running: &Running, key: Option<&str>) -> Status {
    let mut client = tonic::client::Grpc::new(running.channel().await);
    client.ready().await.expect("ready");
    let codec = tonic_prost::ProstCodec::<HealthCheckRequest, HealthCheckResponse>::default();
    let mut request = Request::new(HealthCheckRequest::default());
    if let Some(key) = key {
        request.metadata_mut().insert("x-api-key", key.parse().expect("ASCII"));
    }
    let answer = client.unary(request, PathAndQuery::from_static(HANG), codec).await;
    answer.expect_err("it never answers")
}

#[tokio::test]
async fn keys_are_asked_for_everywhere_but_by_health() {
    let folder = tempfile::tempdir().expect("temp dir");
    let path = folder.path().join("keys.toml");
    let key = KeyFile::create(&path, "reader", Scope::Read, None).expect("created");
    let keys = Some(KeyRing::open(&path).expect("opened"));
    let running = start(Options { keys, ..Options::default() }).await;
    let answer = running.health_client().await.check(HealthCheckRequest::default()).await;
    let headers = answer.expect("no key needed");
    assert!(headers.metadata().contains_key("x-request-id"));

    let channel = running.channel().await;
    let missing = reflect(channel.clone(), None).await.err().expect("refused");
    assert_eq!(
        (missing.code(), reason(&missing)),
        (Code::Unauthenticated, "API_KEY_MISSING".into())
    );
    let wrong = reflect(channel.clone(), Some("pw_guess")).await.err().expect("refused");
    assert_eq!(reason(&wrong), "API_KEY_INVALID");
    reflect(channel, Some(key.reveal())).await.expect("allowed");
    let read_only = hang(&running, Some(key.reveal())).await;
    assert_eq!(
        (read_only.code(), reason(&read_only)),
        (Code::PermissionDenied, "API_KEY_SCOPE".into())
    );
    assert!(running.shows("pw_request_failure{method=\"other\",err=\"unauthenticated\"} 2"));
}

#[tokio::test]
async fn a_full_server_refuses_with_retry_after_and_is_still_healthy() {
    let running = start(Options { watches: 1, ..Options::default() }).await;
    let channel = running.channel().await;
    let held = reflect(channel.clone(), None).await.expect("the only place");
    let refused = reflect(channel.clone(), None).await.err().expect("refused");
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(reason(&refused), "TOO_MANY_WATCHES");
    assert_eq!(refused.metadata().get("retry-after").expect("there"), "1");
    let retry = refused.get_details_retry_info().expect("there").retry_delay;
    assert_eq!(retry, Some(Duration::from_secs(1)));
    let mut health = running.health_client().await;
    health.check(HealthCheckRequest::default()).await.expect("health needs no place");
    drop(held);
    for _ in 0..1000 {
        if reflect(channel.clone(), None).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the place never became free");
}

#[tokio::test]
async fn a_reflection_stream_that_says_nothing_is_ended() {
    let idle = Duration::from_millis(200);
    let running = start(Options { idle, ..Options::default() }).await;
    let (questions, open) = tokio::sync::mpsc::channel::<ServerReflectionRequest>(1);
    let open = tokio_stream::wrappers::ReceiverStream::new(open);
    let mut client = ServerReflectionClient::new(running.channel().await);
    let mut answers = client.server_reflection_info(open).await.expect("open").into_inner();
    let end = tokio::time::timeout(Duration::from_secs(60), answers.message()).await;
    let status = end.expect("ended").expect_err("not well");
    assert_eq!((status.code(), &*reason(&status)), (Code::DeadlineExceeded, "STREAM_IDLE"));
    drop(questions);
}

#[tokio::test]
async fn the_servers_bound_on_a_call_is_a_deadline_with_a_reason() {
    let timeout = Some(Duration::from_millis(50));
    let running = start(Options { timeout, ..Options::default() }).await;
    let status = hang(&running, None).await;
    assert_eq!(
        (status.code(), reason(&status)),
        (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".into())
    );
    let line = format!("pw_request_failure{{method=\"{HANG}\",err=\"deadline_exceeded\"}} 1");
    assert!(running.shows(&line));
}

#[tokio::test]
async fn shutdown_tells_watchers_then_ends_without_waiting_for_them() {
    let running = start(Options::default()).await;
    let mut client = running.health_client().await;
    let watched = client.watch(HealthCheckRequest::default()).await.expect("watching");
    let mut watched = watched.into_inner();
    let mut next = async || watched.message().await;
    let serving = health_check_response::ServingStatus::Serving as i32;
    assert_eq!(next().await.expect("a message").expect("a status").status, serving);
    assert!(running.shows("pw_streams_open 1") && running.shows("pw_connections_open 1"));

    running.health.set_service_status("", ServingStatus::NotServing).await;
    running.shutdown.begin();
    let not_serving = health_check_response::ServingStatus::NotServing as i32;
    assert_eq!(next().await.expect("a message").expect("a status").status, not_serving);
    assert_eq!(next().await.expect_err("ended").code(), Code::Unavailable);
    let ended = tokio::time::timeout(Duration::from_secs(60), running.task).await;
    ended
        .expect("long before the drain time")
        .expect("no panic")
        .expect("not given up")
        .expect("ok");
    assert!(tokio::net::TcpStream::connect(running.address).await.is_err(), "still listening");
}

#[tokio::test]
async fn a_call_that_does_not_finish_is_given_up_after_the_drain_time() {
    let drain = Duration::from_millis(100);
    let running = start(Options { drain, ..Options::default() }).await;
    let channel = running.channel().await;
    let _held = reflect(channel, None).await.expect("open");
    running.shutdown.begin();
    let ended = tokio::time::timeout(Duration::from_secs(60), running.task).await;
    assert!(ended.expect("in time").expect("no panic").is_none(), "it was to be given up");
}

#[tokio::test]
async fn calls_are_counted_by_method() {
    let running = start(Options::default()).await;
    running.health_client().await.check(HealthCheckRequest::default()).await.expect("healthy");
    assert!(running.shows(&format!("pw_request_count{{method=\"{CHECK}\"}} 1")));
    assert!(running.shows(&format!("pw_request_success{{method=\"{CHECK}\"}} 1")));
}
