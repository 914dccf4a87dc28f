//! Traces: one span per call, continued from the caller's, exported by OTLP.

use std::time::Duration;

use http::HeaderMap;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{Status, TraceContextExt, TracerProvider};
use opentelemetry_otlp::{WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use tonic::Code;
use tracing::{Span, Subscriber};
use tracing_opentelemetry::{OpenTelemetryLayer, OpenTelemetrySpanExt};
use tracing_subscriber::registry::LookupSpan;

use super::labels::code_name;
use super::level::level;
use crate::config::OtelConfig;
use crate::server::{ServerError, tls};

/// The name of the instrumentation.
const SCOPE: &str = "pairwright";

/// How long the last spans may take to leave at shutdown.
const FLUSH: Duration = Duration::from_secs(5);

/// The exporter of spans. [`Traces::finish`] sends what is left.
#[derive(Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
}

impl Traces {
    /// Starts exporting as configured; none without an endpoint. The collector need not be there
    /// yet. Call it inside the runtime.
    ///
    /// # Errors
    /// [`ServerError::Telemetry`] when the endpoint cannot be used at all, [`ServerError::Tls`] when
    /// the file of its authorities cannot.
    pub fn start(config: &OtelConfig) -> Result<Option<Self>, ServerError> {
        let Some(endpoint) = &config.endpoint else { return Ok(None) };
        let mut exporter =
            opentelemetry_otlp::SpanExporter::builder().with_tonic().with_endpoint(endpoint);
        if config.is_encrypted() {
            exporter = exporter.with_tls_config(tls::collector_tls(config.ca.as_deref())?);
        }
        let exporter = exporter.build().map_err(|error| ServerError::Telemetry {
            endpoint: endpoint.clone(),
            message: error.to_string(),
        })?;
        let resource = Resource::builder().with_service_name(config.service_name.clone()).build();
        let root = Sampler::TraceIdRatioBased(config.sample_ratio);
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_sampler(Sampler::ParentBased(Box::new(root)))
            .with_resource(resource)
            .build();
        Ok(Some(Self { provider }))
    }

    /// The layer that turns our spans into exported ones.
    pub fn layer<S>(&self) -> OpenTelemetryLayer<S, SdkTracer>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer(SCOPE))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_level(false)
    }

    /// Sends what is left, for at most five seconds.
    pub async fn finish(self) {
        let work = move || self.provider.shutdown_with_timeout(FLUSH);
        match tokio::task::spawn_blocking(work).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the last traces were not exported"),
            Err(error) => tracing::warn!(%error, "the exporter of traces broke down"),
        }
    }
}

/// The span of a call to `path`, a child of the caller's if `headers` name one.
pub fn span(path: &str, headers: &HeaderMap) -> Span {
    let full = path.trim_start_matches('/');
    let (service, method) = full.split_once('/').unwrap_or((full, ""));
    let span = tracing::info_span!(
        "call",
        otel.name = full,
        otel.kind = "server",
        rpc.system = "grpc",
        rpc.service = service,
        rpc.method = method,
        rpc.grpc.status_code = tracing::field::Empty,
    );
    let caller = TraceContextPropagator::new().extract(&Metadata(headers));
    if caller.span().span_context().is_valid() {
        // Without an exporter there is no trace to continue.
        let _ = span.set_parent(caller);
    }
    span
}

/// Writes the outcome into `span`. Only our own faults mark it as failed, as OpenTelemetry wants
/// it of servers.
pub fn close(span: &Span, code: Code, message: &str) {
    span.record("rpc.grpc.status_code", code as i64);
    if level(code) == tracing::Level::ERROR {
        span.set_status(Status::error(format!("{}: {message}", code_name(code))));
    }
}

/// The id of the span's trace, when it is exported.
pub fn trace_id(span: &Span) -> Option<String> {
    let context = span.context();
    let span = context.span();
    let context = span.span_context();
    context.is_valid().then(|| context.trace_id().to_string())
}

/// gRPC metadata as OpenTelemetry reads it.
struct Metadata<'a>(&'a HeaderMap);

impl Extractor for Metadata<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}
