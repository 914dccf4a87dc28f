//! The reasons for which a call can fail.

use std::path::PathBuf;
use std::time::Duration;

use crate::ErrorKind;
use crate::base::check::{Problem, Problems};
use crate::base::db::DbError;
use crate::base::failure::Failure;

/// Every code that [`LlmFault::code`] returns, so that counters exist before the first fault.
pub const CODES: [&str; 23] = [
    "llm_unreachable",
    "llm_disconnected",
    "llm_timeout",
    "llm_rate_limited",
    "llm_quota_exhausted",
    "llm_server_error",
    "llm_unauthorized",
    "llm_not_found",
    "llm_bad_request",
    "llm_context_too_long",
    "llm_content_policy",
    "llm_cannot_see",
    "llm_photo_too_large",
    "llm_blind",
    "llm_unsupported_parameter",
    "llm_garbage",
    "llm_cancelled",
    "llm_local_server",
    "llm_missing",
    "llm_config",
    "llm_batch",
    "spending_cap",
    "llm_ledger",
];

/// The reason of a failure, as one attempt (or the set-up) met it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LlmFault {
    /// No connection could be made.
    #[error("cannot reach the LLM server at {url}: {cause}")]
    Unreachable {
        /// The base URL.
        url: String,
        /// What the network said.
        cause: String,
    },
    /// The connection broke before the reply was complete.
    #[error("the LLM server at {url} broke the connection before its reply was complete: {cause}")]
    Disconnected {
        /// The base URL.
        url: String,
        /// What the network said.
        cause: String,
    },
    /// The attempt's deadline passed.
    #[error("the LLM server at {url} gave no complete reply within {}", humantime::format_duration(*limit))]
    Timeout {
        /// The base URL.
        url: String,
        /// The time that was allowed.
        limit: Duration,
    },
    /// The server takes no more calls for now.
    #[error("the LLM server limits the rate (HTTP {status}{}): {excerpt}", after(*retry_after))]
    RateLimited {
        /// HTTP status.
        status: u16,
        /// The server's Retry-After.
        retry_after: Option<Duration>,
        /// Start of the answer's body.
        excerpt: String,
    },
    /// The account's credit or quota is spent; waiting does not help, paying does.
    #[error("the account's credit or quota at the LLM server is spent (HTTP {status}): {excerpt}")]
    QuotaExhausted {
        /// HTTP status.
        status: u16,
        /// Start of the answer's body.
        excerpt: String,
    },
    /// The server cannot answer now: it failed, is overloaded, still loads its model, is locked.
    #[error("the LLM server failed (HTTP {status}{}): {excerpt}", after(*retry_after))]
    Server {
        /// HTTP status; that of the error in the body where a reply of status 200 carried one.
        status: u16,
        /// The server's Retry-After.
        retry_after: Option<Duration>,
        /// Start of the answer's body.
        excerpt: String,
    },
    /// The key, or the lack of one, is refused.
    #[error("the LLM server refused {} (HTTP {status}): {excerpt}", key_words(key_env.as_deref()))]
    Auth {
        /// HTTP status.
        status: u16,
        /// Environment variable the key came from; none when no key was sent.
        key_env: Option<String>,
        /// Start of the answer's body.
        excerpt: String,
    },
    /// There is no such path or no such model, or the path leads elsewhere.
    #[error(
        "the LLM server at {url} knows no such path or no model {model:?} (HTTP {status}; a base URL usually ends in /v1): {excerpt}"
    )]
    NotFound {
        /// HTTP status.
        status: u16,
        /// The base URL.
        url: String,
        /// The model asked for.
        model: String,
        /// Start of the answer's body; for a redirect, where it leads.
        excerpt: String,
    },
    /// The server refuses what this prompt, or the text it asks for, is about.
    #[error("the LLM server's content policy refused the prompt (HTTP {status}): {excerpt}")]
    ContentPolicy {
        /// HTTP status.
        status: u16,
        /// Start of the answer's body.
        excerpt: String,
    },
    /// The server refuses a parameter that cannot be left out or named otherwise.
    #[error(
        "the LLM server does not take {parameter}; change that setting, or leave it out with llm.omit: {excerpt}"
    )]
    Unsupported {
        /// The setting's name, as in the configuration.
        parameter: String,
        /// Start of the answer's body.
        excerpt: String,
    },
    /// A refusal whose reason is not known.
    #[error("the LLM server refused the request (HTTP {status}): {excerpt}")]
    BadRequest {
        /// HTTP status.
        status: u16,
        /// Start of the answer's body.
        excerpt: String,
    },
    /// The conversation does not fit the model's context, or is more than the server accepts.
    #[error(
        "the conversation is too long for the model's context or the server's limit: {excerpt}"
    )]
    ContextTooLong {
        /// Start of the answer's body, which usually gives both numbers.
        excerpt: String,
    },
    /// The server takes no photos for this model.
    #[error(
        "the LLM server takes no photos for this model: name one that sees, or set `see` to description: {excerpt}"
    )]
    CannotSee {
        /// Start of the answer's body.
        excerpt: String,
    },
    /// The photo that goes with the call is more than the server takes.
    #[error(
        "the LLM server takes no photo of this size; lower llm.photo_max_side or llm.photo_max_bytes: {excerpt}"
    )]
    PhotoTooLarge {
        /// Start of the answer's body.
        excerpt: String,
    },
    /// The model was shown a known picture and did not say what is on it.
    #[error(
        "the model {model:?} does not see what it is shown: asked for the colours of four squares it said {said:?}. Name a model that sees, set `see` to description, or skip this question with llm.probe = false"
    )]
    Blind {
        /// The model asked.
        model: String,
        /// Start of its reply.
        said: String,
    },
    /// HTTP 200 with something that is no chat completion.
    #[error("the LLM server's answer is not a chat completion: {what}: {excerpt:?}")]
    Garbage {
        /// What is wrong with it.
        what: String,
        /// Start of the answer's body.
        excerpt: String,
    },
    /// A batch ended without an answer to the call, which costs nothing.
    #[error("batch {id} of the LLM server {state}: {excerpt}")]
    Batch {
        /// The server's name for the batch.
        id: String,
        /// What became of it: `failed`, `expired`, `cancelled`, or what the server said.
        state: String,
        /// Start of what the server said of it.
        excerpt: String,
    },
    /// The call was not made: it could spend more than the settings allow.
    #[error(
        "the spending cap {setting} = {cap} is reached: {spent} is spent, and the next call may take {next}; with a higher cap the same command goes on"
    )]
    SpendingCap {
        /// The setting's path in the configuration.
        setting: Box<str>,
        /// Its value.
        cap: Box<str>,
        /// What this folder of work has spent by the same settings, in all sessions.
        spent: Box<str>,
        /// The most that the call may take.
        next: Box<str>,
    },
    /// What calls spend cannot be kept any more, so none is made.
    #[error("what the LLM calls spend, and their batches, cannot be kept: {reason}")]
    Ledger {
        /// What the disk or the database said.
        reason: String,
    },
    /// The caller gave up.
    #[error("the LLM call was cancelled")]
    Cancelled,
    /// The managed server did not start, or died too often.
    #[error("the managed llama-server {what}{}{}", log_words(log), path_words(log_path.as_ref()))]
    LocalServer {
        /// What happened to it.
        what: String,
        /// The last lines it logged.
        log: String,
        /// The whole log, when one is kept.
        log_path: Option<PathBuf>,
    },
    /// The managed server's program or its model is not there.
    #[error("{what} not found ({}); run `make setup`, or set {setting}", looked_at(looked))]
    Missing {
        /// What is missing.
        what: &'static str,
        /// Where it was looked for.
        looked: Vec<PathBuf>,
        /// The setting that names it.
        setting: &'static str,
    },
    /// A setting is wrong.
    #[error("{field}: {reason}")]
    Config {
        /// The setting.
        field: String,
        /// What is wrong with it, with the range and the value seen.
        reason: String,
    },
}

impl From<Problems> for LlmFault {
    /// The first of them: a fault is one thing.
    fn from(problems: Problems) -> Self {
        let Problem { field, value, expected } = problems
            .0
            .into_iter()
            .next()
            .unwrap_or_else(|| Problem::new("settings", "wrong", "right"));
        Self::Config { field, reason: format!("must be {expected}, not {value}") }
    }
}

impl From<DbError> for LlmFault {
    /// Of the ledger, the only database that a model has.
    fn from(error: DbError) -> Self {
        Self::Ledger { reason: error.to_string() }
    }
}

impl LlmFault {
    /// A wrong setting.
    pub(in crate::llm) fn config(field: &str, reason: impl Into<String>) -> Self {
        Self::Config { field: field.to_owned(), reason: reason.into() }
    }

    /// Whether the same call may pass when made again later.
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind(), ErrorKind::Unavailable | ErrorKind::DeadlineExceeded)
    }

    /// What the server said of a parameter: the faults that a refused one makes.
    pub(in crate::llm) fn excerpt(&self) -> &str {
        match self {
            Self::Server { excerpt, .. } | Self::BadRequest { excerpt, .. } => excerpt,
            _ => "",
        }
    }

    /// How long the server asked to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. } | Self::Server { retry_after, .. } => {
                *retry_after
            }
            _ => None,
        }
    }
}

impl Failure for LlmFault {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Unreachable { .. }
            | Self::Disconnected { .. }
            | Self::RateLimited { .. }
            | Self::Server { .. }
            | Self::Garbage { .. } => ErrorKind::Unavailable,
            // Somebody has cancelled it: the same call is not made again by itself.
            Self::Batch { state, .. } if state == "cancelled" => ErrorKind::FailedPrecondition,
            Self::Batch { .. } => ErrorKind::Unavailable,
            Self::Timeout { .. } => ErrorKind::DeadlineExceeded,
            Self::QuotaExhausted { .. }
            | Self::ContextTooLong { .. }
            | Self::SpendingCap { .. } => ErrorKind::ResourceExhausted,
            Self::Auth { .. } => ErrorKind::PermissionDenied,
            Self::NotFound { .. } | Self::Missing { .. } => ErrorKind::NotFound,
            Self::ContentPolicy { .. }
            | Self::Unsupported { .. }
            | Self::CannotSee { .. }
            | Self::Blind { .. }
            | Self::PhotoTooLarge { .. }
            | Self::Config { .. } => ErrorKind::InvalidInput,
            Self::Cancelled => ErrorKind::Cancelled,
            Self::Ledger { .. } => ErrorKind::Internal,
            // Whether the request is at fault, or the server in its present state, is not known.
            Self::BadRequest { .. } | Self::LocalServer { .. } => ErrorKind::FailedPrecondition,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "llm_unreachable",
            Self::Disconnected { .. } => "llm_disconnected",
            Self::Timeout { .. } => "llm_timeout",
            Self::RateLimited { .. } => "llm_rate_limited",
            Self::QuotaExhausted { .. } => "llm_quota_exhausted",
            Self::Server { .. } => "llm_server_error",
            Self::Auth { .. } => "llm_unauthorized",
            Self::NotFound { .. } => "llm_not_found",
            Self::BadRequest { .. } => "llm_bad_request",
            Self::ContextTooLong { .. } => "llm_context_too_long",
            Self::ContentPolicy { .. } => "llm_content_policy",
            Self::Unsupported { .. } => "llm_unsupported_parameter",
            Self::CannotSee { .. } => "llm_cannot_see",
            Self::PhotoTooLarge { .. } => "llm_photo_too_large",
            Self::Blind { .. } => "llm_blind",
            Self::Garbage { .. } => "llm_garbage",
            Self::Cancelled => "llm_cancelled",
            Self::LocalServer { .. } => "llm_local_server",
            Self::Missing { .. } => "llm_missing",
            Self::Config { .. } => "llm_config",
            Self::Batch { .. } => "llm_batch",
            Self::SpendingCap { .. } => "spending_cap",
            Self::Ledger { .. } => "llm_ledger",
        }
    }
}

fn after(wait: Option<Duration>) -> String {
    wait.map(|wait| format!(", Retry-After {} s", wait.as_secs())).unwrap_or_default()
}

fn key_words(key_env: Option<&str>) -> String {
    match key_env {
        Some(name) => format!("the key from {name}"),
        None => "a call without a key (set api_key_env)".to_owned(),
    }
}

fn log_words(log: &str) -> String {
    if log.is_empty() { String::new() } else { format!("; it logged last:\n{log}") }
}

fn path_words(path: Option<&PathBuf>) -> String {
    path.map(|path| format!("\n(whole log: {})", path.display())).unwrap_or_default()
}

fn looked_at(looked: &[PathBuf]) -> String {
    let places: Vec<_> = looked.iter().map(|path| path.display().to_string()).collect();
    format!("looked at {}", places.join(", "))
}
