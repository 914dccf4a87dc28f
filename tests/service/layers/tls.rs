//! TLS and mTLS from files, end to end.

use std::path::PathBuf;

use pairwright::config::TlsConfig;
use pairwright::server::reload::Reload;
use pairwright::server::tls::LiveTls;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use tonic::Status;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::server::{Options, Running, start};

type Authority = CertifiedIssuer<'static, KeyPair>;

pub fn authority() -> Authority {
    let mut params = CertificateParams::new(vec![]).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed")
}

/// Certificate and key, both PEM.
pub fn issue(authority: &Authority, name: &str) -> (String, String) {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    let certificate = params.signed_by(&key, authority).expect("signed");
    (certificate.pem(), key.serialize_pem())
}

struct Fixture {
    folder: TempDir,
    servers: Authority,
    clients: Authority,
    tls: LiveTls,
    running: Running,
}

async fn fixture(mutual: bool) -> Fixture {
    let (servers, clients) = (authority(), authority());
    let folder = tempfile::tempdir().expect("temp dir");
    let write = |name: &str, text: String| -> PathBuf {
        let path = folder.path().join(name);
        fs_err::write(&path, text).expect("written");
        path
    };
    let (cert, key) = issue(&servers, "localhost");
    let config = TlsConfig {
        cert: Some(write("cert.pem", cert)),
        key: Some(write("key.pem", key)),
        client_ca: mutual.then(|| write("ca.pem", clients.pem())),
    };
    let tls = LiveTls::open(&config).expect("good files").expect("on");
    let running = start(Options { tls: Some(tls.clone()), ..Options::default() }).await;
    Fixture { folder, servers, clients, tls, running }
}

impl Fixture {
    fn trusting(&self) -> ClientTlsConfig {
        let root = Certificate::from_pem(self.servers.pem());
        ClientTlsConfig::new().ca_certificate(root).domain_name("localhost")
    }

    fn showing(&self, by: &Authority) -> ClientTlsConfig {
        let (cert, key) = issue(by, "a-client");
        self.trusting().identity(Identity::from_pem(cert, key))
    }

    /// Whether a health check passes.
    async fn check(&self, tls: Option<ClientTlsConfig>) -> Result<(), String> {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let address = format!("{scheme}://{}", self.running.address);
        let mut endpoint = Channel::from_shared(address).expect("a URI");
        if let Some(tls) = tls {
            endpoint = endpoint.tls_config(tls).map_err(|error| error.to_string())?;
        }
        let channel = endpoint.connect().await.map_err(|error| error.to_string())?;
        let told = HealthClient::new(channel).check(HealthCheckRequest::default()).await;
        told.map(drop).map_err(|status: Status| status.to_string())
    }
}

#[tokio::test]
async fn tls_serves_those_who_trust_the_authority_and_no_plain_text() {
    let it = fixture(false).await;
    it.check(Some(it.trusting())).await.expect("trusted");
    let stranger = Certificate::from_pem(it.clients.pem());
    let distrusting = ClientTlsConfig::new().ca_certificate(stranger).domain_name("localhost");
    it.check(Some(distrusting)).await.expect_err("another authority");
    it.check(None).await.expect_err("plain text");
    it.check(Some(it.trusting())).await.expect("failed handshakes changed nothing");
}

#[tokio::test]
async fn mutual_tls_asks_clients_for_a_certificate_of_the_right_authority() {
    let it = fixture(true).await;
    it.check(Some(it.showing(&it.clients))).await.expect("the right authority");
    it.check(Some(it.trusting())).await.expect_err("no certificate");
    it.check(Some(it.showing(&it.servers))).await.expect_err("the wrong authority");
}

#[tokio::test]
async fn new_connections_see_a_renewed_certificate() {
    let it = fixture(false).await;
    it.check(Some(it.trusting())).await.expect("the first certificate");
    // By the other authority, so that it is told from the first.
    let (cert, key) = issue(&it.clients, "localhost");
    fs_err::write(it.folder.path().join("cert.pem"), cert).expect("written");
    fs_err::write(it.folder.path().join("key.pem"), key).expect("written");
    it.tls.reload();
    let root = Certificate::from_pem(it.clients.pem());
    let renewed = ClientTlsConfig::new().ca_certificate(root).domain_name("localhost");
    it.check(Some(renewed)).await.expect("the second certificate");
    it.check(Some(it.trusting())).await.expect_err("the first is gone");
}
