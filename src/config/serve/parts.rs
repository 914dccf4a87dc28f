//! The smaller tables of `[serve]`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::parse_address;
use crate::base::check::{Checks, Settings};
use crate::instruction::store::GivenVectors;

/// `[serve.tls]`: PEM files. None at all serves plain HTTP/2.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct TlsConfig {
    /// The server's certificate and its chain.
    pub cert: Option<PathBuf>,
    /// The certificate's private key.
    pub key: Option<PathBuf>,
    /// Certificate authorities of clients; when given, every client must show a certificate.
    pub client_ca: Option<PathBuf>,
}

impl Settings for TlsConfig {
    fn check(&self, checks: &mut Checks) {
        let Self { cert, key, client_ca } = self;
        let with = |other| format!("set together with serve.tls.{other}");
        checks.require(cert.is_some() || key.is_none(), "key", "set", with("cert"));
        checks.require(key.is_some() || cert.is_none(), "cert", "set", with("key"));
        checks.require(cert.is_some() || client_ca.is_none(), "client_ca", "set", with("cert"));
    }
}

/// `[serve.connections]`: who may stay connected when room is short. The bound on all connections
/// is `serve.limits.max_connections`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConnectionsConfig {
    /// Open connections of one address (IPv6: of one /64 network), 0 to 1000000; 0 sets no bound,
    /// as a server behind a proxy needs it.
    pub max_per_address: u64,
    /// Connections beside all bounds that may ask for health and nothing else, 0 to 10000.
    pub kept_for_probes: u64,
    /// Seconds for the TLS handshake and the first bytes of HTTP/2 together, 1 to 300.
    pub greeting_seconds: u64,
}

impl Default for ConnectionsConfig {
    fn default() -> Self {
        Self { max_per_address: 512, kept_for_probes: 16, greeting_seconds: 10 }
    }
}

impl ConnectionsConfig {
    /// The time a client has to begin to speak HTTP/2.
    pub fn greeting(&self) -> Duration {
        Duration::from_secs(self.greeting_seconds)
    }
}

impl Settings for ConnectionsConfig {
    fn check(&self, checks: &mut Checks) {
        checks.range("max_per_address", self.max_per_address, 0, 1_000_000);
        checks.range("kept_for_probes", self.kept_for_probes, 0, 10_000);
        checks.range("greeting_seconds", self.greeting_seconds, 1, 300);
    }
}

/// `[serve.auth]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct AuthConfig {
    /// The file that `pairwright keys` writes; none asks for no key.
    pub keys_file: Option<PathBuf>,
}

/// `[serve.metrics]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsConfig {
    /// Address of the Prometheus page, or `off`.
    pub listen: MetricsListen,
}

/// Where `GET /metrics` is answered. Written `127.0.0.1:9090` or `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum MetricsListen {
    /// Nowhere.
    Off,
    /// At this address; port 0 takes a free one.
    At(SocketAddr),
}

impl Default for MetricsListen {
    fn default() -> Self {
        Self::At(SocketAddr::from(([127, 0, 0, 1], 9090)))
    }
}

impl From<MetricsListen> for String {
    fn from(listen: MetricsListen) -> Self {
        match listen {
            MetricsListen::Off => "off".to_owned(),
            MetricsListen::At(address) => address.to_string(),
        }
    }
}

impl TryFrom<String> for MetricsListen {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "off" => Ok(Self::Off),
            address => {
                parse_address(address).map(Self::At).map_err(|error| format!("{error}, or \"off\""))
            }
        }
    }
}

/// `[serve.otel]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OtelConfig {
    /// An OTLP/gRPC collector such as `http://127.0.0.1:4317`, with TLS where it is `https`; none
    /// exports no traces.
    pub endpoint: Option<String>,
    /// A PEM file with the authorities that an `https` collector is trusted by; none takes the
    /// system's.
    pub ca: Option<PathBuf>,
    /// The service's name in traces.
    pub service_name: String,
    /// Share of calls traced, 0 to 1, where the caller has not decided.
    pub sample_ratio: f64,
}

impl Default for OtelConfig {
    fn default() -> Self {
        Self { endpoint: None, ca: None, service_name: "pairwright".into(), sample_ratio: 1.0 }
    }
}

impl OtelConfig {
    /// Whether the collector is spoken to by TLS.
    pub fn is_encrypted(&self) -> bool {
        let url = self.endpoint.as_deref().and_then(collector);
        url.is_some_and(|url| url.scheme() == "https")
    }
}

impl Settings for OtelConfig {
    fn check(&self, checks: &mut Checks) {
        let Self { endpoint, ca, service_name, sample_ratio } = self;
        checks.range("sample_ratio", *sample_ratio, 0.0, 1.0);
        checks.require(!service_name.trim().is_empty(), "service_name", "empty", "a name");
        let wrong = endpoint.as_deref().filter(|endpoint| collector(endpoint).is_none());
        let seen = format!("{:?}", wrong.unwrap_or_default());
        let expected = "http://HOST:PORT or https://HOST:PORT of a collector";
        checks.require(wrong.is_none(), "endpoint", seen, expected);
        let trusted = ca.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
        let fits = ca.is_none() || self.is_encrypted();
        checks.require(fits, "ca", trusted, "unset unless serve.otel.endpoint is https");
    }
}

/// A collector's address, if it is one.
fn collector(endpoint: &str) -> Option<reqwest::Url> {
    let url = reqwest::Url::parse(endpoint).ok()?;
    (matches!(url.scheme(), "http" | "https") && url.has_host()).then_some(url)
}

/// `[serve.urls]`: photos that callers name by URL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UrlsConfig {
    /// Fetch them at all.
    pub enabled: bool,
    /// Bytes of one reply, 1 KiB to 1 GiB.
    pub max_bytes: u64,
    /// Seconds for one photo, 1 to 300.
    pub timeout_seconds: u64,
    /// Redirects followed, 0 to 10.
    pub max_redirects: u64,
    /// Photos fetched at once over all calls, 1 to 1024; one call fetches 8 at once at most.
    pub max_in_flight: u64,
}

impl Default for UrlsConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            max_bytes: 32 << 20,
            timeout_seconds: 10,
            max_redirects: 3,
            max_in_flight: 32,
        }
    }
}

impl Settings for UrlsConfig {
    fn check(&self, checks: &mut Checks) {
        checks.range("max_bytes", self.max_bytes, 1 << 10, 1 << 30);
        checks.range("timeout_seconds", self.timeout_seconds, 1, 300);
        checks.range("max_redirects", self.max_redirects, 0, 10);
        checks.range("max_in_flight", self.max_in_flight, 1, 1024);
    }
}

/// `[serve.jobs]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JobsConfig {
    /// Jobs at work at once, 1 to 64: so many BatchMatch jobs, and so many Generate and Judge jobs
    /// beside them.
    pub max_running: u64,
    /// Jobs that may wait, 1 to 100000.
    pub max_queued: u64,
    /// Days after which a job that is done and its run are removed, 0 to 36500; 0 keeps them.
    pub keep_days: u64,
    /// Bytes of run folders beyond which the oldest that are done are removed, 0 to 1 PiB; 0 keeps
    /// them.
    pub keep_bytes: u64,
}

impl Default for JobsConfig {
    fn default() -> Self {
        Self { max_running: 1, max_queued: 100, keep_days: 0, keep_bytes: 0 }
    }
}

impl Settings for JobsConfig {
    fn check(&self, checks: &mut Checks) {
        checks.range("max_running", self.max_running, 1, 64);
        checks.range("max_queued", self.max_queued, 1, 100_000);
        checks.range("keep_days", self.keep_days, 0, 36_500);
        checks.range("keep_bytes", self.keep_bytes, 0, 1 << 50);
    }
}

/// `[serve.library]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct ServeLibraryConfig {
    /// What a new data folder starts with.
    pub seed: LibrarySeed,
    /// What becomes of vectors that callers supplied when the model has changed.
    pub on_changed_model: GivenVectors,
}

/// The instructions a new data folder starts with. Written `built_in`, `none` or a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(from = "String", into = "String")]
pub enum LibrarySeed {
    /// The built-in library.
    #[default]
    BuiltIn,
    /// Nothing.
    None,
    /// A `.jsonl` or `.txt` library.
    File(PathBuf),
}

impl From<LibrarySeed> for String {
    fn from(seed: LibrarySeed) -> Self {
        match seed {
            LibrarySeed::BuiltIn => "built_in".to_owned(),
            LibrarySeed::None => "none".to_owned(),
            LibrarySeed::File(path) => path.to_string_lossy().into_owned(),
        }
    }
}

impl From<String> for LibrarySeed {
    fn from(text: String) -> Self {
        match text.as_str() {
            "built_in" => Self::BuiltIn,
            "none" => Self::None,
            _ => Self::File(text.into()),
        }
    }
}

/// `[serve.warmup]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WarmupConfig {
    /// Rows of the batch each encoder does before the server is ready, 0 to 256; 0 skips it.
    pub batch: u64,
}

impl Default for WarmupConfig {
    fn default() -> Self {
        Self { batch: 8 }
    }
}

/// `[serve.prober]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProberConfig {
    /// Seconds between two looks at the backends' health, 1 to 3600.
    pub interval_seconds: u64,
}

impl Default for ProberConfig {
    fn default() -> Self {
        Self { interval_seconds: 10 }
    }
}
