//! What every call leaves behind: metrics, a span, a line in the log.

mod call;
mod catalog;
mod export;
mod labels;
mod layer;
mod level;
mod metrics;
mod register;
mod sampler;
mod trace;

#[cfg(test)]
mod tests;

pub use call::{CallInfo, peer};
pub use export::{Exporter, Page};
pub use labels::Quota;
pub use layer::ObserveLayer;
pub use metrics::{BuildInfo, Metrics, OpenConnection};
pub use sampler::sample_memory;
pub use trace::Traces;
