//! A server with every layer, in the order the product stacks them.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use http::{Request, Response};
use pairwright::server::Methods;
use pairwright::server::auth::{AuthLayer, KeyRing};
use pairwright::server::layers::{
    AdmitLayer, BudgetLayer, CallLimit, ConnectionBounds, ConnectionLimit, DeadlineLayer,
    DrainLayer, ExplainLayer, Incoming, MessageBudget, PanicLayer, Places, Shutdown, SilenceLayer,
    bind,
};
use pairwright::server::observe::{Exporter, ObserveLayer};
use pairwright::server::tls::LiveTls;
use tokio::task::JoinHandle;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::transport::{Channel, Server};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::server::HealthReporter;

pub const CHECK: &str = "/grpc.health.v1.Health/Check";
pub const WATCH: &str = "/grpc.health.v1.Health/Watch";
pub const HANG: &str = "/test.Hang/Wait";
pub const METHODS: Methods = Methods { unary: &[CHECK, HANG], streaming: &[WATCH] };

/// What differs between tests.
pub struct Options {
    pub keys: Option<KeyRing>,
    pub tls: Option<LiveTls>,
    pub calls: usize,
    pub watches: usize,
    pub idle: Duration,
    pub timeout: Option<Duration>,
    pub drain: Duration,
}

impl Default for Options {
    fn default() -> Self {
        let drain = Duration::from_secs(600);
        let idle = Duration::from_secs(60);
        Self { keys: None, tls: None, calls: 100, watches: 100, idle, timeout: None, drain }
    }
}

pub struct Running {
    pub address: SocketAddr,
    pub shutdown: Shutdown,
    pub health: HealthReporter,
    pub exporter: Exporter,
    /// None when it was given up.
    pub task: JoinHandle<Option<Result<(), tonic::transport::Error>>>,
}

pub async fn start(options: Options) -> Running {
    let exporter = Exporter::new().expect("good buckets");
    let metrics = exporter.metrics(&METHODS);
    let shutdown = Shutdown::new(Duration::ZERO, options.drain);
    let listener = bind(([127, 0, 0, 1], 0).into()).await.expect("bound");
    let address = listener.local_addr().expect("an address");
    let places = Places::new(ConnectionBounds {
        total: 10,
        per_address: None,
        probes: 2,
        greeting: Duration::from_secs(10),
    });
    let incoming = Incoming::new(listener, places.clone(), options.tls, metrics.clone());
    let (health, health_service) = tonic_health::server::health_reporter();
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .expect("a good descriptor");
    let connections = ConnectionLimit::new(places);
    let budget = MessageBudget::new(64 << 20);
    let calls = CallLimit::new(options.calls, options.watches, budget.clone());
    let mut server = Server::builder()
        .layer(ObserveLayer::new(metrics, METHODS))
        .layer(DrainLayer::new(shutdown.clone()))
        .layer(AuthLayer::new(options.keys))
        .layer(AdmitLayer::new((connections, calls), options.idle))
        .layer(SilenceLayer::new(options.idle))
        .layer(BudgetLayer::new(budget, 4 << 20, METHODS, options.idle))
        .layer(DeadlineLayer::new(options.timeout, METHODS))
        .layer(ExplainLayer)
        .layer(PanicLayer);
    let router = server.add_service(health_service).add_service(reflection).add_service(Hang);
    let ending = shutdown.clone();
    let task = tokio::spawn(async move {
        let stop = ending.clone();
        let serving =
            router.serve_with_incoming_shutdown(incoming, async move { stop.draining().await });
        ending.run(serving).await
    });
    Running { address, shutdown, health, exporter, task }
}

impl Running {
    pub async fn channel(&self) -> Channel {
        let endpoint = Channel::from_shared(format!("http://{}", self.address)).expect("a URI");
        endpoint.connect().await.expect("connected")
    }

    pub async fn health_client(&self) -> HealthClient<Channel> {
        HealthClient::new(self.channel().await)
    }

    /// Whether the metrics page has this line.
    pub fn shows(&self, line: &str) -> bool {
        self.exporter.render().lines().any(|shown| shown == line)
    }
}

/// A service that never answers.
#[derive(Clone)]
pub struct Hang;

impl NamedService for Hang {
    const NAME: &'static str = "test.Hang";
}

impl tower::Service<Request<Body>> for Hang {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = std::future::Pending<Result<Response<Body>, Infallible>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        std::future::pending()
    }
}
