//! A call's span reaches a collector as part of the caller's trace.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use pairwright::config::OtelConfig;
use pairwright::server::observe::Traces;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};
use tonic_health::pb::HealthCheckRequest;
use tracing_subscriber::layer::SubscriberExt;

use super::server::{Options, start};
use super::tls::{authority, issue};

#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.lock().expect("no panic").push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    async fn start(&self) -> SocketAddr {
        self.start_on(Server::builder()).await
    }

    /// Starts with a certificate for `localhost`.
    async fn start_encrypted(&self, (cert, key): (String, String)) -> SocketAddr {
        let tls = ServerTlsConfig::new().identity(Identity::from_pem(cert, key));
        self.start_on(Server::builder().tls_config(tls).expect("a sound certificate")).await
    }

    async fn start_on(&self, mut server: Server) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("an address");
        let router = server.add_service(TraceServiceServer::new(self.clone()));
        tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
        address
    }

    fn spans(&self) -> Vec<Span> {
        let requests = self.0.lock().expect("no panic");
        let resources = requests.iter().flat_map(|request| request.resource_spans.clone());
        resources.flat_map(|it| it.scope_spans).flat_map(|it| it.spans).collect()
    }

    fn service_name(&self) -> Option<Value> {
        let requests = self.0.lock().expect("no panic");
        let resource = requests.first()?.resource_spans.first()?.resource.clone()?;
        value(&resource.attributes, "service.name")
    }
}

fn value(attributes: &[KeyValue], key: &str) -> Option<Value> {
    attributes.iter().find(|it| it.key == key)?.value.clone()?.value
}

fn text(text: &str) -> Option<Value> {
    Some(Value::StringValue(text.into()))
}

// One thread, so that the subscriber of this thread sees the server's tasks too.
#[tokio::test]
async fn the_collector_sees_the_callers_trace() {
    let collector = Collector::default();
    let endpoint = Some(format!("http://{}", collector.start().await));
    let service_name = "pw-test".into();
    let config = OtelConfig { endpoint, service_name, sample_ratio: 0.0, ..Default::default() };
    let traces = Traces::start(&config).expect("started").expect("on");
    let subscriber = tracing_subscriber::registry().with(traces.layer());
    let guard = tracing::subscriber::set_default(subscriber);
    let running = start(Options::default()).await;
    let mut client = running.health_client().await;

    let mut request = Request::new(HealthCheckRequest::default());
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    request.metadata_mut().insert("traceparent", parent.parse().expect("ASCII"));
    client.check(request).await.expect("healthy");
    // Nobody asked for this one to be traced, and the ratio is 0.
    client.check(HealthCheckRequest::default()).await.expect("healthy");
    traces.finish().await;
    drop(guard);

    let spans = collector.spans();
    let calls: Vec<&Span> =
        spans.iter().filter(|span| span.name == "grpc.health.v1.Health/Check").collect();
    let [call] = calls.as_slice() else { panic!("one call was to be exported: {spans:?}") };
    assert_eq!(call.trace_id, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes());
    assert_eq!(call.parent_span_id, 0x00f0_67aa_0ba9_02b7_u64.to_be_bytes());
    assert_eq!(value(&call.attributes, "rpc.system"), text("grpc"));
    assert_eq!(value(&call.attributes, "rpc.service"), text("grpc.health.v1.Health"));
    assert_eq!(value(&call.attributes, "rpc.method"), text("Check"));
    assert_eq!(value(&call.attributes, "rpc.grpc.status_code"), Some(Value::IntValue(0)));
    assert_eq!(collector.service_name(), text("pw-test"));
}

/// Traces one span to an encrypted collector that is trusted by the authorities in `ca`.
async fn traced(address: SocketAddr, ca: &Path) {
    let endpoint = Some(format!("https://localhost:{}", address.port()));
    let config = OtelConfig { endpoint, ca: Some(ca.to_owned()), ..Default::default() };
    let traces = Traces::start(&config).expect("started").expect("on");
    let subscriber = tracing_subscriber::registry().with(traces.layer());
    tracing::subscriber::with_default(subscriber, || drop(tracing::info_span!("one").entered()));
    traces.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_collector_is_trusted_by_its_authority_only() {
    let folder = tempfile::tempdir().expect("temp dir");
    let (authority, stranger) = (authority(), authority());
    let collector = Collector::default();
    let address = collector.start_encrypted(issue(&authority, "localhost")).await;
    let ca = folder.path().join("ca.pem");

    fs_err::write(&ca, stranger.pem()).expect("written");
    traced(address, &ca).await;
    assert!(collector.spans().is_empty());

    fs_err::write(&ca, authority.pem()).expect("written");
    traced(address, &ca).await;
    assert_eq!(collector.spans().iter().filter(|span| span.name == "one").count(), 1);
}
