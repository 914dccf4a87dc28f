//! What waits in a tower's queue, and the rules by which it is taken and put into batches. Plain
//! data: the lock and the threads are around it.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::time::Instant;

use crossbeam_channel::Sender;

use super::call::{Item, Ticket};
use super::fair::{FairQueue, Origin};
use super::lane::{Claim, Lane, Pace, PerLane, Share};
use super::throughput::Throughput;
use super::tower::Tower;
use crate::encoder::{Embedding, EncoderError};

/// What a short item usually costs: the tokens of a few words.
const USUAL: usize = 8;

/// Items of up to this cost are alike, however many times one costs the other: a token more or less
/// is nothing beside the call itself.
const ALIKE: usize = 16;

pub(super) type RawItem<T> = Item<<T as Tower>::Raw, <T as Tower>::Facts>;
pub(super) type ReadyItem<T> =
    Item<(<T as Tower>::Ready, <T as Tower>::Facts), <T as Tower>::Facts>;

/// Bounds that hold for a tower's life.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub batch: PerLane<BatchLimits>,
    /// Prepared items of a lane that may wait.
    pub ahead: usize,
    /// Batches that run at once.
    pub sessions: usize,
    /// Cost in a batch of the dearest item that is short.
    pub short: usize,
}

/// What a session worker does next.
pub(super) enum Work<T: Tower> {
    Batch(Lane, Vec<ReadyItem<T>>),
    Job(JobBatch<T>),
}

/// A job's batch, which is run whole, with nothing of others. Dropped, it tells its job that it will
/// not be.
pub(super) struct JobBatch<T: Tower> {
    pub rows: Vec<T::Ready>,
    pub since: Instant,
    pub answer: Sender<Result<Vec<Embedding>, EncoderError>>,
}

pub(super) struct State<T: Tower> {
    /// Those that are slow to prepare apart from the others.
    raw: [PerLane<FairQueue<RawItem<T>>>; Pace::ALL.len()],
    pub ready: PerLane<FairQueue<ReadyItem<T>>>,
    pub job_batches: VecDeque<JobBatch<T>>,
    pub preparing: [PerLane<usize>; Pace::ALL.len()],
    pub running: PerLane<usize>,
    /// Batches of the bulk lane that run now.
    pub bulk_batches: usize,
    /// Session workers that wait for work, besides the one that asks.
    pub idle: usize,
    pub throughput: Throughput,
    /// Nothing new comes in; what is there is finished.
    pub draining: bool,
    /// The threads end.
    pub closed: bool,
    prepare_share: [Share; Pace::ALL.len()],
    run_share: Share,
}

impl<T: Tower> State<T> {
    pub(super) fn new(weights: PerLane<usize>) -> Self {
        Self {
            raw: Pace::ALL.map(|_| PerLane::default()),
            ready: PerLane::default(),
            job_batches: VecDeque::new(),
            preparing: Default::default(),
            running: PerLane::default(),
            bulk_batches: 0,
            idle: 0,
            throughput: Throughput::default(),
            draining: false,
            closed: false,
            prepare_share: Pace::ALL.map(|_| Share::new(weights)),
            run_share: Share::new(weights),
        }
    }

    /// Items of a lane that nobody has begun to prepare.
    pub(super) fn raw_items(&self, lane: Lane) -> usize {
        self.raw.iter().map(|raw| raw[lane].len()).sum()
    }

    /// Items of a lane that are being prepared.
    pub(super) fn preparing_items(&self, lane: Lane) -> usize {
        self.preparing.iter().map(|preparing| preparing[lane]).sum()
    }

    /// Whether something slow waits to be prepared.
    pub(super) fn slow_waits(&self) -> bool {
        let slow = &self.raw[Pace::Slow as usize];
        Lane::ALL.into_iter().any(|lane| !slow[lane].is_empty())
    }

    /// Items of a lane that have not come to inference.
    pub(super) fn before_inference(&self, lane: Lane) -> usize {
        self.raw_items(lane) + self.preparing_items(lane) + self.ready[lane].len()
    }

    /// Whether nothing waits and nothing is in work.
    pub(super) fn is_empty(&self) -> bool {
        let nothing = |lane| self.before_inference(lane) + self.running[lane] == 0;
        self.job_batches.is_empty() && Lane::ALL.into_iter().all(nothing)
    }

    pub(super) fn push_raw(&mut self, cost: usize, item: RawItem<T>) {
        let pace = if cost > T::SLOW { Pace::Slow } else { Pace::Quick };
        push(&mut self.raw[pace as usize][item.ticket.lane], cost, item);
    }

    pub(super) fn push_ready(&mut self, cost: usize, item: ReadyItem<T>) {
        push(&mut self.ready[item.ticket.lane], cost, item);
    }

    /// The next item of that pace to prepare, of the lane whose turn it is and that has room to put
    /// it.
    pub(super) fn take_raw(&mut self, pace: Pace, limits: &Limits) -> Option<RawItem<T>> {
        let interactive = self.may_prepare(pace, Lane::Interactive, limits);
        // Decoding for a job is kept to one thread while callers wait: the others are for them.
        let one = self.preparing[pace as usize].bulk == 0
            || self.before_inference(Lane::Interactive) == 0;
        let bulk = one && self.may_prepare(pace, Lane::Bulk, limits);
        let claim = if interactive { Claim::Ready } else { Claim::None };
        let share = &mut self.prepare_share[pace as usize];
        let lane = share.choose(claim, bulk.then_some(1))?;
        share.took(lane, 1, if lane == Lane::Bulk { interactive } else { bulk });
        self.preparing[pace as usize][lane] += 1;
        self.raw[pace as usize][lane].pop().map(|(_, item)| item)
    }

    fn may_prepare(&self, pace: Pace, lane: Lane, limits: &Limits) -> bool {
        // What is slow takes no place from what is quick.
        let ahead = self.ready[lane].len() + self.preparing[pace as usize][lane];
        !self.raw[pace as usize][lane].is_empty() && ahead < limits.ahead
    }

    /// What a session beside one for short items leaves to that: where no more than a batch of callers'
    /// items waits, it takes those that are long.
    fn left_to_long(&self, limits: &Limits) -> RangeInclusive<usize> {
        let BatchLimits { items, cost } = limits.batch.interactive;
        let many = self.ready.interactive.len() > items.min(cost / USUAL);
        if many { 0..=usize::MAX } else { limits.short.saturating_add(1)..=usize::MAX }
    }

    /// Whether there is something for a session beside one for short items.
    pub(super) fn long_waits(&self, limits: &Limits) -> bool {
        let wanted = self.left_to_long(limits);
        self.next_bulk(limits).is_some()
            || self.ready.interactive.any(|cost| wanted.contains(&cost))
    }

    /// The next batch for a session beside one for short items.
    pub(super) fn take_long(&mut self, limits: &Limits) -> Option<Work<T>> {
        self.take(limits, self.left_to_long(limits))
    }

    /// The next batch for a session.
    pub(super) fn take_work(&mut self, limits: &Limits) -> Option<Work<T>> {
        self.take(limits, 0..=usize::MAX)
    }

    fn take(&mut self, limits: &Limits, wanted: RangeInclusive<usize>) -> Option<Work<T>> {
        // A session is kept free for what comes soon, and not while something slow is prepared.
        let quick = Pace::Quick as usize;
        let coming = self.raw[quick].interactive.len() + self.preparing[quick].interactive;
        let claim = match self.ready.interactive.any(|cost| wanted.contains(&cost)) {
            true => Claim::Ready,
            false if coming == 0 => Claim::None,
            false => Claim::Coming,
        };
        let bulk = self.next_bulk(limits).filter(|_| {
            // One session at least is kept for callers.
            claim == Claim::None || self.bulk_batches < limits.sessions.saturating_sub(1).max(1)
        });
        let lane = self.run_share.choose(claim, bulk)?;
        let work = match lane {
            Lane::Interactive => Work::Batch(lane, self.take_batch(lane, limits, wanted)),
            Lane::Bulk => self.take_bulk(limits)?,
        };
        let other = if lane == Lane::Bulk { claim != Claim::None } else { bulk.is_some() };
        self.run_share.took(lane, work.items(), other);
        self.running[lane] += work.items();
        self.bulk_batches += usize::from(lane == Lane::Bulk);
        Some(work)
    }

    /// The next batch of callers' short items.
    pub(super) fn take_short(&mut self, limits: &Limits) -> Option<Work<T>> {
        let lane = Lane::Interactive;
        let batch = fill(&mut self.ready[lane], limits.batch[lane], 0..=limits.short);
        if batch.is_empty() {
            return None;
        }
        self.run_share.took(lane, batch.len(), self.next_bulk(limits).is_some());
        self.running[lane] += batch.len();
        Some(Work::Batch(lane, batch))
    }

    /// Items that the bulk lane would take at most.
    fn next_bulk(&self, limits: &Limits) -> Option<usize> {
        let of_job = self.job_batches.front().map(|batch| batch.rows.len());
        let items = self.ready.bulk.len().min(limits.batch.bulk.items);
        of_job.into_iter().chain((items > 0).then_some(items)).max()
    }

    /// Jobs and bulk calls by age.
    fn take_bulk(&mut self, limits: &Limits) -> Option<Work<T>> {
        let oldest = self.ready.bulk.peek().map(|item| item.since);
        let job_first = |batch: &JobBatch<T>| oldest.is_none_or(|since| batch.since <= since);
        if self.job_batches.front().is_some_and(job_first) {
            return self.job_batches.pop_front().map(Work::Job);
        }
        Some(Work::Batch(Lane::Bulk, self.take_batch(Lane::Bulk, limits, 0..=usize::MAX)))
    }

    fn take_batch(
        &mut self,
        lane: Lane,
        limits: &Limits,
        wanted: RangeInclusive<usize>,
    ) -> Vec<ReadyItem<T>> {
        let queue = &mut self.ready[lane];
        // What waits is shared between the sessions that are free: none idles beside a full one.
        let share = queue.len().div_ceil(self.idle + 1);
        let BatchLimits { items, cost } = limits.batch[lane];
        fill(queue, BatchLimits { items: items.min(share), cost }, wanted)
    }

    /// Drops the prepared items whose deadline has passed; returns how many of each lane.
    pub(super) fn drop_late(&mut self, now: Instant) -> PerLane<usize> {
        let mut late = PerLane::default();
        for lane in Lane::ALL {
            late[lane] = self.ready[lane].drop_where(|item| item.ticket.is_late(now));
            for raw in &mut self.raw {
                while raw[lane].peek().is_some_and(|item| item.ticket.is_late(now)) {
                    late[lane] += usize::from(raw[lane].pop().is_some());
                }
            }
        }
        late
    }

    /// Drops what is left of a call that is over; returns how many items.
    pub(super) fn drop_call(&mut self, call: &Ticket) -> usize {
        let raw: usize = self.raw.iter_mut().map(|raw| remove(&mut raw[call.lane], call)).sum();
        raw + remove(&mut self.ready[call.lane], call)
    }

    /// Drops what waits of a connection's newest call and tells the call; returns how many items.
    pub(super) fn shed(&mut self, lane: Lane, Origin { caller, connection }: Origin) -> usize {
        // Of those nobody has begun with, the slow first.
        let mut raw = self.raw.iter().rev();
        let raw = raw.find_map(|raw| raw[lane].newest(caller, connection)).map(|item| &item.ticket);
        let ready = || self.ready[lane].newest(caller, connection).map(|item| &item.ticket);
        let Some(ticket) = raw.or_else(ready).cloned() else { return 0 };
        ticket.shed();
        self.drop_call(&ticket)
    }

    /// Drops everything that waits; returns how many items of each lane.
    pub(super) fn drop_all(&mut self) -> PerLane<usize> {
        let mut dropped = PerLane::default();
        for lane in Lane::ALL {
            let raw: usize = self.raw.iter_mut().map(|raw| raw[lane].clear()).sum();
            dropped[lane] = raw + self.ready[lane].clear();
        }
        self.job_batches.clear();
        dropped
    }
}

fn push<B, F>(queue: &mut FairQueue<Item<B, F>>, cost: usize, item: Item<B, F>) {
    match item.ticket.urgent {
        true => queue.push_urgent(cost, item),
        false => queue.push(item.ticket.path(), cost, item),
    }
}

fn remove<B, F>(queue: &mut FairQueue<Item<B, F>>, call: &Ticket) -> usize {
    match call.urgent {
        true => queue.drop_where(|item| item.ticket.id == call.id),
        false => queue.remove(&call.path()),
    }
}

impl<T: Tower> Work<T> {
    pub(super) fn items(&self) -> usize {
        match self {
            Self::Batch(_, items) => items.len(),
            Self::Job(batch) => batch.rows.len(),
        }
    }
}

/// Bounds of one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BatchLimits {
    /// Items at most, at least 1.
    pub items: usize,
    /// Dearest item times items at most; one item always goes.
    pub cost: usize,
}

/// A batch: the item whose turn it is, and others in turn whose costs are like its own, first those
/// that are closest, since a batch is padded to its dearest item. So what is cheap never waits in a
/// batch for what is dear, and each batch holds the item whose turn it is, so that nothing waits
/// for ever. It is the turn of those that cost what is `wanted`.
pub(super) fn fill<T>(
    queue: &mut FairQueue<T>,
    limits: BatchLimits,
    wanted: RangeInclusive<usize>,
) -> Vec<T> {
    let Some((first, item)) = queue.pop_first_fitting(|cost| wanted.contains(&cost)) else {
        return Vec::new();
    };
    let (mut batch, mut dearest) = (vec![item], first);
    let close = (first - first / 4, first + first / 4);
    let like = (first / 2, (2 * first).max(ALIKE));
    for (least, greatest) in [close, like] {
        while batch.len() < limits.items {
            let room = limits.cost / (batch.len() + 1);
            let alike = least.max(*wanted.start())..=greatest.min(*wanted.end());
            let fits = |cost: usize| alike.contains(&cost) && dearest.max(cost) <= room;
            let Some((cost, item)) = queue.pop_fitting(fits) else { break };
            dearest = dearest.max(cost);
            batch.push(item);
        }
    }
    batch
}

/// Share of a batch that is padding, 0 to 1.
pub(super) fn padded_share(costs: &[usize]) -> f64 {
    let dearest = costs.iter().copied().max().unwrap_or(0);
    if dearest == 0 {
        return 0.0;
    }
    let real: usize = costs.iter().sum();
    1.0 - real as f64 / (dearest * costs.len()) as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A queue of calls with one item each, the item its number.
    fn queue(costs: &[usize]) -> FairQueue<usize> {
        let mut queue = FairQueue::new();
        for (number, cost) in costs.iter().enumerate() {
            queue.push([0, 0, number as u64], *cost, number);
        }
        queue
    }

    #[test]
    fn like_lengths_go_together() {
        let limits = BatchLimits { items: 3, cost: 1000 };
        let mut queue = queue(&[20, 77, 25, 5, 20, 76]);
        assert_eq!(fill(&mut queue, limits, 0..=usize::MAX), [0, 2, 4]);
        assert_eq!(fill(&mut queue, limits, 0..=usize::MAX), [1, 5]);
        assert_eq!(fill(&mut queue, limits, 0..=usize::MAX), [3]);
    }

    #[test]
    fn equals_go_in_order() {
        let limits = BatchLimits { items: 5, cost: 100 };
        assert_eq!(fill(&mut queue(&[4; 9]), limits, 0..=usize::MAX), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_word_does_not_wait_for_long_texts_in_its_own_batch() {
        let limits = BatchLimits { items: 32, cost: 2048 };
        assert_eq!(fill(&mut queue(&[3, 128, 128, 16, 128]), limits, 0..=usize::MAX), [0, 3]);
    }

    #[test]
    fn the_short_are_taken_from_between_the_long() {
        let limits = BatchLimits { items: 4, cost: 64 };
        let mut queue = queue(&[100, 8, 90, 33, 12, 32, 100]);
        assert_eq!(fill(&mut queue, limits, 0..=32), [1, 4]);
        assert_eq!(fill(&mut queue, limits, 0..=32), [5]);
        assert!(fill(&mut queue, limits, 0..=32).is_empty());
        assert_eq!(queue.len(), 4);
    }

    #[test]
    fn callers_fill_a_batch_in_turn() {
        let mut queue = FairQueue::new();
        (0..20).for_each(|_| queue.push([1, 1, 1], 100, 1));
        (0..2).for_each(|_| queue.push([2, 2, 2], 100, 2));
        assert_eq!(
            fill(&mut queue, BatchLimits { items: 6, cost: 2000 }, 0..=usize::MAX),
            [1, 2, 1, 2, 1, 1]
        );
    }

    #[test]
    fn padding_is_what_is_not_text() {
        assert!((padded_share(&[10, 5, 5]) - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!(padded_share(&[7, 7]), 0.0);
    }

    proptest! {
        #[test]
        fn a_batch_keeps_its_limits_and_takes_whose_turn_it_is(
            costs in prop::collection::vec(1usize..200, 1..40),
            items in 1usize..20,
            cost in 1usize..2000,
        ) {
            let batch = fill(&mut queue(&costs), BatchLimits { items, cost }, 0..=usize::MAX);
            let dearest = batch.iter().map(|item| costs[*item]).max().unwrap_or(0);
            prop_assert_eq!(batch[0], 0);
            prop_assert!(batch.len() <= items);
            prop_assert!(batch.len() == 1 || dearest * batch.len() <= cost);
            prop_assert!(dearest <= (2 * costs[0]).max(ALIKE));
        }
    }
}
