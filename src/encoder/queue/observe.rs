//! What the queue tells of itself: for metrics, without knowing them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use strum::IntoStaticStr;

use super::lane::{Lane, TowerKind};

/// Why queued items were dropped before inference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum DropReason {
    /// The caller went away.
    Cancelled,
    /// The deadline passed.
    Deadline,
    /// The service closed.
    Closed,
    /// The places were wanted by callers who hold less.
    Shed,
}

impl DropReason {
    /// Every reason.
    pub const ALL: [Self; 4] = [Self::Cancelled, Self::Deadline, Self::Closed, Self::Shed];

    /// A name for labels: `cancelled`, `deadline`, `closed` or `shed`.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Where the time of an item went. Of a call: the longest of each among its items, so that the
/// three need not belong to one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timings {
    /// Decoding and resizing, or tokenising.
    pub decode: Duration,
    /// Waiting for a decode thread and for a session, together. Waiting for places is not in it.
    pub queue: Duration,
    /// The inference call of the item's batch, second tries one by one included.
    pub inference: Duration,
}

impl Timings {
    /// The longer of each.
    #[must_use]
    pub fn longest(self, other: Self) -> Self {
        Self {
            decode: self.decode.max(other.decode),
            queue: self.queue.max(other.queue),
            inference: self.inference.max(other.inference),
        }
    }
}

/// One inference call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchReport {
    pub tower: TowerKind,
    pub lane: Lane,
    pub items: usize,
    /// Share of the graph's input that was padding, 0 to 1; always 0 for photos and for jobs.
    pub padded: f64,
    pub inference: Duration,
}

/// Receives what happens in the queue, on the queue's own threads: must be quick and not block.
/// Every method does nothing unless it is implemented. A panic in one is logged, and the queue goes
/// on.
pub trait QueueObserver: Send + Sync {
    /// A batch was run, successful or not.
    fn batch(&self, _report: &BatchReport) {}
    /// An item was answered, successful or not.
    fn item(&self, _tower: TowerKind, _lane: Lane, _timings: &Timings) {}
    /// Queued items were dropped before inference.
    fn dropped(&self, _tower: TowerKind, _lane: Lane, _reason: DropReason, _items: usize) {}
    /// A call of so many items was refused because the places are taken.
    fn overloaded(&self, _tower: TowerKind, _lane: Lane, _items: usize) {}
}

/// Observes nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unobserved;

impl QueueObserver for Unobserved {}

/// Keeps the panics of an observer from the queue's threads, which would end for good.
pub(super) struct Shielded(pub Arc<dyn QueueObserver>);

impl Shielded {
    fn tell(&self, what: &str, tell: impl FnOnce(&dyn QueueObserver)) {
        // Whatever state the observer left broken is its own.
        if catch_unwind(AssertUnwindSafe(|| tell(&*self.0))).is_err() {
            tracing::error!(what, "an observer of the queue panicked");
        }
    }
}

impl QueueObserver for Shielded {
    fn batch(&self, report: &BatchReport) {
        self.tell("batch", |observer| observer.batch(report));
    }

    fn item(&self, tower: TowerKind, lane: Lane, timings: &Timings) {
        self.tell("item", |observer| observer.item(tower, lane, timings));
    }

    fn dropped(&self, tower: TowerKind, lane: Lane, reason: DropReason, items: usize) {
        self.tell("dropped", |observer| observer.dropped(tower, lane, reason, items));
    }

    fn overloaded(&self, tower: TowerKind, lane: Lane, items: usize) {
        self.tell("overloaded", |observer| observer.overloaded(tower, lane, items));
    }
}

/// One lane of one tower at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneSnapshot {
    pub tower: TowerKind,
    pub lane: Lane,
    /// Items that wait for a decode thread (or to be tokenised).
    pub waiting: usize,
    /// Items that are being decoded.
    pub preparing: usize,
    /// Items that wait for a session; for the bulk lane also batches of jobs.
    pub ready: usize,
    /// Items in inference.
    pub running: usize,
    /// Places held, items and bytes.
    pub held_items: usize,
    pub held_bytes: usize,
}
