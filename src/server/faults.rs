//! Each engine error as a fault: its kind gives the code, its own code the reason. What the engine
//! cannot know, such as the limit's public name, is added here.

use crate::base::failure::Failure;
use std::time::Duration;

use tonic::Code;

use super::fault::{Fault, engine};
use crate::ErrorKind;
use crate::encoder::queue::{ItemError, QueueError};
use crate::image::ImageError;
use crate::index::IndexError;
use crate::instruction::store::{CreateError, LibraryStoreError};
use crate::jobs::ManagerError;
use crate::llm::LlmError;
use crate::matching::MatchError;
use crate::sandbox::ConfineError;
use crate::work::BackendDown;

/// How soon a failed call to the language model is worth repeating.
const LLM_RETRY: Duration = Duration::from_secs(5);

macro_rules! plain_faults {
    ($($error:ty),+ $(,)?) => {$(
        impl From<&$error> for Fault {
            fn from(error: &$error) -> Self {
                engine(error.kind(), error.code(), error)
            }
        }
    )+};
}

plain_faults!(IndexError, MatchError, CreateError, LibraryStoreError, ConfineError);

impl From<&ItemError> for Fault {
    fn from(error: &ItemError) -> Self {
        match error {
            ItemError::Image(image) => Self::from(image),
            other => engine(other.kind(), other.code(), other),
        }
    }
}

impl From<&ImageError> for Fault {
    fn from(error: &ImageError) -> Self {
        let fault = engine(error.kind(), error.code(), error);
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
            _ => return fault,
        };
        fault.limited(limit, allowed, actual)
    }
}

impl From<QueueError> for Fault {
    fn from(error: QueueError) -> Self {
        let limit = |what| match what {
            crate::encoder::queue::Resource::Items => "max_queue_items",
            crate::encoder::queue::Resource::Bytes => "max_queue_bytes",
        };
        let message = error.to_string();
        match error {
            QueueError::Overloaded { what, wanted, limit: allowed, retry_after, .. } => {
                Self::new(Code::ResourceExhausted, "OVERLOADED", message)
                    .limited(limit(what), allowed, wanted)
                    .retry_after(retry_after)
            }
            QueueError::TooLarge { what, wanted, limit: allowed } => Self::new(
                Code::InvalidArgument,
                "REQUEST_TOO_LARGE",
                message,
            )
            .limited(limit(what), allowed, wanted),
            QueueError::DeadlineExceeded => {
                Self::new(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", message)
            }
            QueueError::Closed => Self::shutting_down(),
        }
    }
}

impl From<&LlmError> for Fault {
    fn from(error: &LlmError) -> Self {
        let kind = match error.kind() {
            // The caller's key is not at fault, the server's own is.
            ErrorKind::PermissionDenied | ErrorKind::NotFound => ErrorKind::FailedPrecondition,
            kind => kind,
        };
        let fault = engine(kind, error.code(), error);
        if error.is_retryable() { fault.retry_after(LLM_RETRY) } else { fault }
    }
}

impl From<&BackendDown> for Fault {
    fn from(error: &BackendDown) -> Self {
        Self::new(Code::Unavailable, "ANSWER_BACKEND_DOWN", error.to_string())
            .retry_after(error.retry_after)
    }
}

impl From<&ManagerError> for Fault {
    fn from(error: &ManagerError) -> Self {
        let fault = engine(error.kind(), error.code(), error);
        match error.kind() {
            ErrorKind::ResourceExhausted => fault.retry_after(Duration::from_secs(30)),
            _ => fault,
        }
    }
}

impl Fault {
    /// The server is going down.
    pub fn shutting_down() -> Self {
        let message = "the server is shutting down; try another one, or again in a moment";
        Self::new(Code::Unavailable, "SHUTTING_DOWN", message).retry_after(Duration::from_secs(1))
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
