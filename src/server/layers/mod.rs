//! Tower layers and other pieces around the services, one file each.

mod admit;
mod budget;
mod connection;
mod connections;
mod deadline;
mod explain;
mod held;
mod limits;
mod panics;
mod places;
mod shutdown;
mod silence;
mod tally;

#[cfg(test)]
pub(super) mod testing;

pub use admit::{Admit, AdmitLayer};
pub use budget::{BudgetLayer, CallBytes, FREE_BYTES, MessageBudget};
pub use connection::Connection;
pub use connections::{ConnectionLimit, Incoming, bind};
pub use deadline::{Deadline, DeadlineLayer};
pub use explain::{Explain, ExplainLayer};
pub use limits::CallLimit;
pub use panics::PanicLayer;
pub(super) use places::network;
pub use places::{ConnectionBounds, Places, QUESTIONS};
pub use shutdown::{DrainLayer, Shutdown};
pub use silence::SilenceLayer;

use std::future::Ready;

use futures::future::Either;
use http_body::Frame;
use tonic::Status;
use tonic::body::Body;

/// A layer's future: its own answer at once, or the inner service's.
pub(crate) type Answer<F, E> = Either<Ready<Result<http::Response<Body>, E>>, F>;

/// A trailers-only answer.
pub(crate) fn refuse<F, E>(status: Status) -> Answer<F, E> {
    Either::Left(std::future::ready(Ok(status.into_http())))
}

/// The last frame of an answer that has begun.
fn trailers(status: Status) -> Result<Frame<bytes::Bytes>, Status> {
    let mut trailers = http::HeaderMap::new();
    status.add_header(&mut trailers)?;
    Ok(Frame::trailers(trailers))
}
