//! Tower layers and other pieces around the services, one file each.

mod connections;
mod deadline;
mod explain;
mod held;
mod limits;
mod panics;
mod shutdown;

#[cfg(test)]
pub(super) mod testing;

pub use connections::{Connection, Incoming, bind};
pub use deadline::{Deadline, DeadlineLayer};
pub use explain::{Explain, ExplainLayer};
pub(crate) use held::hold;
pub use limits::CallLimitLayer;
pub use panics::PanicLayer;
pub use shutdown::{DrainLayer, Shutdown};

use std::future::Ready;

use futures::future::Either;
use tonic::body::Body;

/// A layer's future: its own answer at once, or the inner service's.
pub(crate) type Answer<F, E> = Either<Ready<Result<http::Response<Body>, E>>, F>;

/// A trailers-only answer.
pub(crate) fn refuse<F, E>(status: tonic::Status) -> Answer<F, E> {
    Either::Left(std::future::ready(Ok(status.into_http())))
}
