//! The places of a queue: a bound on the items and the bytes that one lane of a tower holds.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::error::{QueueError, Resource};

/// Places, wanted or held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Size {
    pub items: usize,
    pub bytes: usize,
}

/// All places of a lane, and who waits for them, first come first served.
#[derive(Debug)]
pub(super) struct Places {
    limit: Size,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    used: Size,
    waiters: VecDeque<Waiter>,
    next: u64,
    closed: bool,
}

#[derive(Debug)]
struct Waiter {
    id: u64,
    want: Size,
    grant: oneshot::Sender<Reservation>,
}

/// Why places were not given at once.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full {
    pub what: Resource,
    pub wanted: usize,
    pub free: usize,
    pub limit: usize,
}

/// Why a call cannot even wait.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Full(Full),
    Never(QueueError),
}

impl Places {
    pub(super) fn new(limit: Size) -> Arc<Self> {
        Arc::new(Self { limit, state: Mutex::default() })
    }

    /// All places or none, at once. Does not overtake a call that waits.
    pub(super) fn try_reserve(self: &Arc<Self>, want: Size) -> Result<Reservation, Refused> {
        self.check(want).map_err(Refused::Never)?;
        let mut state = self.lock();
        if state.closed {
            return Err(Refused::Never(QueueError::Closed));
        }
        if !state.waiters.is_empty() || !fits(state.used, want, self.limit) {
            return Err(Refused::Full(full(state.used, want, self.limit)));
        }
        Ok(self.take(&mut state, want))
    }

    /// All places, when those who came before have theirs. Dropping the future gives up the wait.
    pub(super) async fn reserve(self: &Arc<Self>, want: Size) -> Result<Reservation, QueueError> {
        self.check(want)?;
        let (waiting, granted) = {
            let mut state = self.lock();
            if state.closed {
                return Err(QueueError::Closed);
            }
            if state.waiters.is_empty() && fits(state.used, want, self.limit) {
                return Ok(self.take(&mut state, want));
            }
            self.wait_in(&mut state, want)
        };
        let reservation = granted.await.map_err(|_| QueueError::Closed);
        drop(waiting);
        reservation
    }

    /// A reservation of nothing, which is never refused.
    pub(super) fn free_pass(self: &Arc<Self>) -> Reservation {
        Reservation { places: self.clone(), size: Size::default() }
    }

    /// What is held now.
    pub(super) fn used(&self) -> Size {
        self.lock().used
    }

    /// Refuses whoever waits and whoever comes.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.waiters.clear();
    }

    fn wait_in(
        self: &Arc<Self>,
        state: &mut State,
        want: Size,
    ) -> (Waiting, oneshot::Receiver<Reservation>) {
        let (grant, granted) = oneshot::channel();
        let id = state.next;
        state.next += 1;
        state.waiters.push_back(Waiter { id, want, grant });
        (Waiting { places: self.clone(), id }, granted)
    }

    fn check(&self, want: Size) -> Result<(), QueueError> {
        let Full { what, wanted, limit, .. } = full(Size::default(), want, self.limit);
        if fits(Size::default(), want, self.limit) {
            return Ok(());
        }
        Err(QueueError::TooLarge { what, wanted: wanted as u64, limit: limit as u64 })
    }

    fn take(self: &Arc<Self>, state: &mut State, want: Size) -> Reservation {
        state.used.items += want.items;
        state.used.bytes += want.bytes;
        Reservation { places: self.clone(), size: want }
    }

    fn give_back(self: &Arc<Self>, size: Size) {
        let mut state = self.lock();
        state.used.items -= size.items;
        state.used.bytes -= size.bytes;
        self.grant(state);
    }

    /// Serves those who wait. A grant that nobody takes any more comes back through its own drop,
    /// which is why grants are sent with the lock released.
    fn grant(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        let mut grants = Vec::new();
        while let Some(waiter) = state.waiters.pop_front() {
            if waiter.grant.is_closed() {
                continue;
            }
            if !fits(state.used, waiter.want, self.limit) {
                state.waiters.push_front(waiter);
                break;
            }
            grants.push((waiter.grant, self.take(&mut state, waiter.want)));
        }
        drop(state);
        for (grant, reservation) in grants {
            drop(grant.send(reservation));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fits(used: Size, want: Size, limit: Size) -> bool {
    want.items <= limit.items - used.items && want.bytes <= limit.bytes - used.bytes
}

/// What stands in the way, items first.
fn full(used: Size, want: Size, limit: Size) -> Full {
    let free = Size { items: limit.items - used.items, bytes: limit.bytes - used.bytes };
    if want.items > free.items || want.bytes <= free.bytes {
        let Size { items, .. } = limit;
        return Full { what: Resource::Items, wanted: want.items, free: free.items, limit: items };
    }
    Full { what: Resource::Bytes, wanted: want.bytes, free: free.bytes, limit: limit.bytes }
}

/// A wait in the line; dropped, it leaves, so that nobody waits behind a caller who went away.
struct Waiting {
    places: Arc<Places>,
    id: u64,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut state = self.places.lock();
        state.waiters.retain(|waiter| waiter.id != self.id);
        self.places.grant(state);
    }
}

/// Places held; dropped, they are free again.
#[derive(Debug)]
pub(super) struct Reservation {
    places: Arc<Places>,
    size: Size,
}

impl Reservation {
    /// Moves part of the places (at most all) into a reservation of its own.
    pub(super) fn split(&mut self, part: Size) -> Self {
        let items = part.items.min(self.size.items);
        let bytes = part.bytes.min(self.size.bytes);
        self.size.items -= items;
        self.size.bytes -= bytes;
        Self { places: self.places.clone(), size: Size { items, bytes } }
    }

    /// Gives back bytes (at most all) that are no longer held.
    pub(super) fn release_bytes(&mut self, bytes: usize) {
        drop(self.split(Size { items: 0, bytes }));
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.size != Size::default() {
            self.places.give_back(self.size);
        }
    }
}
