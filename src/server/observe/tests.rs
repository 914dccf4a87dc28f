//! The observing layer around small services, and the page over real HTTP.

use std::convert::Infallible;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Request, Response};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service, service_fn};

use super::*;
use crate::config::MetricsListen;
use crate::encoder::queue::{DropReason, Lane, TowerKind};
use crate::jobs::JobState;
use crate::llm::{CODES, ROLES, RoleTally, Spent, StatsSnapshot};
use crate::server::layers::testing::{Endless, call, endless, never, request, send};
use crate::server::{Methods, ServerError};

const UNARY: &str = "/pairwright.v1.InfoService/GetInfo";
const STREAM: &str = "/pairwright.v1.JobService/WatchJob";
const METHODS: Methods = Methods { unary: &[UNARY], streaming: &[STREAM] };

struct Fixture {
    exporter: Exporter,
    metrics: Metrics,
    layer: ObserveLayer,
}

fn fixture() -> Fixture {
    let exporter = Exporter::new().expect("good buckets");
    let build = BuildInfo { version: "1.2.3".into(), model: "mini".into(), device: "cpu".into() };
    let metrics = exporter.metrics(&METHODS);
    exporter.running(build);
    Fixture { layer: ObserveLayer::new(metrics.clone(), METHODS), exporter, metrics }
}

impl Fixture {
    /// The value of one series, written as on the page.
    fn value(&self, series: &str) -> f64 {
        let page = self.exporter.render();
        let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {series} in:\n{page}")).parse().expect("a number")
    }

    fn failures(&self, method: &str, code: &str) -> f64 {
        self.value(&format!("pw_request_failure{{method=\"{method}\",err=\"{code}\"}}"))
    }
}

#[tokio::test]
async fn the_page_shows_every_series_at_zero_over_http() {
    let it = fixture();
    let any = MetricsListen::At(([127, 0, 0, 1], 0).into());
    let page = it.exporter.serve(any).await.expect("served").expect("on");
    assert_ne!(page.address.port(), 0);
    let reply = reqwest::get(format!("http://{}/metrics", page.address)).await.expect("a reply");
    assert_eq!(reply.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let text = reply.text().await.expect("text");
    let series = every_series();
    for name in &series {
        let line = text
            .lines()
            .find(|line| line.strip_prefix(name.as_str()).is_some_and(|rest| rest == " 0"));
        assert!(line.is_some(), "{name} is not at zero in:\n{text}");
    }
    assert!(text.contains("pw_build_info{version=\"1.2.3\",model=\"mini\",device=\"cpu\"} 1\n"));
    assert!(text.contains("# HELP pw_request_duration A call from its head"));
    // Nothing else is there but buckets, sums and the comments.
    let samples = |text: &str| {
        text.lines().filter(|line| line.starts_with("pw_") && !line.contains("_bucket{")).count()
    };
    let sums = text.lines().filter(|line| line.contains("_sum")).count();
    assert_eq!(samples(&text), series.len() + sums + 1);
}

#[rustfmt::skip]
fn every_series() -> Vec<String> {
    let mut series: Vec<String> = [
        "pw_queue_overloaded", "pw_llm_calls", "pw_llm_retries", "pw_llm_prompt_tokens",
        "pw_llm_completion_tokens", "pw_connections_refused", "pw_library_size",
        "pw_answer_backend_up", "pw_streams_open", "pw_connections_open",
        "pw_process_resident_memory_bytes", "pw_request_decode_duration_count",
        "pw_request_tokenization_duration_count", "pw_batch_wasted_share_count",
        "pw_llm_call_duration_count",
    ].map(String::from).into();
    for method in [UNARY, STREAM, "other"] {
        for name in ["request_count", "request_success", "request_duration_count"] {
            series.push(format!("pw_{name}{{method=\"{method}\"}}"));
        }
        for code in 1..17 {
            let code = labels::code_name(Code::from(code));
            series.push(format!("pw_request_failure{{method=\"{method}\",err=\"{code}\"}}"));
        }
    }
    for tower in ["vision", "text"] {
        for name in ["request_queue_duration", "request_inference_duration", "batch_next_size"] {
            series.push(format!("pw_{name}_count{{tower=\"{tower}\"}}"));
        }
        for lane in ["interactive", "bulk"] {
            series.push(format!("pw_queue_size{{tower=\"{tower}\",lane=\"{lane}\"}}"));
        }
    }
    series.extend(["cancelled", "deadline", "closed", "shed"].map(|it| format!("pw_queue_dropped{{reason=\"{it}\"}}")));
    series.extend(["calls", "items", "bytes", "streams", "jobs"].map(|it| format!("pw_quota_refused{{quota=\"{it}\"}}")));
    series.extend(["runs", "libraries", "seeds", "databases"].map(|it| format!("pw_data_bytes{{part=\"{it}\"}}")));
    for modality in ["text", "image"] {
        for name in ["index_recall", "index_width"] {
            series.push(format!("pw_{name}{{modality=\"{modality}\"}}"));
        }
    }
    let states = ["queued", "running", "succeeded", "failed", "cancelled"];
    series.extend(states.map(|state| format!("pw_jobs{{state=\"{state}\"}}")));
    for role in ROLES {
        series.push(format!("pw_llm_role_calls{{role=\"{role}\"}}"));
        series.push(format!("pw_llm_role_cost{{role=\"{role}\"}}"));
        for kind in ["prompt", "completion"] {
            series.push(format!("pw_llm_role_tokens{{role=\"{role}\",kind=\"{kind}\"}}"));
        }
    }
    series.extend(CODES.map(|code| format!("pw_llm_failures{{code=\"{code}\"}}")));
    series
}

#[tokio::test]
async fn a_taken_metrics_port_is_named_and_off_is_off() {
    let it = fixture();
    let any = MetricsListen::At(([127, 0, 0, 1], 0).into());
    let page = it.exporter.serve(any).await.expect("served").expect("on");
    let taken = it.exporter.serve(MetricsListen::At(page.address)).await.expect_err("taken");
    assert!(matches!(taken, ServerError::Bind { setting: "serve.metrics.listen", .. }));
    assert!(taken.to_string().contains(&page.address.to_string()), "{taken}");
    assert_eq!(it.exporter.serve(MetricsListen::Off).await.expect("off"), None);
}

#[test]
fn the_facade_reaches_its_series() {
    let it = fixture();
    it.metrics.queued(TowerKind::Text, Duration::from_millis(2));
    it.metrics.inferred(TowerKind::Vision, 8, Duration::from_millis(30));
    it.metrics.wasted(0.25);
    it.metrics.queue_size(TowerKind::Vision, Lane::Bulk, 7);
    it.metrics.dropped(DropReason::Deadline);
    it.metrics.jobs(JobState::Failed, 3);
    it.metrics.llm_call(Duration::from_secs(20));
    it.metrics.answer_backend_up(true);
    let faults = [(CODES[0].to_owned(), 4)].into();
    let totals = StatsSnapshot { calls: 9, prompt_tokens: 100, faults, ..Default::default() };
    it.metrics.llm_totals(&totals);
    let spent = Spent { calls: 2, prompt_tokens: 30, completion_tokens: 7, ..Spent::default() };
    let measured = RoleTally { spent, cost: 0.25 };
    it.metrics.llm_spent(&[("measure".to_owned(), measured)].into());
    assert_eq!(it.value("pw_request_queue_duration_sum{tower=\"text\"}"), 0.002);
    assert_eq!(it.value("pw_batch_next_size_bucket{tower=\"vision\",le=\"8\"}"), 1.0);
    assert_eq!(it.value("pw_batch_next_size_bucket{tower=\"vision\",le=\"4\"}"), 0.0);
    assert_eq!(it.value("pw_batch_wasted_share_sum"), 0.25);
    assert_eq!(it.value("pw_queue_size{tower=\"vision\",lane=\"bulk\"}"), 7.0);
    assert_eq!(it.value("pw_queue_dropped{reason=\"deadline\"}"), 1.0);
    assert_eq!(it.value("pw_jobs{state=\"failed\"}"), 3.0);
    assert_eq!(it.value("pw_llm_call_duration_bucket{le=\"30\"}"), 1.0);
    assert_eq!(it.value("pw_llm_call_duration_bucket{le=\"15\"}"), 0.0);
    assert_eq!(it.value("pw_answer_backend_up"), 1.0);
    assert_eq!(it.value("pw_llm_calls"), 9.0);
    assert_eq!(it.value("pw_llm_role_calls{role=\"measure\"}"), 2.0);
    assert_eq!(it.value("pw_llm_role_tokens{role=\"measure\",kind=\"completion\"}"), 7.0);
    assert_eq!(it.value("pw_llm_role_cost{role=\"measure\"}"), 0.25);
    assert_eq!(it.value("pw_llm_role_cost{role=\"answer\"}"), 0.0);
    assert_eq!(it.value(&format!("pw_llm_failures{{code=\"{}\"}}", CODES[0])), 4.0);
    let open = it.metrics.connection_opened();
    assert_eq!(it.value("pw_connections_open"), 1.0);
    drop(open);
    assert_eq!(it.value("pw_connections_open"), 0.0);
}

/// Answers at once with a body that has only trailers with `code`.
fn ending(
    code: Code,
) -> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
+ Clone
+ Send {
    service_fn(move |_| async move {
        let mut trailers = HeaderMap::new();
        Status::new(code, "as told").add_header(&mut trailers).expect("plain text");
        let frame = futures::stream::iter([Ok::<_, Status>(http_body::Frame::trailers(trailers))]);
        Ok(Response::new(Body::new(http_body_util::StreamBody::new(frame))))
    })
}

async fn drain(response: Response<Body>) {
    use http_body_util::BodyExt;
    let _ = response.into_body().collect().await;
}

#[tokio::test]
async fn codes_come_from_trailers_and_from_headers() {
    let it = fixture();
    drain(call(it.layer.layer(ending(Code::Ok)), UNARY).await).await;
    drain(call(it.layer.layer(ending(Code::NotFound)), UNARY).await).await;
    let refusing = service_fn(|_| async { Ok(Status::unauthenticated("who").into_http()) });
    let refused = call(it.layer.layer(refusing), UNARY).await;
    assert_eq!(it.value(&format!("pw_request_count{{method=\"{UNARY}\"}}")), 3.0);
    assert_eq!(it.value(&format!("pw_request_success{{method=\"{UNARY}\"}}")), 1.0);
    assert_eq!(it.failures(UNARY, "not_found"), 1.0);
    assert_eq!(it.failures(UNARY, "unauthenticated"), 1.0);
    assert_eq!(it.value(&format!("pw_request_duration_count{{method=\"{UNARY}\"}}")), 3.0);
    drop(refused);
    assert_eq!(it.failures(UNARY, "cancelled"), 0.0, "an answered call was counted twice");
}

#[tokio::test]
async fn calls_the_client_drops_are_cancelled_at_the_head_and_in_the_body() {
    let it = fixture();
    let head = call(it.layer.layer(service_fn(never)), UNARY);
    let given_up = tokio::time::timeout(Duration::from_millis(5), head).await;
    assert!(given_up.is_err());
    assert_eq!(it.failures(UNARY, "cancelled"), 1.0);

    let stream = call(it.layer.layer(endless()), STREAM).await;
    assert_eq!(it.value("pw_streams_open"), 1.0);
    drop(stream);
    assert_eq!(it.value("pw_streams_open"), 0.0);
    assert_eq!(it.failures(STREAM, "cancelled"), 1.0);
}

#[tokio::test]
async fn unknown_paths_share_one_series() {
    let it = fixture();
    for path in ["/a/B", "/c/D"] {
        drain(call(it.layer.layer(ending(Code::Unimplemented)), path).await).await;
    }
    assert_eq!(it.failures("other", "unimplemented"), 2.0);
    assert!(!it.exporter.render().contains("/a/B"));
}

#[tokio::test]
async fn request_ids_are_kept_when_they_are_safe_and_made_otherwise() {
    let it = fixture();
    let seen = service_fn(|request: Request<Body>| async move {
        let info = request.extensions().get::<CallInfo>().expect("left by the layer");
        assert!(!info.request_id.is_empty());
        Ok(Response::new(Body::new(Endless)))
    });
    for (given, kept) in [("abc-1", true), ("two words", false), ("", false)] {
        let mut request = request(UNARY);
        request.headers_mut().insert("x-request-id", HeaderValue::from_static(given));
        let response = send(it.layer.layer(seen), request).await;
        let id = response.headers()["x-request-id"].to_str().expect("text");
        assert_eq!(id == given, kept, "{given:?} became {id:?}");
        assert!(kept || id.len() == 16, "{id:?}");
    }
}
