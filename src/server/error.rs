//! Why the service cannot start.

use std::net::SocketAddr;

use crate::ErrorKind;
use crate::base::failure::Failure;
use crate::encoder::queue::StartError;

use super::auth::KeysError;
use super::tls::TlsError;

/// Why the service cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error(transparent)]
    Keys(#[from] KeysError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("{setting} = {address}: cannot listen there: {source}")]
    Bind {
        /// The setting that holds the address.
        setting: &'static str,
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("the port cannot be asked for its address: {0}")]
    Address(#[source] std::io::Error),
    #[error("the transport failed: {0}")]
    Transport(#[source] tonic::transport::Error),
    #[error(transparent)]
    Queue(#[from] StartError),
    #[error("the descriptors cannot be read: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    #[error("serve.urls: cannot prepare to fetch addresses: {0}")]
    Fetcher(#[source] reqwest::Error),
    #[error("a part of the server ended unexpectedly: {0}")]
    Died(String),
    #[error("stopped before it was ready")]
    StoppedEarly,
    #[error("metrics: {message}")]
    Metrics { message: String },
    #[error("serve.otel.endpoint = {endpoint:?}: {message}")]
    Telemetry { endpoint: String, message: String },
}

impl Failure for ServerError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Keys(error) => error.kind(),
            Self::Tls(error) => error.kind(),
            Self::Bind { .. } => ErrorKind::FailedPrecondition,
            Self::Queue(error) => error.kind(),
            Self::StoppedEarly => ErrorKind::Cancelled,
            Self::Address(_)
            | Self::Transport(_)
            | Self::Reflection(_)
            | Self::Fetcher(_)
            | Self::Died(_)
            | Self::Metrics { .. } => ErrorKind::Internal,
            Self::Telemetry { .. } => ErrorKind::InvalidInput,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Keys(error) => error.code(),
            Self::Tls(error) => error.code(),
            Self::Queue(error) => error.code(),
            Self::Bind { .. } | Self::Address(_) => "cannot_listen",
            Self::StoppedEarly => "stopped",
            Self::Telemetry { .. } => "config_invalid",
            Self::Transport(_)
            | Self::Reflection(_)
            | Self::Fetcher(_)
            | Self::Died(_)
            | Self::Metrics { .. } => "internal",
        }
    }
}
