//! What waits in a tower's queue, and the rules by which it is taken. Plain data: the lock and the
//! threads are around it.

use std::collections::VecDeque;
use std::time::Instant;

use super::batch::{BatchLimits, choose};
use super::call::{Item, Ticket};
use super::lane::{Claim, Lane, PerLane, Share};
use super::pace::Pace;
use super::tower::Tower;
use super::turn::Turn;

/// Waiting items that a batch is chosen from.
const LOOK_AHEAD: usize = 256;

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
}

/// What a session worker does next.
pub(super) enum Work<T: Tower> {
    Batch(Lane, Vec<ReadyItem<T>>),
    Turn(Turn),
}

pub(super) struct State<T: Tower> {
    pub raw: PerLane<VecDeque<RawItem<T>>>,
    pub ready: PerLane<VecDeque<ReadyItem<T>>>,
    pub turns: VecDeque<Turn>,
    pub preparing: PerLane<usize>,
    pub running: PerLane<usize>,
    /// Batches of the bulk lane that run now.
    pub bulk_batches: usize,
    /// Session workers that wait for work, besides the one that asks.
    pub idle: usize,
    pub pace: Pace,
    /// Nothing new comes in; what is there is finished.
    pub draining: bool,
    /// The threads end.
    pub closed: bool,
    prepare_share: Share,
    run_share: Share,
}

impl<T: Tower> State<T> {
    pub(super) fn new(weights: PerLane<usize>) -> Self {
        Self {
            raw: PerLane { interactive: VecDeque::new(), bulk: VecDeque::new() },
            ready: PerLane { interactive: VecDeque::new(), bulk: VecDeque::new() },
            turns: VecDeque::new(),
            preparing: PerLane::default(),
            running: PerLane::default(),
            bulk_batches: 0,
            idle: 0,
            pace: Pace::default(),
            draining: false,
            closed: false,
            prepare_share: Share::new(weights),
            run_share: Share::new(weights),
        }
    }

    /// Items of a lane that have not come to inference.
    pub(super) fn before_inference(&self, lane: Lane) -> usize {
        self.raw[lane].len() + self.preparing[lane] + self.ready[lane].len()
    }

    /// Whether nothing waits and nothing is in work.
    pub(super) fn is_empty(&self) -> bool {
        let nothing = |lane| self.before_inference(lane) + self.running[lane] == 0;
        self.turns.is_empty() && Lane::ALL.into_iter().all(nothing)
    }

    pub(super) fn push_ready(&mut self, item: ReadyItem<T>) {
        let queue = &mut self.ready[item.ticket.lane];
        if item.ticket.urgent { queue.push_front(item) } else { queue.push_back(item) }
    }

    /// The next item to prepare, of the lane whose turn it is and that has room to put it.
    pub(super) fn take_raw(&mut self, limits: &Limits) -> Option<RawItem<T>> {
        let interactive = self.may_prepare(Lane::Interactive, limits);
        // Decoding for a job is kept to one thread while callers wait: the others are for them.
        let one = self.preparing.bulk == 0 || self.before_inference(Lane::Interactive) == 0;
        let bulk = one && self.may_prepare(Lane::Bulk, limits);
        let claim = if interactive { Claim::Ready } else { Claim::None };
        let lane = self.prepare_share.choose(claim, bulk.then_some(1))?;
        self.prepare_share.took(lane, 1, if lane == Lane::Bulk { interactive } else { bulk });
        self.preparing[lane] += 1;
        self.raw[lane].pop_front()
    }

    fn may_prepare(&self, lane: Lane, limits: &Limits) -> bool {
        let ahead = self.ready[lane].len() + self.preparing[lane];
        !self.raw[lane].is_empty() && ahead < limits.ahead
    }

    /// The next batch for a session, or a job's turn.
    pub(super) fn take_work(&mut self, tower: &T, limits: &Limits) -> Option<Work<T>> {
        let claim = match self.ready.interactive.len() {
            0 if self.before_inference(Lane::Interactive) == 0 => Claim::None,
            0 => Claim::Coming,
            _ => Claim::Ready,
        };
        let bulk = self.next_bulk(limits).filter(|_| {
            // One session at least is kept for callers.
            claim == Claim::None || self.bulk_batches < limits.sessions.saturating_sub(1).max(1)
        });
        let lane = self.run_share.choose(claim, bulk)?;
        let work = match lane {
            Lane::Interactive => Work::Batch(lane, self.take_batch(lane, tower, limits)),
            Lane::Bulk => self.take_bulk(tower, limits)?,
        };
        let other = if lane == Lane::Bulk { claim != Claim::None } else { bulk.is_some() };
        self.run_share.took(lane, work.items(), other);
        self.running[lane] += work.items();
        self.bulk_batches += usize::from(lane == Lane::Bulk);
        Some(work)
    }

    /// Items that the bulk lane would take at most.
    fn next_bulk(&self, limits: &Limits) -> Option<usize> {
        let turn = self.turns.front().map(|turn| turn.items);
        let items = self.ready.bulk.len().min(limits.batch.bulk.items);
        turn.into_iter().chain((items > 0).then_some(items)).max()
    }

    /// Jobs and bulk calls by age.
    fn take_bulk(&mut self, tower: &T, limits: &Limits) -> Option<Work<T>> {
        let oldest = self.ready.bulk.front().map(|item| item.since);
        let turn_first = |turn: &Turn| oldest.is_none_or(|since| turn.since <= since);
        if self.turns.front().is_some_and(turn_first) {
            return self.turns.pop_front().map(Work::Turn);
        }
        Some(Work::Batch(Lane::Bulk, self.take_batch(Lane::Bulk, tower, limits)))
    }

    fn take_batch(&mut self, lane: Lane, tower: &T, limits: &Limits) -> Vec<ReadyItem<T>> {
        let queue = &mut self.ready[lane];
        let costs: Vec<usize> =
            queue.iter().take(LOOK_AHEAD).map(|item| tower.cost(&item.body.0)).collect();
        // What waits is shared between the sessions that are free: none idles beside a full one.
        let share = costs.len().div_ceil(self.idle + 1);
        let BatchLimits { items, cost } = limits.batch[lane];
        let chosen = choose(&costs, BatchLimits { items: items.min(share), cost });
        // From the back, so that the places before stay valid.
        let mut batch: Vec<_> =
            chosen.into_iter().rev().filter_map(|place| queue.remove(place)).collect();
        batch.reverse();
        batch
    }

    /// Drops the prepared items whose deadline has passed; returns how many of each lane.
    pub(super) fn drop_late(&mut self, now: Instant) -> PerLane<usize> {
        let mut late = PerLane::default();
        for lane in Lane::ALL {
            late[lane] = drop_where(&mut self.ready[lane], |ticket| ticket.is_late(now));
            while self.raw[lane].front().is_some_and(|item| item.ticket.is_late(now)) {
                self.raw[lane].pop_front();
                late[lane] += 1;
            }
        }
        late
    }

    /// Drops what is left of a call that is over; returns how many items.
    pub(super) fn drop_call(&mut self, call: &Ticket) -> usize {
        let same = |ticket: &Ticket| ticket.id == call.id;
        drop_where(&mut self.raw[call.lane], same) + drop_where(&mut self.ready[call.lane], same)
    }

    /// Drops everything that waits; returns how many items of each lane.
    pub(super) fn drop_all(&mut self) -> PerLane<usize> {
        let mut dropped = PerLane::default();
        for lane in Lane::ALL {
            dropped[lane] = self.raw[lane].len() + self.ready[lane].len();
            self.raw[lane].clear();
            self.ready[lane].clear();
        }
        self.turns.clear();
        dropped
    }
}

fn drop_where<B, F>(queue: &mut VecDeque<Item<B, F>>, gone: impl Fn(&Ticket) -> bool) -> usize {
    let before = queue.len();
    queue.retain(|item| !gone(&item.ticket));
    before - queue.len()
}

impl<T: Tower> Work<T> {
    pub(super) fn items(&self) -> usize {
        match self {
            Self::Batch(_, items) => items.len(),
            Self::Turn(turn) => turn.items,
        }
    }
}
