//! What errors of libraries mean for an object.

use std::error::Error;
use std::io;

use object_store::Error as StoreError;
use object_store::client::{HttpError, HttpErrorKind};

use super::address::Address;
use super::error::RemoteError;
use super::hub::HubError;

/// What a library's error means for this object.
pub(super) fn error(address: &Address, error: &StoreError) -> RemoteError {
    let shown = address.shown.clone();
    let said = said(error);
    let has = |words: &[&str]| words.iter().any(|word| said.code.contains(word));
    match (error, said.status) {
        (StoreError::NotFound { .. }, _) => RemoteError::NotFound { address: shown },
        (StoreError::Precondition { .. }, _) => RemoteError::Changed { address: shown },
        (StoreError::NotSupported { .. }, _) => RemoteError::NoRanges { address: shown },
        (StoreError::InvalidPath { .. }, _) => {
            let reason = "its key has parts that no storage takes".to_owned();
            RemoteError::Address { address: shown, reason }
        }
        _ if has(&["Expired", "RequestTimeTooSkewed"]) => {
            RemoteError::Expired { address: shown, said: said.words() }
        }
        (StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. }, _) => {
            RemoteError::Denied { address: shown, said: said.words() }
        }
        // Then the machine's own role was asked for, which was not had.
        _ if lacks_credentials(address) => {
            credentials(address, format!("none are set, and {}", said.words()))
        }
        (_, Some(404)) => RemoteError::NotFound { address: shown },
        (_, Some(412)) => RemoteError::Changed { address: shown },
        (_, Some(401 | 403)) => RemoteError::Denied { address: shown, said: said.words() },
        _ => RemoteError::Unavailable { address: shown, said: said.words() },
    }
}

/// The storage could not be set up at all.
pub(super) fn setup(address: &Address, error: &StoreError) -> RemoteError {
    // What is wrong with a setting: its name, or what is missing. No request was made yet.
    credentials(address, error.to_string())
}

fn lacks_credentials(address: &Address) -> bool {
    let mut wanted = address.scheme.credentials().iter().peekable();
    wanted.peek().is_some() && wanted.all(|name| std::env::var_os(name).is_none())
}

fn credentials(address: &Address, reason: String) -> RemoteError {
    let variables = address.scheme.credentials().join(", ");
    RemoteError::Credentials { address: address.shown.clone(), reason, variables }
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

/// An error and those behind it, the deepest last.
pub(super) fn chain<'e>(
    error: &'e (dyn Error + 'static),
) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

fn said(error: &StoreError) -> Said {
    let mut said = Said { status: None, code: String::new(), network: "no answer".into() };
    for error in chain(error) {
        if let Some((status, body)) = answered(&error.to_string()) {
            (said.status, said.code) = (Some(status), code(body));
        }
        if let Some(http) = error.downcast_ref::<HttpError>() {
            said.network = network(http);
        }
        match error.downcast_ref() {
            Some(HubError::Refused { status, code }) => {
                (said.status, said.code) = (Some(status.as_u16()), code.clone());
            }
            Some(HubError::Transport(words) | HubError::Answer(words)) => {
                said.network.clone_from(words);
            }
            None => {}
        }
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
    let told = chain(error).filter_map(|error| error.downcast_ref::<io::Error>());
    let system = told.filter(|error| error.raw_os_error().is_some()).last();
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
