//! The Prometheus page.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use metrics_exporter_prometheus::{
    BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};
use tokio::net::TcpListener;

use super::catalog::buckets;
use super::metrics::{BuildInfo, Metrics};
use crate::config::MetricsListen;
use crate::server::{Methods, ServerError};

/// Between two clean-ups: recorded times pile up until they are sorted into their buckets.
const UPKEEP: Duration = Duration::from_secs(5);

/// The text format's type, as Prometheus wants it named.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Keeps the numbers, and turns them into a page.
pub struct Exporter {
    recorder: PrometheusRecorder,
}

/// The page, once it is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Where it is, with the real port.
    pub address: SocketAddr,
}

impl Exporter {
    /// With the service's buckets.
    ///
    /// # Errors
    /// [`ServerError::Metrics`] when a list of buckets is empty, which would be a fault of ours.
    pub fn new() -> Result<Self, ServerError> {
        let builder = buckets().into_iter().try_fold(PrometheusBuilder::new(), |builder, it| {
            builder.set_buckets_for_metric(Matcher::Full(it.0.into()), &it.1)
        });
        let failed = |error: BuildError| ServerError::Metrics { message: error.to_string() };
        Ok(Self { recorder: builder.map_err(failed)?.build_recorder() })
    }

    /// Metrics that this exporter shows.
    pub fn metrics(&self, methods: &Methods) -> Metrics {
        Metrics::new(&self.recorder, methods)
    }

    /// Shows what is running, once that is known.
    pub fn running(&self, build: BuildInfo) {
        Metrics::running(&self.recorder, build);
    }

    /// The page as it is now.
    pub fn render(&self) -> String {
        self.recorder.handle().render()
    }

    /// Answers `GET /metrics` for as long as the runtime lives. None when `listen` is off; the
    /// numbers are then still kept tidy.
    ///
    /// # Errors
    /// [`ServerError::Bind`] when the port is taken or the address is not ours.
    pub async fn serve(&self, listen: MetricsListen) -> Result<Option<Page>, ServerError> {
        tokio::spawn(keep_tidy(self.recorder.handle()));
        let MetricsListen::At(address) = listen else { return Ok(None) };
        let failed =
            |source| ServerError::Bind { setting: "serve.metrics.listen", address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let page = Page { address: listener.local_addr().map_err(failed)? };
        let handle = self.recorder.handle();
        let router = Router::new().route("/metrics", get(move || show(handle)));
        tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the metrics page is gone");
            }
        });
        Ok(Some(page))
    }
}

async fn show(handle: PrometheusHandle) -> ([(axum::http::HeaderName, &'static str); 1], String) {
    // Writing thousands of lines would hold up calls on this thread. It can only fail by a panic
    // in there, and then there is nothing to show.
    let page = tokio::task::spawn_blocking(move || handle.render()).await.unwrap_or_default();
    ([(CONTENT_TYPE, TEXT)], page)
}

async fn keep_tidy(handle: PrometheusHandle) {
    loop {
        tokio::time::sleep(UPKEEP).await;
        handle.run_upkeep();
    }
}
