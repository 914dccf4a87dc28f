//! What a call or an item of a list is answered when it fails, and the one table from kinds of
//! errors to gRPC codes. `proto/pairwright/v1/common.proto` documents the reasons.

use std::collections::HashMap;
use std::time::Duration;

use prost::Message;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::ErrorKind;
use crate::base::check::Problem;

/// The domain of every `google.rpc.ErrorInfo`.
pub const DOMAIN: &str = "pairwright.dev";

/// A failure as the client will see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    code: Code,
    /// Stable, UPPER_SNAKE_CASE.
    reason: String,
    message: String,
    /// The request's field at fault, for instance `images[3].path`.
    field: Option<String>,
    metadata: Vec<(&'static str, String)>,
    retry_after: Option<Duration>,
}

impl Fault {
    /// A failure with nothing but its reason.
    pub fn new(code: Code, reason: impl Into<String>, message: impl Into<String>) -> Self {
        let (reason, message) = (reason.into(), message.into());
        Self { code, reason, message, field: None, metadata: Vec::new(), retry_after: None }
    }

    /// A field is missing.
    pub fn required(field: impl Into<String>) -> Self {
        let field = field.into();
        Self::new(Code::InvalidArgument, "FIELD_REQUIRED", format!("{field} must be set")).at(field)
    }

    /// A field has a value that it cannot have.
    pub fn invalid(field: impl Into<String>, why: impl std::fmt::Display) -> Self {
        let field = field.into();
        Self::new(Code::InvalidArgument, "FIELD_INVALID", format!("{field}: {why}")).at(field)
    }

    /// A field's number is out of range.
    pub fn range<T: std::fmt::Display>(field: &str, value: T, low: T, high: T) -> Self {
        Self::from(Problem::new(field, value, format!("{low} to {high}")))
    }

    /// An enum number this server does not know.
    pub fn unknown_enum(field: &str, number: i32) -> Self {
        let message = format!("{field}: {number} is not a value of this enum");
        Self::new(Code::InvalidArgument, "ENUM_UNKNOWN", message).at(field)
    }

    /// A request passed a limit of `ServerInfo.limits`.
    pub fn limit(
        reason: &str,
        field: &str,
        limit: &'static str,
        allowed: u64,
        actual: u64,
    ) -> Self {
        let message = format!("{field}: {actual}, the limit is {allowed} ({limit})");
        Self::new(Code::InvalidArgument, reason, message).at(field).limited(limit, allowed, actual)
    }

    /// Adds which limit of `ServerInfo.limits` was passed.
    #[must_use]
    pub fn limited(self, limit: &'static str, allowed: u64, actual: u64) -> Self {
        let (allowed, actual) = (allowed.to_string(), actual.to_string());
        self.with("limit", limit).with("allowed", allowed).with("actual", actual)
    }

    /// Adds words that tell what to do.
    #[must_use]
    pub fn hint(mut self, words: &str) -> Self {
        self.message.push_str(words);
        self
    }

    /// Names the field at fault.
    #[must_use]
    pub fn at(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// Adds metadata for programs.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.metadata.push((key, value.into()));
        self
    }

    /// Says that the same call may pass after a while.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// The gRPC code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The stable reason.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The status of one item in a list's reply.
    pub fn into_item(self) -> tonic_types::Status {
        let (code, message) = (self.code as i32, self.message.clone());
        let status = Status::from(self);
        // The details' bytes are an encoded status themselves.
        tonic_types::Status::decode(status.details()).unwrap_or(tonic_types::Status {
            code,
            message,
            details: Vec::new(),
        })
    }

    fn details(&self) -> ErrorDetails {
        let metadata: HashMap<String, String> =
            self.metadata.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        let mut details = ErrorDetails::new();
        details.set_error_info(self.reason.as_str(), DOMAIN, metadata);
        if let Some(field) = &self.field {
            details.add_bad_request_violation(field.as_str(), self.message.as_str());
        }
        if let Some(delay) = self.retry_after {
            details.set_retry_info(Some(delay));
        }
        details
    }
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        let message = problem.to_string();
        Self::new(Code::InvalidArgument, "FIELD_OUT_OF_RANGE", message).at(problem.field)
    }
}

impl From<Fault> for Status {
    fn from(fault: Fault) -> Self {
        let mut headers = MetadataMap::new();
        if let Some(delay) = fault.retry_after {
            headers.insert("retry-after", MetadataValue::from(whole_seconds(delay)));
        }
        let details = fault.details();
        Self::with_error_details_and_metadata(fault.code, fault.message, details, headers)
    }
}

/// Rounded up, and at least 1: a client that waits too short only comes again too early.
fn whole_seconds(delay: Duration) -> u64 {
    delay.as_millis().div_ceil(1000).clamp(1, u128::from(u64::MAX)) as u64
}

/// The gRPC code of a kind of failure.
pub fn code(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::InvalidInput => Code::InvalidArgument,
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::AlreadyExists => Code::AlreadyExists,
        ErrorKind::ResourceExhausted => Code::ResourceExhausted,
        ErrorKind::FailedPrecondition => Code::FailedPrecondition,
        ErrorKind::Unavailable => Code::Unavailable,
        ErrorKind::PermissionDenied => Code::PermissionDenied,
        ErrorKind::DeadlineExceeded => Code::DeadlineExceeded,
        ErrorKind::Cancelled => Code::Cancelled,
        ErrorKind::Internal => Code::Internal,
    }
}

/// A fault from an engine error's kind and its snake_case code.
pub(super) fn engine(kind: ErrorKind, reason: &str, error: &dyn std::fmt::Display) -> Fault {
    Fault::new(code(kind), reason.to_ascii_uppercase(), error.to_string())
}
