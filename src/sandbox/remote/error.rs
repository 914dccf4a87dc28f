use std::error::Error as _;
use std::io;

use object_store::Error as StoreError;
use object_store::client::{HttpError, HttpErrorKind};

use super::address::Address;
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
    /// What a library's error means for this object.
    pub(super) fn of(address: &Address, error: &StoreError) -> Self {
        let shown = address.shown.clone();
        let said = said(error);
        let has = |words: &[&str]| words.iter().any(|word| said.code.contains(word));
        match (error, said.status) {
            (StoreError::NotFound { .. }, None | Some(404 | 405)) | (_, Some(404)) => {
                Self::NotFound { address: shown }
            }
            (StoreError::Precondition { .. }, _) | (_, Some(412)) => {
                Self::Changed { address: shown }
            }
            (StoreError::NotSupported { .. }, _) => Self::NoRanges { address: shown },
            (StoreError::InvalidPath { .. }, _) => {
                let reason = "its key has parts that no storage takes".to_owned();
                Self::Address { address: shown, reason }
            }
            _ if has(&["Expired", "RequestTimeTooSkewed"]) => {
                Self::Expired { address: shown, said: said.words() }
            }
            (StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. }, _)
            | (_, Some(401 | 403)) => Self::Denied { address: shown, said: said.words() },
            (_, None) if Self::lacks_credentials(address) => {
                Self::credentials(address, format!("none are set, and {}", said.words()))
            }
            _ => Self::Unavailable { address: shown, said: said.words() },
        }
    }

    /// The storage could not be set up at all.
    pub(super) fn setup(address: &Address, error: &StoreError) -> Self {
        // What is wrong with a setting: its name, or what is missing. No request was made yet.
        Self::credentials(address, error.to_string())
    }

    fn lacks_credentials(address: &Address) -> bool {
        let mut wanted = address.scheme.credentials().iter().peekable();
        wanted.peek().is_some() && wanted.all(|name| std::env::var_os(name).is_none())
    }

    fn credentials(address: &Address, reason: String) -> Self {
        let variables = address.scheme.credentials().join(", ");
        Self::Credentials { address: address.shown.clone(), reason, variables }
    }

    /// The same as what a reader of files gives, with kind and code kept.
    pub(in crate::sandbox) fn into_io(self) -> io::Error {
        let kind = match &self {
            Self::NotFound { .. } => io::ErrorKind::NotFound,
            Self::Address { .. } => io::ErrorKind::InvalidInput,
            Self::Credentials { .. } | Self::Denied { .. } | Self::Expired { .. } => {
                io::ErrorKind::PermissionDenied
            }
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

/// What a server or the network said.
struct Said {
    status: Option<u16>,
    /// The code in a body of XML, as `<Code>ExpiredToken</Code>`; empty without one.
    code: String,
    network: String,
}

impl Said {
    fn words(&self) -> String {
        match (self.status, &*self.code) {
            (Some(status), "") => format!("status {status}"),
            (Some(status), code) => format!("status {status}, {code}"),
            (None, _) => self.network.clone(),
        }
    }
}

/// Status and body of a refusal, which the library tells in words alone.
fn answered(words: &str) -> Option<(u16, &str)> {
    let told = words.strip_prefix("Server returned non-2xx status code: ")?;
    let status = told.get(..3)?.parse().ok()?;
    Some((status, told))
}

fn said(error: &StoreError) -> Said {
    let mut said = Said { status: None, code: String::new(), network: "no answer".into() };
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some((status, body)) = answered(&error.to_string()) {
            (said.status, said.code) = (Some(status), code(body));
        }
        if let Some(http) = error.downcast_ref::<HttpError>() {
            said.network = network(http);
        }
        next = error.source();
    }
    said
}

/// What went wrong on the way, without the address that libraries put into their words.
pub(super) fn network(error: &HttpError) -> String {
    let kind = match error.kind() {
        HttpErrorKind::Connect => "no connection",
        HttpErrorKind::Timeout => "no answer in time",
        HttpErrorKind::Request => "the connection broke off",
        HttpErrorKind::Decode => "an answer that cannot be read",
        _ => "the connection failed",
    };
    let mut deepest: Option<&(dyn std::error::Error + 'static)> = error.source();
    let mut system = None;
    while let Some(error) = deepest {
        system =
            error.downcast_ref::<io::Error>().filter(|io| io.raw_os_error().is_some()).or(system);
        deepest = error.source();
    }
    system.map_or_else(|| kind.to_owned(), |system| format!("{kind}: {system}"))
}

/// The code in the body of a refusal, of letters alone. One server tells an expired signature in a
/// sentence only.
fn code(body: &str) -> String {
    let told = body.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
    let code: String = told
        .map_or("", |(code, _)| code)
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(64)
        .collect();
    let expired = body.contains("has expired") || body.contains("not in correct range");
    if expired && !code.contains("Expired") {
        format!("{code} Expired").trim().to_owned()
    } else {
        code
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_of_a_body_is_letters_alone() {
        assert_eq!(
            code("<Error><Code>ExpiredToken</Code><Token>x</Token></Error>"),
            "ExpiredToken"
        );
        let sentence = "<Code>AccessDenied</Code><Message>Request has expired</Message>";
        assert_eq!(code(sentence), "AccessDenied Expired");
        assert_eq!(code("<Code>a&lt;\n</Code>"), "alt");
        assert_eq!(code("nothing"), "");
    }
}
