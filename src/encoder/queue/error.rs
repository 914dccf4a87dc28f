//! Why a call or one of its items was not embedded.

use std::fmt;
use std::time::Duration;

use crate::ErrorKind;
use crate::base::check::Problems;
use crate::base::failure::Failure;
use crate::encoder::EncoderError;
use crate::image::ImageError;

/// What places are counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    Items,
    Bytes,
}

impl fmt::Display for Resource {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Items => "items",
            Self::Bytes => "bytes",
        })
    }
}

/// Why a whole call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// Other calls hold the places; none of this call's items was queued.
    #[error(
        "the encoder is overloaded: {wanted} {what} wanted, {free} of {limit} free; \
         retry in {} ms", retry_after.as_millis()
    )]
    Overloaded {
        what: Resource,
        wanted: u64,
        free: u64,
        limit: u64,
        /// When the queue should be empty at its recent pace: 100 ms to 30 s.
        retry_after: Duration,
    },
    /// The call would not fit into an empty queue either.
    #[error("the call wants {wanted} {what}, the queue holds {limit}; send it in parts")]
    TooLarge { what: Resource, wanted: u64, limit: u64 },
    /// The deadline passed before every item was embedded; what was left is dropped.
    #[error("the deadline passed before the call was embedded")]
    DeadlineExceeded,
    /// The service is closing or closed.
    #[error("the encoder is shutting down")]
    Closed,
}

impl Failure for QueueError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Overloaded { .. } => ErrorKind::ResourceExhausted,
            Self::TooLarge { .. } => ErrorKind::InvalidInput,
            Self::DeadlineExceeded => ErrorKind::DeadlineExceeded,
            Self::Closed => ErrorKind::Unavailable,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Overloaded { .. } => "overloaded",
            Self::TooLarge { .. } => "request_too_large",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::Closed => "closed",
        }
    }
}

/// Why one item failed while the others of its call went on.
#[derive(Debug, thiserror::Error)]
pub enum ItemError {
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error(transparent)]
    Encoder(#[from] EncoderError),
    /// The decoder or the tokenizer panicked on it.
    #[error("preparing this item panicked; please report it")]
    Panicked,
}

impl Failure for ItemError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Image(error) => error.kind(),
            Self::Encoder(error) => error.kind(),
            Self::Panicked => ErrorKind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Image(error) => error.code(),
            Self::Encoder(EncoderError::Tokenize { .. }) => "text_not_tokenised",
            Self::Encoder(_) => "encoder_failed",
            Self::Panicked => "decoder_panicked",
        }
    }
}

/// Why a service could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("queue settings refused: {0}")]
    Config(#[from] Problems),
    #[error("cannot start a thread of the encoder queue: {0}")]
    Thread(#[source] std::io::Error),
}

impl Failure for StartError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Config(_) => ErrorKind::InvalidInput,
            Self::Thread(_) => ErrorKind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Config(_) => "config_invalid",
            Self::Thread(_) => "internal",
        }
    }
}

/// Why a probe failed.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error(transparent)]
    Item(#[from] ItemError),
}

impl Failure for ProbeError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Queue(error) => error.kind(),
            Self::Item(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Queue(error) => error.code(),
            Self::Item(error) => error.code(),
        }
    }
}
