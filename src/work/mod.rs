//! What all long work shares: the loop that has LLM calls under way, what is known of the model
//! behind them, how work is stopped, what it tells of its progress, and how its stages wake each
//! other.

mod backend;
mod breaker;
mod calls;
mod estimate;
mod feed;
pub mod folder;
mod progress;
mod refusals;
mod schema_use;
mod sight;
mod stop;

use crate::base::failure::{Error, ErrorKind, Failure};

pub use backend::{Backend, BackendDown, BackendState, ProbePolicy};
pub use breaker::{Breaker, Whose};
pub use calls::{Asking, Calls, Fate, Outcome, Worked};
pub use estimate::{Estimate, Prices};
pub use feed::{Feed, Feeder, feed};
pub use folder::FolderError;
pub use progress::{Phase, Progress, Silent, Throttle};
pub use schema_use::SchemaUse;
pub use sight::lacks_sight;
pub use stop::Stop;

/// A thread of the work panicked.
#[derive(Debug, thiserror::Error)]
#[error("a stage's thread ended unexpectedly: {what}")]
pub struct Died {
    pub what: String,
}

impl Failure for Died {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Internal
    }

    fn code(&self) -> &'static str {
        "internal"
    }
}

impl From<tokio::task::JoinError> for Died {
    fn from(error: tokio::task::JoinError) -> Self {
        Self { what: error.to_string() }
    }
}

/// Runs `work` in a thread that may block.
///
/// # Errors
/// Its own; [`Died`] if it panicked.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(Died::from)?
}
