//! Running the service: listen, load, warm up, serve, drain.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Request, Response};
use tokio::task::{JoinHandle, JoinSet};
use tonic::body::Body;
use tonic::transport::Server;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::server::HealthReporter;
use tower::Service;
use tower::layer::{LayerFn, layer_fn};
use tower::util::BoxCloneService;

use super::app::App;
use super::auth::{AuthLayer, KeyRing};
use super::callers::{Accounts, Quotas, TrustedProxies};
use super::layers::{
    AdmitLayer, BudgetLayer, CallLimit, ConnectionBounds, ConnectionLimit, DeadlineLayer,
    DrainLayer, ExplainLayer, Incoming, MessageBudget, PanicLayer, Places, Shutdown, SilenceLayer,
    bind,
};
use super::methods::METHODS;
use super::observe::{BuildInfo, Exporter, Metrics, ObserveLayer, sample_memory};
use super::reload::{self, Reload};
use super::switch::Switch;
use super::tls::LiveTls;
use super::{Limits, ServerError, bounds, health, routes, start, telemetry};
use crate::Error;
use crate::config::{Config, check_exposure};

/// A connection whose client does not answer a ping within this time is closed.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// What is told once the server serves.
#[derive(Debug, Clone, Copy)]
pub struct Ready {
    /// The gRPC port.
    pub address: SocketAddr,
    /// The Prometheus page, unless it is off.
    pub metrics: Option<SocketAddr>,
    /// From the start to the end of the warm-up.
    pub took: Duration,
}

/// The server while it runs: its port is open, and health and reflection answer.
struct Running {
    address: SocketAddr,
    reporter: HealthReporter,
    switch: Switch,
    shutdown: Shutdown,
    metrics: Metrics,
    serving: JoinHandle<Result<(), ServerError>>,
}

/// Serves until a signal, then drains. `ready` is called when everything is loaded and warm.
///
/// # Errors
/// The configuration is refused, a port is taken, or a part cannot be opened. Once it serves, only
/// a failure of the transport ends it with an error.
pub async fn serve(config: Config, ready: impl FnOnce(Ready)) -> Result<(), Error> {
    let began = Instant::now();
    check_exposure(&config.serve)?;
    let exporter = Exporter::new()?;
    let metrics = exporter.metrics(&METHODS);
    let page = exporter.serve(config.serve.metrics.listen).await?;
    sample_memory(metrics.clone());
    let (reporter, service) = tonic_health::server::health_reporter();
    health::not_serving(&reporter).await;
    bounds::tell(&config);
    bounds::allow_open_files(&config);
    let running = open(&config, metrics, reporter, service.clone()).await?;
    let loaded = start::start(config, &running.metrics, &running.shutdown).await;
    let app = match loaded {
        Ok(app) => app,
        Err(error) => {
            running.shutdown.abort();
            return Err(error);
        }
    };
    exporter.running(build_info(&app));
    running.switch.turn(routes::full(&app, service).map_err(ServerError::from)?);
    let metrics = page.map(|page| page.address);
    ready(Ready { address: running.address, metrics, took: began.elapsed() });
    running.work(app).await
}

fn build_info(app: &App) -> BuildInfo {
    BuildInfo {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        model: app.config.model.asked_for().display().to_string(),
        device: app.encoder().device().to_string(),
    }
}

/// A service of which only what it takes and gives is known.
type Erased = BoxCloneService<Request<Body>, Response<Body>, Infallible>;

/// Hides what the layers below are made of. A layer's type holds the types of all below it, and of
/// a dozen the compiler needs minutes to see, again and again, that they may move between threads.
fn erased<S>() -> LayerFn<fn(S) -> Erased>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
{
    layer_fn(|inner| Erased::new(inner))
}

/// Opens the port and answers health and reflection there.
async fn open<H: Health>(
    config: &Config,
    metrics: Metrics,
    reporter: HealthReporter,
    service: HealthServer<H>,
) -> Result<Running, Error> {
    let limits = &config.serve.limits;
    let shutdown = Shutdown::new(limits.lame_duck(), limits.drain());
    shutdown.on_signals();
    let ring = config.serve.auth.keys_file.as_deref().map(KeyRing::open).transpose();
    let ring = ring.map_err(ServerError::from)?;
    let tls = LiveTls::open(&config.serve.tls).map_err(ServerError::from)?;
    let keys = ring.clone().map(|ring| Arc::new(ring) as Arc<dyn Reload>);
    let certificate = tls.clone().map(|tls| Arc::new(tls) as Arc<dyn Reload>);
    reload::follow(keys.into_iter().chain(certificate).collect());
    let listener = bind(config.serve.listen).await?;
    let address = listener.local_addr().map_err(ServerError::Address)?;
    let places = Places::new(ConnectionBounds::from(&config.serve));
    let incoming = Incoming::new(listener, places.clone(), tls, metrics.clone());
    let switch = Switch::default();
    let idle = limits.stream_idle();
    let connections = ConnectionLimit::new(places);
    let accounts = Accounts::new(&config.serve.callers, metrics.clone());
    let proxies = TrustedProxies::new(&config.serve.callers.trusted_proxies);
    let quotas = Quotas::new(accounts, proxies, METHODS, idle);
    let Limits { max_requests, max_watches, .. } = Limits::from(limits);
    let budget = MessageBudget::new(limits.max_messages_bytes);
    let calls = CallLimit::new(max_requests, max_watches, budget.clone());
    let mut server = Server::builder()
        .max_concurrent_streams(limits.max_streams)
        .tcp_nodelay(true)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .layer(ObserveLayer::new(metrics.clone(), METHODS))
        .layer(DrainLayer::new(shutdown.clone()))
        .layer(erased())
        .layer(AuthLayer::new(ring))
        // Inside the keys: who has none is not at work, however often it calls.
        .layer(AdmitLayer::new((connections, (quotas, calls)), idle))
        .layer(erased())
        .layer(SilenceLayer::new(idle))
        .layer(BudgetLayer::new(budget, limits.max_message_bytes, METHODS, idle))
        .layer(erased())
        .layer(DeadlineLayer::new(limits.request_timeout(), METHODS))
        .layer(ExplainLayer)
        .layer(erased())
        .layer(PanicLayer)
        .layer(switch.clone());
    let early = routes::early(service).map_err(ServerError::from)?;
    let (leaving, stopping) = (shutdown.clone(), reporter.clone());
    tokio::spawn(async move {
        leaving.leaving().await;
        health::not_serving(&stopping).await;
    });
    let draining = shutdown.clone();
    let serving = server.add_routes(early).serve_with_incoming_shutdown(incoming, async move {
        draining.draining().await;
    });
    let until = shutdown.clone();
    let serving = tokio::spawn(async move {
        // None: the time to drain is over, and what is left ends with the process.
        until.run(serving).await.unwrap_or(Ok(())).map_err(ServerError::Transport)
    });
    Ok(Running { address, reporter, switch, shutdown, metrics, serving })
}

impl Running {
    /// Everything is ready: works until the end.
    async fn work(self, app: Arc<App>) -> Result<(), Error> {
        let Self { reporter, shutdown, metrics, serving, .. } = self;
        let mut tasks = JoinSet::new();
        let every = Duration::from_secs(app.config.serve.prober.interval_seconds);
        tasks.spawn(health::probe(Arc::clone(&app), reporter, shutdown.clone(), every));
        tasks.spawn(start::sweep_data(Arc::clone(&app), metrics.clone(), shutdown.clone()));
        tasks.spawn(telemetry::sample(Arc::clone(&app), metrics, shutdown.clone()));
        tasks.spawn(start::maintain_library(Arc::clone(&app), shutdown.clone()));
        let served = serving.await;
        // Without a signal: the transport has failed, and the jobs must end all the same.
        shutdown.begin();
        start::stop(&app, &shutdown).await;
        drop(tasks);
        served.map_err(|error| ServerError::Died(error.to_string()))??;
        Ok(())
    }
}
