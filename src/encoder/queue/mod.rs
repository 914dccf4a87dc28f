//! The batching queue between callers and an encoder.
//!
//! ```text
//! embed_images ─► places ─► lanes ─► decode threads ─► lanes ─► session workers ─► answers
//! embed_texts  ─► places ─► lanes ─► tokenizer ──────► lanes ─► text worker ─────► answers
//! bulk_encoder ──────────────────────── batches ──────► bulk lane
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
//!   ([`BulkThrottle`]).
//! - Within a lane callers are served in turn, weighed by what their items cost ([`Origin`]): who
//!   sends much waits for itself, and a small call for a few batches at most, whatever others send.
//! - Where there are more threads than cores, photos go before large photos, which have threads of
//!   their own, and, on a processor, callers' short texts before both, and long texts and those of
//!   jobs behind: texts have two sessions then. Linux only.
//! - Texts of like length share a batch. When a batch fails its items are tried one by one.

mod admission;
mod bulk_throttle;
mod call;
mod config;
mod error;
mod fair;
mod lane;
mod observe;
mod service;
mod throughput;
mod tower;
mod tower_queue;
mod waiting;
mod worker;

#[cfg(test)]
mod tests;

pub use bulk_throttle::{BulkPass, BulkThrottle};
pub use call::{
    Admission, CallContext, Embeddings, ImageEmbedded, ImagesEmbedded, TextEmbedded, TextsEmbedded,
};
pub use config::QueueConfig;
pub use error::{ItemError, ProbeError, QueueError, Resource, StartError};
pub use fair::Origin;
pub use lane::{Lane, TowerKind};
pub use observe::{BatchReport, DropReason, LaneSnapshot, QueueObserver, Timings, Unobserved};
pub use service::{EncoderService, WarmUp};
pub use tower::QUICK_PIXELS;
