//! Why keys cannot be read or changed.

use std::path::PathBuf;

use crate::ErrorKind;
use crate::base::failure::Failure;

/// Why keys cannot be read or changed. No message contains a key or a hash.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    #[error("keys file: {source}")]
    Io {
        #[source]
        source: std::io::Error,
    },
    #[error("keys file {path}: {message}")]
    Content { path: PathBuf, message: String },
    #[error("keys file {path}: there is a key named {name:?} already; revoke it first")]
    Exists { path: PathBuf, name: String },
    #[error("keys file {path}: no key is named {name:?}")]
    Unknown { path: PathBuf, name: String },
    #[error("{what} is {found:?}, must be {wanted}")]
    Value { what: &'static str, found: String, wanted: &'static str },
}

impl Failure for KeysError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { source } => ErrorKind::of_io(source),
            Self::Unknown { .. } => ErrorKind::NotFound,
            Self::Content { .. } | Self::Exists { .. } | Self::Value { .. } => {
                ErrorKind::InvalidInput
            }
        }
    }

    fn code(&self) -> &'static str {
        "keys_unusable"
    }
}
