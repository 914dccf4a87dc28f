//! One tower's queue: admission in front, the lock and the wake-ups around what waits, and the guard
//! of each call.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crossbeam_channel::bounded;
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::admission::{Full, Places, Refused, Reservation, Size};
use super::bulk_throttle::{BulkThrottle, Caller};
use super::call::{Admission, Answer, CallContext, Item, Ticket};
use super::error::QueueError;
use super::fair::Origin;
use super::lane::{Lane, Pace, PerLane, Takes};
use super::observe::{DropReason, LaneSnapshot, QueueObserver};
use super::tower::Tower;
use super::waiting::{JobBatch, Limits, State};
use crate::encoder::{Embedding, EncoderError};

pub(super) struct TowerQueue<T: Tower> {
    pub(super) tower: T,
    pub(super) limits: Limits,
    pub(super) observer: Arc<dyn QueueObserver>,
    places: PerLane<Arc<Places>>,
    state: Mutex<State<T>>,
    /// Something to prepare, or room for it; by [`Pace`].
    prepare: [Condvar; Pace::ALL.len()],
    /// Something for a session.
    work: Condvar,
    /// Something for a session beside one for short items.
    long: Condvar,
    /// Something left the queue.
    left: Notify,
    throttle: BulkThrottle,
    next_call: AtomicU64,
}

/// What a queue is made of, besides its tower.
pub(super) struct QueueParts {
    pub limits: Limits,
    pub weights: PerLane<usize>,
    /// Places of each lane.
    pub places: Size,
    pub throttle: BulkThrottle,
    pub observer: Arc<dyn QueueObserver>,
}

impl<T: Tower> TowerQueue<T> {
    pub(super) fn new(tower: T, parts: QueueParts) -> Arc<Self> {
        let QueueParts { limits, weights, places, throttle, observer } = parts;
        Arc::new(Self {
            tower,
            limits,
            observer,
            places: PerLane { interactive: Places::new(places), bulk: Places::new(places) },
            state: Mutex::new(State::new(weights)),
            prepare: Pace::ALL.map(|_| Condvar::new()),
            work: Condvar::new(),
            long: Condvar::new(),
            left: Notify::new(),
            throttle,
            next_call: AtomicU64::new(0),
        })
    }

    /// Embeds the items of one call; answers are in item order.
    pub(super) async fn embed(
        self: &Arc<Self>,
        mut raws: Vec<T::Raw>,
        call: &CallContext,
    ) -> Result<Vec<Answer<T::Facts>>, QueueError> {
        if raws.is_empty() {
            return Ok(Vec::new());
        }
        if call.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Err(QueueError::DeadlineExceeded);
        }
        within(call.deadline, async {
            loop {
                let places = self.admit(&raws, call).await?;
                let count = raws.len();
                // One that waits for its places waits again when they are taken for others.
                let kept = (call.admission == Admission::Wait).then(|| raws.clone());
                match (self.attend(raws, self.ticket(call, false), places).await?, kept) {
                    (Some(answers), _) => return Ok(answers),
                    (None, Some(kept)) => raws = kept,
                    (None, None) => {
                        let full = self.places[call.lane].none_free(count);
                        return Err(self.overloaded(call.lane, count, full));
                    }
                }
            }
        })
        .await
    }

    /// Embeds one item before all others, however full the queue is.
    pub(super) async fn embed_urgent(
        self: &Arc<Self>,
        raw: T::Raw,
    ) -> Result<Vec<Answer<T::Facts>>, QueueError> {
        let ticket = self.ticket(&CallContext::default(), true);
        let places = self.places[Lane::Interactive].free_pass();
        self.attend(vec![raw], ticket, places).await?.ok_or(QueueError::Closed)
    }

    fn ticket(&self, call: &CallContext, urgent: bool) -> Arc<Ticket> {
        let id = self.next_call.fetch_add(1, Ordering::Relaxed);
        Arc::new(Ticket::new(id, call, urgent))
    }

    async fn admit(&self, raws: &[T::Raw], call: &CallContext) -> Result<Reservation, QueueError> {
        let bytes = raws.iter().map(|raw| self.tower.size(raw).bytes).sum();
        let want = Size { items: raws.len(), bytes };
        let places = &self.places[call.lane];
        match call.admission {
            Admission::Wait => places.reserve(call.origin, want).await,
            Admission::Reject => match places.try_reserve(call.origin, want) {
                Ok(places) => Ok(places),
                Err(Refused::Never(error)) => Err(error),
                Err(Refused::Full(full)) => {
                    let shed = |heaviest| self.shed(call.lane, heaviest);
                    let forced = places.reserve_by_force(call.origin, want, shed);
                    forced.ok_or_else(|| self.overloaded(call.lane, raws.len(), full))
                }
            },
        }
    }

    /// Drops what waits of the newest call of a connection, whose caller is told to come back.
    fn shed(&self, lane: Lane, origin: Origin) -> bool {
        let dropped = self.lock().shed(lane, origin);
        self.dropped(lane, DropReason::Shed, dropped);
        self.wake();
        dropped > 0
    }

    fn overloaded(&self, lane: Lane, items: usize, full: Full) -> QueueError {
        self.observer.overloaded(T::KIND, lane, items);
        let Full { what, wanted, free, limit } = full;
        let retry_after = {
            let state = self.lock();
            state.throughput.retry_after(state.before_inference(lane) + state.running[lane])
        };
        let [wanted, free, limit] = [wanted, free, limit].map(|value| value as u64);
        QueueError::Overloaded { what, wanted, free, limit, retry_after }
    }

    /// The answers; none where the places were taken for others.
    async fn attend(
        self: &Arc<Self>,
        raws: Vec<T::Raw>,
        ticket: Arc<Ticket>,
        places: Reservation,
    ) -> Result<Option<Vec<Answer<T::Facts>>>, QueueError> {
        let count = raws.len();
        let (replies, mut answers) = unbounded_channel();
        let mut attended = CallGuard::new(self, &ticket);
        self.enqueue(raws, &ticket, places, replies)?;
        let mut answered = Vec::with_capacity(count);
        while answered.len() < count {
            let answer = tokio::select! {
                biased;
                answer = answers.recv() => answer,
                // What runs of it still comes to its end; nobody waits for that.
                () = ticket.until_shed() => None,
            };
            let Some(answer) = answer else {
                if ticket.is_shed() {
                    return Ok(None);
                }
                let late = ticket.is_late(Instant::now());
                return Err(if late { QueueError::DeadlineExceeded } else { QueueError::Closed });
            };
            answered.push(answer);
        }
        attended.complete = true;
        answered.sort_by_key(|answer| answer.index);
        Ok(Some(answered))
    }

    fn enqueue(
        &self,
        raws: Vec<T::Raw>,
        ticket: &Arc<Ticket>,
        mut places: Reservation,
        replies: UnboundedSender<Answer<T::Facts>>,
    ) -> Result<(), QueueError> {
        let since = Instant::now();
        // Before the lock: the header of a photo tells what it will cost.
        let raws: Vec<_> = raws.into_iter().map(|raw| (self.tower.raw_cost(&raw), raw)).collect();
        let mut state = self.lock();
        if state.draining || state.closed {
            return Err(QueueError::Closed);
        }
        for (index, (cost, body)) in raws.into_iter().enumerate() {
            let (ticket, replies) = (ticket.clone(), replies.clone());
            let place = places.split(self.tower.size(&body));
            let timings = Default::default();
            state.push_raw(cost, Item { ticket, index, place, replies, timings, since, body });
        }
        self.wake_to_prepare(state);
        Ok(())
    }

    /// Runs a job's batch whole when the bulk lane has its turn, and waits for it.
    pub(super) fn run_for_job(&self, rows: Vec<T::Ready>) -> Result<Vec<Embedding>, EncoderError> {
        let (answer, answered) = bounded(1);
        let mut state = self.lock();
        if state.draining || state.closed {
            return Err(EncoderError::Closed);
        }
        state.job_batches.push_back(JobBatch { rows, since: Instant::now(), answer });
        drop(state);
        self.work.notify_all();
        self.long.notify_all();
        answered.recv().unwrap_or(Err(EncoderError::Closed))
    }

    /// Notes a caller at the gate.
    pub(super) fn caller(&self) -> Caller {
        self.throttle.caller()
    }

    /// Drops what is left of a call whose caller is gone.
    pub(super) fn purge(&self, ticket: &Ticket) {
        let items = self.lock().drop_call(ticket);
        self.dropped(ticket.lane, ticket.drop_reason(), items);
        self.wake();
    }

    pub(super) fn dropped(&self, lane: Lane, reason: DropReason, items: usize) {
        if items > 0 {
            self.observer.dropped(T::KIND, lane, reason, items);
        }
    }

    /// Admits nothing more; what is queued goes on.
    pub(super) fn stop_admitting(&self) {
        self.lock().draining = true;
        for lane in Lane::ALL {
            self.places[lane].close();
        }
    }

    /// Waits until nothing is queued or in work.
    pub(super) async fn drained(&self) {
        loop {
            let left = self.left.notified();
            tokio::pin!(left);
            left.as_mut().enable();
            if self.lock().is_empty() {
                return;
            }
            left.await;
        }
    }

    /// Fails what waits and ends the threads; batches that run come to their end.
    pub(super) fn close(&self) {
        self.stop_admitting();
        let dropped = {
            let mut state = self.lock();
            state.closed = true;
            state.drop_all()
        };
        for lane in Lane::ALL {
            self.dropped(lane, DropReason::Closed, dropped[lane]);
        }
        self.wake();
    }

    pub(super) fn snapshot(&self, lane: Lane) -> LaneSnapshot {
        let Size { items: held_items, bytes: held_bytes } = self.places[lane].used();
        let state = self.lock();
        let of_jobs = match lane {
            Lane::Interactive => 0,
            Lane::Bulk => state.job_batches.iter().map(|batch| batch.rows.len()).sum(),
        };
        LaneSnapshot {
            tower: T::KIND,
            lane,
            waiting: state.raw_items(lane),
            preparing: state.preparing_items(lane),
            ready: state.ready[lane].len() + of_jobs,
            running: state.running[lane],
            held_items,
            held_bytes,
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sleeps until there may be something to prepare.
    pub(super) fn sleep_prepare<'a>(
        &'a self,
        pace: Pace,
        state: MutexGuard<'a, State<T>>,
    ) -> MutexGuard<'a, State<T>> {
        self.prepare[pace as usize].wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Sleeps until there may be work for a session.
    pub(super) fn sleep_work<'a>(
        &'a self,
        takes: Takes,
        state: MutexGuard<'a, State<T>>,
    ) -> MutexGuard<'a, State<T>> {
        let woken = if takes == Takes::Long { &self.long } else { &self.work };
        woken.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes whoever may now have something to do.
    pub(super) fn wake(&self) {
        let state = self.lock();
        let long = state.closed || state.long_waits(&self.limits);
        self.wake_to_prepare(state);
        self.work.notify_all();
        if long {
            self.long.notify_all();
        }
        self.left.notify_waiters();
    }

    /// Wakes the threads that prepare. Those that give way to others, as the session for what is long
    /// does, are woken only for something of theirs: they should not hold the lock for nothing.
    fn wake_to_prepare(&self, state: MutexGuard<'_, State<T>>) {
        let slow = state.closed || state.slow_waits();
        drop(state);
        self.prepare[Pace::Quick as usize].notify_all();
        if slow {
            self.prepare[Pace::Slow as usize].notify_all();
        }
    }
}

/// Bounds the work of a call by its deadline.
pub(super) async fn within<R>(
    deadline: Option<Instant>,
    work: impl Future<Output = Result<R, QueueError>>,
) -> Result<R, QueueError> {
    match deadline {
        None => work.await,
        Some(deadline) => tokio::time::timeout_at(deadline.into(), work)
            .await
            .unwrap_or(Err(QueueError::DeadlineExceeded)),
    }
}

/// A call that is waited for. Dropped before it is complete, what is left of it leaves the queue.
pub(super) struct CallGuard<T: Tower> {
    queue: Arc<TowerQueue<T>>,
    ticket: Arc<Ticket>,
    pub complete: bool,
    _caller: Option<Caller>,
}

impl<T: Tower> CallGuard<T> {
    pub(super) fn new(queue: &Arc<TowerQueue<T>>, ticket: &Arc<Ticket>) -> Self {
        let caller = (ticket.lane == Lane::Interactive).then(|| queue.caller());
        Self { queue: queue.clone(), ticket: ticket.clone(), complete: false, _caller: caller }
    }
}

impl<T: Tower> Drop for CallGuard<T> {
    fn drop(&mut self) {
        if !self.complete {
            // First, so that an item which a thread holds now is not put back.
            self.ticket.end();
            self.queue.purge(&self.ticket);
        }
    }
}
