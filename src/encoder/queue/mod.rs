//! The batching queue between callers and an encoder.
//!
//! ```text
//! embed_images ─► places ─► lanes ─► decode threads ─► lanes ─► session workers ─► answers
//! embed_texts  ─► places ─► lanes ─► tokenizer ──────► lanes ─► text worker ─────► answers
//! bulk_encoder ──────────────────────── turns ────────► bulk lane
//! ```
//!
//! - A batch forms when a session is free to take it and not before: there are no timers, an idle
//!   service adds no delay, a busy one fills its batches. Photos are decoded ahead, within bounds.
//! - Every item holds places (items and bytes) of its lane until it is answered or dropped. A call
//!   gets all its places or none; when there are none it is refused with a hint when to come back
//!   ([`Admission::Reject`]) or waits in line ([`Admission::Wait`]). A stream that shares the
//!   interactive lane with unary calls should bound what it has in flight: who waits in line is
//!   not overtaken.
//! - A caller that goes away, or whose deadline passes, takes its items out of the queue.
//! - Two lanes share the decode threads and the sessions by weight ([`Lane`]). Jobs run their own
//!   batches through [`EncoderService::bulk_encoder`] and let callers go first when they decode
//!   ([`BulkGate`]).
//! - Texts of like length share a batch. When a batch fails its items are tried one by one.

mod batch;
mod bulk;
mod call;
mod config;
mod error;
mod gate;
mod lane;
mod line;
mod observe;
mod pace;
mod places;
mod service;
mod state;
mod tower;
mod turn;
mod warm;
mod worker;

#[cfg(test)]
mod tests;

pub use call::{Admission, CallContext, Timings};
pub use config::QueueConfig;
pub use error::{ItemError, ProbeError, QueueError, Resource, StartError};
pub use gate::{BulkGate, BulkPass};
pub use lane::{Lane, TowerKind};
pub use observe::{BatchReport, DropReason, LaneSnapshot, QueueObserver, Unobserved};
pub use service::{
    Embeddings, EncoderService, ImageEmbedded, ImagesEmbedded, TextEmbedded, TextsEmbedded,
};
pub use warm::WarmUp;
