//! What a call or an item of a list is answered when it fails, and the one table from kinds of
//! errors to gRPC codes. `proto/pairwright/v1/common.proto` documents the reasons.

use std::any::Any;
use std::collections::HashMap;
use std::time::Duration;

use prost::Message;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::base::check::Problem;
use crate::base::failure::Failure;
use crate::encoder::queue::{ItemError, QueueError, Resource};
use crate::image::ImageError;
use crate::jobs::{JobFailure, ManagerError};
use crate::llm::LlmError;
use crate::work::{BackendDown, Whose};
use crate::{Error, ErrorKind};

/// The domain of every `google.rpc.ErrorInfo`.
pub const DOMAIN: &str = "pairwright.dev";

/// The metadata key that says in whole seconds when to come back.
pub const RETRY_AFTER: &str = "retry-after";

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
            headers.insert(RETRY_AFTER, MetadataValue::from(whole_seconds(delay)));
        }
        let details = fault.details();
        Self::with_error_details_and_metadata(fault.code, fault.message, details, headers)
    }
}

/// Rounded up, and at least 1: a client that waits too short only comes again too early.
fn whole_seconds(delay: Duration) -> u64 {
    delay.as_millis().div_ceil(1000).clamp(1, u128::from(u64::MAX)) as u64
}

impl<F: Failure> From<F> for Fault {
    fn from(error: F) -> Self {
        Self::of(&error)
    }
}

impl From<&Error> for Fault {
    fn from(error: &Error) -> Self {
        Self::of(error.failure())
    }
}

impl From<&JobFailure> for Fault {
    fn from(failure: &JobFailure) -> Self {
        let JobFailure { code, message, kind } = failure;
        Self::new(grpc_code(*kind), code.to_ascii_uppercase(), message)
    }
}

/// How soon a failed call to the language model is worth repeating.
const LLM_RETRY: Duration = Duration::from_secs(5);

/// How soon a place is likely where calls and messages wait for one: most are far shorter.
const PLACE_RETRY: Duration = Duration::from_secs(1);

/// How soon a place in the queue of jobs is likely.
const JOBS_RETRY: Duration = Duration::from_secs(30);

impl Fault {
    /// Any failure of the engine: its kind gives the code, its own code the reason. What the engine
    /// cannot know, such as the limit's public name, is added.
    pub fn of(error: &dyn Failure) -> Self {
        let any: &dyn Any = error;
        if let Some(ItemError::Image(image)) = any.downcast_ref() {
            return Self::of(image);
        }
        let plain =
            |kind| Self::new(grpc_code(kind), error.code().to_ascii_uppercase(), error.to_string());
        if let Some(image) = any.downcast_ref() {
            return plain(error.kind()).of_image(image);
        }
        if let Some(queue) = any.downcast_ref() {
            return plain(error.kind()).of_queue(queue);
        }
        if let Some(llm) = any.downcast_ref::<LlmError>() {
            let kind = match (Whose::fault(llm), llm.kind()) {
                // Not the caller's request is at fault but the server's own settings, or its key,
                // account or model at the language model's server.
                (Whose::Caller, ErrorKind::InvalidInput)
                | (
                    Whose::Server,
                    ErrorKind::PermissionDenied
                    | ErrorKind::NotFound
                    | ErrorKind::ResourceExhausted,
                ) => ErrorKind::FailedPrecondition,
                (_, kind) => kind,
            };
            let fault = plain(kind);
            return if llm.is_retryable() { fault.retry_after(LLM_RETRY) } else { fault };
        }
        if let Some(down) = any.downcast_ref::<BackendDown>() {
            let fault = Self::new(Code::Unavailable, "ANSWER_BACKEND_DOWN", down.to_string());
            return fault.retry_after(down.retry_after);
        }
        let full = any.is::<ManagerError>() && error.kind() == ErrorKind::ResourceExhausted;
        let fault = plain(error.kind());
        if full { fault.retry_after(JOBS_RETRY) } else { fault }
    }

    /// Adds which limit a photo passed.
    fn of_image(self, error: &ImageError) -> Self {
        let (limit, allowed, actual) = match error {
            ImageError::FileTooLarge { bytes, limit } => ("max_image_bytes", *limit, *bytes),
            ImageError::SideTooLong { width, height, limit } => {
                ("max_image_side", u64::from(*limit), u64::from(*width.max(height)))
            }
            ImageError::TooManyPixels { pixels, limit, .. } => {
                ("max_image_pixels", *limit, *pixels)
            }
            ImageError::DecodedTooLarge { bytes, limit, .. } => {
                ("max_decoded_bytes", *limit, *bytes)
            }
            _ => return self,
        };
        self.limited(limit, allowed, actual)
    }

    /// Adds what of the queue is full, and when to come back.
    fn of_queue(self, error: &QueueError) -> Self {
        let name = |what: &Resource| match what {
            Resource::Items => "max_queue_items",
            Resource::Bytes => "max_queue_bytes",
        };
        match error {
            QueueError::Overloaded { what, wanted, limit, retry_after, .. } => {
                self.limited(name(what), *limit, *wanted).retry_after(*retry_after)
            }
            QueueError::TooLarge { what, wanted, limit } => {
                self.limited(name(what), *limit, *wanted)
            }
            QueueError::DeadlineExceeded => self,
            QueueError::Closed => Self::shutting_down(),
        }
    }
}

impl Fault {
    /// The server is going down.
    pub fn shutting_down() -> Self {
        let message = "the server is shutting down; try another one, or again in a moment";
        Self::new(Code::Unavailable, "SHUTTING_DOWN", message).retry_after(Duration::from_secs(1))
    }

    /// As much of something is under way as may be; in a second there may be room again.
    pub fn full(
        reason: &str,
        message: String,
        limit: &'static str,
        allowed: impl std::fmt::Display,
    ) -> Self {
        Self::new(Code::ResourceExhausted, reason, message)
            .with("limit", limit)
            .with("allowed", allowed.to_string())
            .retry_after(PLACE_RETRY)
    }

    /// What was to be did not come in time.
    pub fn late(what: &str, allowed: Duration) -> Self {
        let milliseconds = allowed.as_millis().to_string();
        let message = format!("{what} within the {milliseconds} ms allowed");
        Self::new(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", message)
            .with("allowed_ms", milliseconds)
    }

    /// A client's stream said nothing for too long.
    pub fn idle(idle: Duration) -> Self {
        Self::stream_idle("nothing came", idle)
    }

    /// A client left an answer unread for too long.
    pub fn unread(idle: Duration) -> Self {
        Self::stream_idle("an answer was not read", idle)
    }

    fn stream_idle(what: &str, idle: Duration) -> Self {
        let seconds = idle.as_secs().to_string();
        let message = format!("{what} for {seconds} s: the call is ended");
        let fault = Self::new(Code::DeadlineExceeded, "STREAM_IDLE", message);
        fault.with("limit", "stream_idle_seconds").with("allowed", seconds)
    }

    /// Paths are not read, since no root is set.
    pub fn no_image_root() -> Self {
        let message = "this server reads no paths: it has no image root (--image-root)";
        Self::new(Code::FailedPrecondition, "NO_IMAGE_ROOT", message)
    }

    /// There is nothing to match with.
    pub fn library_empty() -> Self {
        let message = "the instruction library is empty: add instructions first";
        Self::new(Code::FailedPrecondition, "LIBRARY_EMPTY", message)
    }

    /// Our fault.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Code::Internal, "INTERNAL", message)
    }

    /// Whether a stream's other items would meet the same.
    pub fn ends_stream(&self) -> bool {
        matches!(self.reason(), "SHUTTING_DOWN" | "DEADLINE_EXCEEDED")
    }
}

/// The gRPC code of a kind of failure.
fn grpc_code(kind: ErrorKind) -> Code {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::LlmFault;

    #[test]
    fn the_reason_travels_with_its_domain_and_values() {
        let status: Status =
            Fault::new(Code::NotFound, "JOB_NOT_FOUND", "no job 7").with("job", "7").into();
        assert_eq!((status.code(), status.message()), (Code::NotFound, "no job 7"));
        let info = status.get_details_error_info().expect("error info");
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("JOB_NOT_FOUND", DOMAIN));
        assert_eq!(info.metadata["job"], "7");
        assert!(status.metadata().get(RETRY_AFTER).is_none());
    }

    #[test]
    fn retry_after_is_rounded_up() {
        let after = Duration::from_millis(1200);
        let fault = Fault::new(Code::ResourceExhausted, "OVERLOADED", "full").retry_after(after);
        let status: Status = fault.into();
        assert_eq!(status.metadata().get(RETRY_AFTER).expect("retry-after"), "2");
        let info = status.get_details_retry_info().expect("retry info");
        assert_eq!(info.retry_delay, Some(after));
        assert_eq!(whole_seconds(Duration::from_secs(3)), 3);
    }

    #[test]
    fn what_the_engine_cannot_know_is_added() {
        let image = ImageError::FileTooLarge { bytes: 9, limit: 8 };
        let fault = Fault::from(ItemError::Image(image));
        let (code, reason) = (Code::InvalidArgument, "IMAGE_FILE_TOO_LARGE");
        assert_eq!((fault.code(), fault.reason()), (code, reason));
        assert!(fault.metadata.contains(&("limit", "max_image_bytes".to_owned())));
        assert_eq!(Fault::from(QueueError::Closed).reason(), "SHUTTING_DOWN");
        let full = Fault::from(ManagerError::QueueFull { limit: 1 });
        assert_eq!((full.reason(), full.retry_after), ("JOB_QUEUE_FULL", Some(JOBS_RETRY)));
        let stopped = crate::Error::from(crate::base::Stopped);
        assert_eq!(Fault::from(&stopped).code(), Code::Cancelled);
    }

    /// Waiting helps where the language model's server is busy, the caller can mend a prompt, and
    /// only the operator an account, a key or a setting.
    #[test]
    fn failures_of_the_language_model_say_who_can_mend_them() {
        let text = String::new;
        let busy = LlmFault::RateLimited { status: 429, retry_after: None, excerpt: text() };
        let loading = LlmFault::Server { status: 409, retry_after: None, excerpt: text() };
        let spent = LlmFault::QuotaExhausted { status: 402, excerpt: text() };
        let key = LlmFault::Auth { status: 401, key_env: None, excerpt: text() };
        let model = LlmFault::NotFound { status: 404, url: text(), model: text(), excerpt: text() };
        let unknown = LlmFault::BadRequest { status: 418, excerpt: text() };
        let setting = LlmFault::Unsupported { parameter: text(), excerpt: text() };
        let policy = LlmFault::ContentPolicy { status: 400, excerpt: text() };
        let long = LlmFault::ContextTooLong { excerpt: text() };
        for (fault, code, reason) in [
            (busy, Code::Unavailable, "LLM_RATE_LIMITED"),
            (loading, Code::Unavailable, "LLM_SERVER_ERROR"),
            (spent, Code::FailedPrecondition, "LLM_QUOTA_EXHAUSTED"),
            (key, Code::FailedPrecondition, "LLM_UNAUTHORIZED"),
            (model, Code::FailedPrecondition, "LLM_NOT_FOUND"),
            (unknown, Code::FailedPrecondition, "LLM_BAD_REQUEST"),
            (setting, Code::FailedPrecondition, "LLM_UNSUPPORTED_PARAMETER"),
            (policy, Code::InvalidArgument, "LLM_CONTENT_POLICY"),
            (long, Code::ResourceExhausted, "LLM_CONTEXT_TOO_LONG"),
            (LlmFault::Cancelled, Code::Cancelled, "LLM_CANCELLED"),
        ] {
            let retried = fault.is_retryable();
            let fault = Fault::from(LlmError::from(fault));
            assert_eq!((fault.code(), fault.reason()), (code, reason));
            assert_eq!(fault.retry_after.is_some(), retried, "{reason}");
        }
    }
}
