use std::io;

use crate::base::failure::Failure;
use crate::{Error, ErrorKind};

/// Why an object at a remote address cannot be read. No message repeats what a server or library
/// said but its status and a short code: their words may hold signatures.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    #[error("{address} is no address to read from: {reason}")]
    Address { address: String, reason: String },

    #[error(
        "{address} cannot be read without credentials: {reason}; set them in the environment \
         ({variables})"
    )]
    Credentials { address: String, reason: String, variables: String },

    #[error("{address} cannot be read with these settings of the environment: {reason}")]
    Setting { address: String, reason: String },

    #[error("{address} may not be read: the server refused the credentials or the rights ({said})")]
    Denied { address: String, said: String },

    #[error(
        "{address} may not be read any more: the signature or token has expired ({said}); renew it \
         in the environment and run again"
    )]
    Expired { address: String, said: String },

    #[error("{address} does not exist")]
    NotFound { address: String },

    #[error("{address} was changed while it was read; run again to read it from its beginning")]
    Changed { address: String },

    #[error(
        "{address} broke off at byte {at} again and again ({said}); run again to go on with the \
         photos that are missing"
    )]
    CutShort { address: String, at: u64, said: String },

    #[error("{address} cannot be reached now ({said}); run again later")]
    Unavailable { address: String, said: String },

    #[error("{address}: the server does not serve parts of files (ranges of bytes)")]
    NoRanges { address: String },

    #[error(
        "{address}: a web server lists no folders; name a file, or several as in \
         https://host/{{00..17}}.tar"
    )]
    NoListing { address: String },
}

impl RemoteError {
    /// The same as what a reader of files gives, with kind and code kept.
    pub(in crate::sandbox) fn into_io(self) -> io::Error {
        let kind = match &self {
            Self::NotFound { .. } => io::ErrorKind::NotFound,
            Self::Address { .. } => io::ErrorKind::InvalidInput,
            Self::Credentials { .. }
            | Self::Setting { .. }
            | Self::Denied { .. }
            | Self::Expired { .. } => io::ErrorKind::PermissionDenied,
            Self::NoRanges { .. } | Self::NoListing { .. } => io::ErrorKind::Unsupported,
            Self::Changed { .. } | Self::CutShort { .. } | Self::Unavailable { .. } => {
                io::ErrorKind::ConnectionAborted
            }
        };
        io::Error::new(kind, Error::from(self))
    }
}

impl Failure for RemoteError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Address { .. } => ErrorKind::InvalidInput,
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Denied { .. } | Self::Expired { .. } => ErrorKind::PermissionDenied,
            Self::Credentials { .. }
            | Self::Setting { .. }
            | Self::Changed { .. }
            | Self::NoRanges { .. }
            | Self::NoListing { .. } => ErrorKind::FailedPrecondition,
            Self::CutShort { .. } | Self::Unavailable { .. } => ErrorKind::Unavailable,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Address { .. } => "remote_address",
            Self::Credentials { .. } => "remote_credentials",
            Self::Setting { .. } => "remote_setting",
            Self::Denied { .. } => "remote_denied",
            Self::Expired { .. } => "remote_expired",
            Self::NotFound { .. } => "remote_not_found",
            Self::Changed { .. } => "remote_changed",
            Self::CutShort { .. } => "remote_cut_short",
            Self::Unavailable { .. } => "remote_unavailable",
            Self::NoRanges { .. } => "remote_no_ranges",
            Self::NoListing { .. } => "remote_no_listing",
        }
    }
}
