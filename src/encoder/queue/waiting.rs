//! What waits in a tower's queue, and the rules by which it is taken and put into batches. Plain
//! data: the lock and the threads are around it.

use std::collections::VecDeque;
use std::time::Instant;

use super::call::{Item, Ticket};
use super::lane::{Claim, Lane, PerLane, Share};
use super::session_loan::SessionLoan;
use super::throughput::Throughput;
use super::tower::Tower;

/// Waiting items that a batch is chosen from.
const LOOK_AHEAD: usize = 4096;

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
    Loan(SessionLoan),
}

pub(super) struct State<T: Tower> {
    pub raw: PerLane<VecDeque<RawItem<T>>>,
    pub ready: PerLane<VecDeque<ReadyItem<T>>>,
    pub loans: VecDeque<SessionLoan>,
    pub preparing: PerLane<usize>,
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
    prepare_share: Share,
    run_share: Share,
}

impl<T: Tower> State<T> {
    pub(super) fn new(weights: PerLane<usize>) -> Self {
        Self {
            raw: PerLane { interactive: VecDeque::new(), bulk: VecDeque::new() },
            ready: PerLane { interactive: VecDeque::new(), bulk: VecDeque::new() },
            loans: VecDeque::new(),
            preparing: PerLane::default(),
            running: PerLane::default(),
            bulk_batches: 0,
            idle: 0,
            throughput: Throughput::default(),
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
        self.loans.is_empty() && Lane::ALL.into_iter().all(nothing)
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

    /// The next batch for a session, or a loan to a job.
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
        let loan = self.loans.front().map(|loan| loan.items);
        let items = self.ready.bulk.len().min(limits.batch.bulk.items);
        loan.into_iter().chain((items > 0).then_some(items)).max()
    }

    /// Jobs and bulk calls by age.
    fn take_bulk(&mut self, tower: &T, limits: &Limits) -> Option<Work<T>> {
        let oldest = self.ready.bulk.front().map(|item| item.since);
        let loan_first = |loan: &SessionLoan| oldest.is_none_or(|since| loan.since <= since);
        if self.loans.front().is_some_and(loan_first) {
            return self.loans.pop_front().map(Work::Loan);
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
        self.loans.clear();
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
            Self::Loan(loan) => loan.items,
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

/// The places, ascending, of the items that make a batch: the oldest, and those whose cost is
/// closest to its own, since a batch is padded to its dearest item. Among equals the older goes.
/// Each batch holds the oldest, so nothing waits for ever.
pub(super) fn choose(costs: &[usize], limits: BatchLimits) -> Vec<usize> {
    let Some(oldest) = costs.first().copied() else { return Vec::new() };
    let mut others: Vec<usize> = (1..costs.len()).collect();
    others.sort_by_key(|place| costs[*place].abs_diff(oldest));
    let mut chosen = vec![0];
    let mut dearest = oldest;
    for place in others {
        let padded = dearest.max(costs[place]);
        if chosen.len() == limits.items || padded.saturating_mul(chosen.len() + 1) > limits.cost {
            break;
        }
        dearest = padded;
        chosen.push(place);
    }
    chosen.sort_unstable();
    chosen
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

    #[test]
    fn like_lengths_go_together() {
        let limits = BatchLimits { items: 3, cost: 1000 };
        assert_eq!(choose(&[10, 77, 11, 5, 10, 76], limits), [0, 2, 4]);
    }

    #[test]
    fn equals_go_in_order() {
        assert_eq!(choose(&[4; 9], BatchLimits { items: 5, cost: 100 }), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn padding_is_what_is_not_text() {
        assert!((padded_share(&[10, 5, 5]) - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!(padded_share(&[7, 7]), 0.0);
    }

    proptest! {
        #[test]
        fn a_batch_keeps_its_limits_and_takes_the_oldest(
            costs in prop::collection::vec(1usize..200, 1..40),
            items in 1usize..20,
            cost in 1usize..2000,
        ) {
            let chosen = choose(&costs, BatchLimits { items, cost });
            let dearest = chosen.iter().map(|place| costs[*place]).max().unwrap_or(0);
            prop_assert_eq!(chosen[0], 0);
            prop_assert!(chosen.is_sorted_by(|left, right| left < right));
            prop_assert!(chosen.len() <= items);
            prop_assert!(chosen.len() == 1 || dearest * chosen.len() <= cost);
        }
    }
}
