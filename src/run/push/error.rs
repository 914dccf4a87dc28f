use std::path::PathBuf;

use crate::ErrorKind;
use crate::base::failure::Failure;

/// Why an export is not on the hub.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    #[error("--offline (or HF_HUB_OFFLINE) is on, so nothing is pushed to {endpoint}")]
    Offline { endpoint: String },

    #[error("HF_ENDPOINT={value}: {problem}; it must be a web address such as https://hub.example")]
    Endpoint { value: String, problem: String },

    #[error("{field} is {value:?}, must be {expected}")]
    Name { field: &'static str, value: String, expected: &'static str },

    #[error("{what}")]
    NoExport { what: String },

    #[error(
        "{}: {problem}; nothing was pushed: export again (`pairwright export`)", path.display()
    )]
    Changed { path: PathBuf, problem: String },

    #[error(
        "no token: set HF_TOKEN, or log in with the hub's own tools (HF_HOME/token), to push to \
         {repo}"
    )]
    NoToken { repo: String },

    #[error(
        "{what}: the hub answered {status}{}; the dataset there is as it was",
        if said.is_empty() { String::new() } else { format!(": {said}") }
    )]
    Refused { what: String, status: u16, said: String },

    #[error(
        "{what}: {cause}, {tries} times; the dataset there is as it was, and the same command goes \
         on with what is missing"
    )]
    Broken { what: String, cause: String, tries: u32 },

    #[error(
        "{what}: {cause}; the dataset there may or may not have been changed: the same command tells, \
         and goes on with what is missing"
    )]
    Unclear { what: String, cause: String },

    #[error("{what}: the hub's answer cannot be read: {detail}; the dataset there is as it was")]
    Answer { what: String, detail: String },

    #[error("cannot read {}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },

    #[error("the web client cannot start: {message}")]
    Client { message: String },
}

impl Failure for PushError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Endpoint { .. } | Self::Name { .. } => ErrorKind::InvalidInput,
            Self::NoExport { .. } | Self::Changed { .. } | Self::Offline { .. } => {
                ErrorKind::FailedPrecondition
            }
            Self::NoToken { .. } | Self::Refused { status: 401 | 403, .. } => {
                ErrorKind::PermissionDenied
            }
            Self::Refused { status: 404, .. } => ErrorKind::NotFound,
            // Another push was quicker.
            Self::Refused { status: 409 | 412, .. } => ErrorKind::FailedPrecondition,
            Self::Refused { .. } => ErrorKind::InvalidInput,
            Self::Broken { .. } | Self::Unclear { .. } | Self::Answer { .. } => {
                ErrorKind::Unavailable
            }
            Self::Io { source, .. } => ErrorKind::of_io(source),
            Self::Client { .. } => ErrorKind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Offline { .. } => "offline",
            Self::Endpoint { .. } => "hub_endpoint",
            Self::Name { .. } => "push_name",
            Self::NoExport { .. } => "push_no_export",
            Self::Changed { .. } => "push_export_changed",
            Self::NoToken { .. } => "push_no_token",
            Self::Refused { .. } => "push_refused",
            Self::Broken { .. } => "push_broken_off",
            Self::Unclear { .. } => "push_unclear",
            Self::Answer { .. } => "push_answer",
            Self::Io { .. } => "push_io",
            Self::Client { .. } => "push_client",
        }
    }
}
