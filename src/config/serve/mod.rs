//! The `[serve]` table: how the gRPC service runs.

mod callers;
mod limits;
mod parts;

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize};

use super::ConfigError;
use crate::base::check::{Checks, Problem, Problems, Settings};
use crate::encoder::queue::QueueConfig;

pub use callers::{CallersConfig, Network, QuotaConfig};
pub use limits::ServeLimits;
pub use parts::{
    AuthConfig, ConnectionsConfig, JobsConfig, LibrarySeed, MetricsConfig, MetricsListen,
    OtelConfig, ProberConfig, ServeLibraryConfig, TlsConfig, UrlsConfig, WarmupConfig,
};

/// Where the service keeps its data when nothing else is said, below the current folder.
const DATA: &str = "pairwright-data";

/// How the gRPC service runs. It never goes into a run's `run.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServeConfig {
    /// Address of the gRPC port; port 0 takes a free one.
    #[serde(deserialize_with = "address")]
    pub listen: SocketAddr,
    /// Folder of the library, the jobs and the index; `pairwright-data` when absent.
    pub data: Option<PathBuf>,
    /// Folders below which callers may name photos by path; none allows no paths.
    pub image_roots: Vec<PathBuf>,
    /// Serve other machines without keys and without TLS.
    pub allow_insecure: bool,
    pub limits: ServeLimits,
    pub connections: ConnectionsConfig,
    pub callers: CallersConfig,
    pub queue: QueueConfig,
    pub tls: TlsConfig,
    pub auth: AuthConfig,
    pub metrics: MetricsConfig,
    pub otel: OtelConfig,
    pub urls: UrlsConfig,
    pub jobs: JobsConfig,
    pub library: ServeLibraryConfig,
    pub warmup: WarmupConfig,
    pub prober: ProberConfig,
}

impl Default for ServeConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 50051)),
            data: None,
            image_roots: Vec::new(),
            allow_insecure: false,
            limits: ServeLimits::default(),
            connections: ConnectionsConfig::default(),
            callers: CallersConfig::default(),
            queue: QueueConfig::default(),
            tls: TlsConfig::default(),
            auth: AuthConfig::default(),
            metrics: MetricsConfig::default(),
            otel: OtelConfig::default(),
            urls: UrlsConfig::default(),
            jobs: JobsConfig::default(),
            library: ServeLibraryConfig::default(),
            warmup: WarmupConfig::default(),
            prober: ProberConfig::default(),
        }
    }
}

impl Settings for ServeConfig {
    fn check(&self, checks: &mut Checks) {
        checks.section("limits", &self.limits);
        checks.section("connections", &self.connections);
        checks.section("callers", &self.callers);
        checks.section("queue", &self.queue);
        checks.section("tls", &self.tls);
        checks.section("otel", &self.otel);
        checks.section("urls", &self.urls);
        checks.section("jobs", &self.jobs);
        checks.range("warmup.batch", self.warmup.batch, 0, 256);
        checks.range("prober.interval_seconds", self.prober.interval_seconds, 1, 3600);
    }
}

impl ServeConfig {
    /// The data folder, the default resolved.
    pub fn data_folder(&self) -> PathBuf {
        self.data.clone().unwrap_or_else(|| PathBuf::from(DATA))
    }

    /// The paths that are made absolute when the configuration is resolved.
    pub(super) fn paths_mut(&mut self) -> Vec<&mut PathBuf> {
        let options = [
            &mut self.data,
            &mut self.tls.cert,
            &mut self.tls.key,
            &mut self.tls.client_ca,
            &mut self.auth.keys_file,
            &mut self.otel.ca,
        ];
        let seed = match &mut self.library.seed {
            LibrarySeed::File(path) => Some(path),
            LibrarySeed::BuiltIn | LibrarySeed::None => None,
        };
        options.into_iter().flatten().chain(seed).chain(&mut self.image_roots).collect()
    }
}

/// Refuses to serve other machines when anyone could call and read along.
///
/// # Errors
/// [`ConfigError::Refused`] when `listen` is no loopback address, there are neither keys nor TLS,
/// and `allow_insecure` does not say that this is wanted.
pub fn check_exposure(serve: &ServeConfig) -> Result<(), ConfigError> {
    let protected = serve.auth.keys_file.is_some() || serve.tls.cert.is_some();
    if serve.listen.ip().is_loopback() || protected || serve.allow_insecure {
        return Ok(());
    }
    let expected = "a loopback address, since other machines could call and read along: set \
                    serve.auth.keys_file (--api-keys) or serve.tls (--tls-cert, --tls-key), or \
                    say serve.allow_insecure = true (--allow-insecure)";
    Err(Problems(vec![Problem::new("serve.listen", serve.listen, expected)]).into())
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_address(&text).map_err(serde::de::Error::custom)
}

/// No host names: they would hide which interface is meant.
fn parse_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!("{text:?} is no address; it must be IP:PORT, such as 127.0.0.1:50051 or [::]:50051")
    })
}

#[cfg(test)]
mod tests;
