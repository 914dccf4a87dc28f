//! Why the service cannot start.

use std::net::SocketAddr;

use crate::ErrorKind;

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
    #[error("metrics: {message}")]
    Metrics { message: String },
    #[error("serve.otel.endpoint = {endpoint:?}: {message}")]
    Telemetry { endpoint: String, message: String },
}

impl ServerError {
    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Keys(error) => error.kind(),
            Self::Tls(error) => error.kind(),
            Self::Bind { .. } => ErrorKind::FailedPrecondition,
            Self::Metrics { .. } => ErrorKind::Internal,
            Self::Telemetry { .. } => ErrorKind::InvalidInput,
        }
    }
}
