//! The threads of a tower: some prepare items, some run batches.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use super::call::{Embedded, Item};
use super::error::ItemError;
use super::lane::{Lane, Pace, PerLane, Takes};
use super::observe::{BatchReport, DropReason, Timings};
use super::tower::Tower;
use super::tower_queue::TowerQueue;
use super::waiting::{JobBatch, RawItem, ReadyItem, Work, padded_share};
use crate::encoder::{Embedding, EncoderError, whole_or_one_by_one};

/// Decodes or tokenises what is of that pace until the queue is closed.
pub(super) fn prepare<T: Tower>(queue: &TowerQueue<T>, pace: Pace) {
    while let Some(mut item) = queue.next_raw(pace) {
        let started = Instant::now();
        item.stop_waiting(started);
        let (raw, mut item) = item.open();
        let prepared = catch_unwind(AssertUnwindSafe(|| queue.tower.prepare(&raw)));
        item.timings.decode = started.elapsed();
        item.place.release_bytes(queue.tower.raw_bytes(&raw));
        drop(raw);
        queue.prepared(pace, item, prepared.unwrap_or(Err(ItemError::Panicked)));
    }
}

/// Runs batches until the queue is closed.
pub(super) fn run<T: Tower>(queue: &TowerQueue<T>, takes: Takes) {
    while let Some(work) = queue.next_work(takes) {
        match work {
            Work::Batch(lane, items) => queue.run_batch(lane, items),
            Work::Job(batch) => queue.run_job_batch(batch),
        }
    }
}

/// Runs an inference call; a panic in it costs the batch, not the thread.
fn guarded<R>(
    tower: &'static str,
    run: impl FnOnce() -> Result<R, EncoderError>,
) -> Result<R, EncoderError> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or(Err(EncoderError::Panicked { tower }))
}

impl<T: Tower> TowerQueue<T> {
    /// The next item to prepare; `None` when the queue is closed.
    fn next_raw(&self, pace: Pace) -> Option<RawItem<T>> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            let late = state.drop_late(Instant::now());
            if late != PerLane::default() {
                drop(state);
                self.dropped_late(late);
                state = self.lock();
                continue;
            }
            if let Some(item) = state.take_raw(pace, &self.limits) {
                return Some(item);
            }
            state = self.sleep_prepare(pace, state);
        }
    }

    /// The next work for a session; `None` when the queue is closed.
    fn next_work(&self, takes: Takes) -> Option<Work<T>> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            let late = state.drop_late(Instant::now());
            if late != PerLane::default() {
                drop(state);
                self.dropped_late(late);
                state = self.lock();
                continue;
            }
            let work = match takes {
                Takes::All => state.take_work(&self.limits),
                Takes::Short => state.take_short(&self.limits),
                Takes::Long => state.take_long(&self.limits),
            };
            if let Some(work) = work {
                drop(state);
                // There is room for prepared items again.
                self.wake();
                return Some(work);
            }
            let counts = usize::from(takes == Takes::All);
            state.idle += counts;
            state = self.sleep_work(takes, state);
            state.idle -= counts;
        }
    }

    fn dropped_late(&self, late: PerLane<usize>) {
        for lane in Lane::ALL {
            self.dropped(lane, DropReason::Deadline, late[lane]);
        }
        self.wake();
    }

    /// Sends a prepared item on, or answers one that failed.
    fn prepared(
        &self,
        pace: Pace,
        item: Item<(), T::Facts>,
        result: Result<(T::Ready, T::Facts), ItemError>,
    ) {
        let lane = item.ticket.lane;
        let mut state = self.lock();
        state.preparing[pace as usize][lane] -= 1;
        let gone = item.ticket.is_over() || state.closed;
        let failed = match result {
            Ok(body) if !gone => {
                let cost = self.tower.cost(&body.0);
                state.push_ready(cost, item.with(body));
                None
            }
            Ok(_) => Some((item, None)),
            Err(error) => Some((item, Some(error))),
        };
        drop(state);
        match failed {
            None => {}
            Some((item, Some(error))) => self.answer(item, Err(error)),
            Some((item, None)) => {
                let reason = item.ticket.drop_reason();
                drop(item);
                self.dropped(lane, reason, 1);
            }
        }
        self.wake();
    }

    fn run_batch(&self, lane: Lane, items: Vec<ReadyItem<T>>) {
        let started = Instant::now();
        let costs: Vec<usize> = items.iter().map(|item| self.tower.cost(&item.body.0)).collect();
        let (open, ready) = split_batch::<T>(items, started);
        let run = |rows: &[T::Ready]| guarded(T::KIND.name(), || self.tower.run(rows));
        let results = whole_or_one_by_one(&ready, run);
        let inference = started.elapsed();
        self.ran(lane, open.len(), started);
        for ((mut item, facts), result) in open.into_iter().zip(results) {
            item.timings.inference = inference;
            self.answer(item, embedded(result, facts));
        }
        self.report(lane, costs.len(), padded_share(&costs), inference);
    }

    fn run_job_batch(&self, batch: JobBatch<T>) {
        let JobBatch { rows, answer, .. } = batch;
        let started = Instant::now();
        let result = guarded(T::KIND.name(), || self.tower.run(&rows));
        let inference = started.elapsed();
        self.ran(Lane::Bulk, rows.len(), started);
        // Nobody listens any more when the job's thread has died.
        let _ = answer.send(result);
        self.report(Lane::Bulk, rows.len(), 0.0, inference);
    }

    /// Notes that a batch has left its session.
    fn ran(&self, lane: Lane, items: usize, started: Instant) {
        let mut state = self.lock();
        state.running[lane] -= items;
        state.bulk_batches -= usize::from(lane == Lane::Bulk);
        state.throughput.finished(items, started, Instant::now());
        drop(state);
        self.wake();
    }

    fn answer(&self, item: Item<(), T::Facts>, result: Result<Embedded<T::Facts>, ItemError>) {
        let (lane, timings): (Lane, Timings) = (item.ticket.lane, item.timings);
        item.answer(result);
        self.observer.item(T::KIND, lane, &timings);
    }

    fn report(&self, lane: Lane, items: usize, padded: f64, inference: Duration) {
        let tower = T::KIND;
        self.observer.batch(&BatchReport { tower, lane, items, padded, inference });
    }
}

type OpenItem<T> = (Item<(), <T as Tower>::Facts>, <T as Tower>::Facts);

/// The items without their bodies, and the bodies in one row for the graph.
fn split_batch<T: Tower>(
    items: Vec<ReadyItem<T>>,
    started: Instant,
) -> (Vec<OpenItem<T>>, Vec<T::Ready>) {
    let open = |mut item: ReadyItem<T>| {
        item.stop_waiting(started);
        let ((ready, facts), item) = item.open();
        ((item, facts), ready)
    };
    items.into_iter().map(open).unzip()
}

fn embedded<F>(
    result: Result<Embedding, EncoderError>,
    facts: F,
) -> Result<Embedded<F>, ItemError> {
    Ok(Embedded { vector: result?, facts })
}
