//! The places of a queue: a bound on the items and the bytes that one lane of a tower holds.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::error::{QueueError, Resource};
use super::fair::{FairQueue, Origin, Path};

/// How many are asked to let go of places for one call: each costs a look at all who hold any.
const ASKED: usize = 16;

/// Places, wanted or held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Size {
    pub items: usize,
    pub bytes: usize,
}

/// All places of a lane, who holds them, and who waits for them: callers in turn, the calls of one
/// first come first served.
pub(super) struct Places {
    limit: Size,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    used: Size,
    held: HashMap<Origin, Size>,
    waiters: FairQueue<Waiter>,
    next: u64,
    closed: bool,
}

struct Waiter {
    origin: Origin,
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
    pub(super) fn try_reserve(
        self: &Arc<Self>,
        origin: Origin,
        want: Size,
    ) -> Result<Reservation, Refused> {
        self.check(want).map_err(Refused::Never)?;
        let mut state = self.lock();
        if state.closed {
            return Err(Refused::Never(QueueError::Closed));
        }
        if !state.waiters.is_empty() || !fits(state.used, want, self.limit) {
            return Err(Refused::Full(full(state.used, want, self.limit)));
        }
        Ok(self.take(&mut state, origin, want))
    }

    /// Places as soon as `make_room` has brought others to let go of theirs, in turn with those who
    /// wait already. It is given who holds most and is called until there is room, and must tell
    /// whether anything was let go; where nothing was, because all that one has is being worked on,
    /// the next heaviest is asked. Nobody lets go for one who would then hold more.
    pub(super) fn reserve_by_force(
        self: &Arc<Self>,
        origin: Origin,
        want: Size,
        mut make_room: impl FnMut(Origin) -> bool,
    ) -> Option<Reservation> {
        let (_waiting, mut granted) = {
            let mut state = self.lock();
            let nobody = HashSet::new();
            heaviest(&state.held, origin, want, self.limit, &nobody).filter(|_| !state.closed)?;
            self.wait_in(&mut state, origin, want)
        };
        let mut asked_in_vain = HashSet::new();
        while asked_in_vain.len() < ASKED {
            if let Ok(reservation) = granted.try_recv() {
                return Some(reservation);
            }
            // The lock is gone before anyone is asked: who lets go takes it.
            let heaviest = heaviest(&self.lock().held, origin, want, self.limit, &asked_in_vain);
            let Some(heaviest) = heaviest else { break };
            if !make_room(heaviest) {
                asked_in_vain.insert(heaviest);
            }
        }
        granted.try_recv().ok()
    }

    /// All places, when those who came before have theirs. Dropping the future gives up the wait.
    pub(super) async fn reserve(
        self: &Arc<Self>,
        origin: Origin,
        want: Size,
    ) -> Result<Reservation, QueueError> {
        self.check(want)?;
        let (waiting, granted) = {
            let mut state = self.lock();
            if state.closed {
                return Err(QueueError::Closed);
            }
            if state.waiters.is_empty() && fits(state.used, want, self.limit) {
                return Ok(self.take(&mut state, origin, want));
            }
            self.wait_in(&mut state, origin, want)
        };
        let reservation = granted.await.map_err(|_| QueueError::Closed);
        drop(waiting);
        reservation
    }

    /// A reservation of nothing, which is never refused.
    pub(super) fn free_pass(self: &Arc<Self>) -> Reservation {
        Reservation { places: self.clone(), origin: Origin::default(), size: Size::default() }
    }

    /// What one is told whose places of `items` items were taken for others.
    pub(super) fn none_free(&self, items: usize) -> Full {
        Full { what: Resource::Items, wanted: items, free: 0, limit: self.limit.items }
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
        origin: Origin,
        want: Size,
    ) -> (Waiting, oneshot::Receiver<Reservation>) {
        let (grant, granted) = oneshot::channel();
        let id = state.next;
        state.next += 1;
        let path = [origin.caller, origin.connection, id];
        state.waiters.push(path, want.items, Waiter { origin, want, grant });
        (Waiting { places: self.clone(), path }, granted)
    }

    fn check(&self, want: Size) -> Result<(), QueueError> {
        let Full { what, wanted, limit, .. } = full(Size::default(), want, self.limit);
        if fits(Size::default(), want, self.limit) {
            return Ok(());
        }
        Err(QueueError::TooLarge { what, wanted: wanted as u64, limit: limit as u64 })
    }

    fn take(self: &Arc<Self>, state: &mut State, origin: Origin, want: Size) -> Reservation {
        state.used = state.used.and(want);
        let held = state.held.entry(origin).or_default();
        *held = held.and(want);
        Reservation { places: self.clone(), origin, size: want }
    }

    fn give_back(self: &Arc<Self>, origin: Origin, size: Size) {
        let mut state = self.lock();
        state.used = state.used.less(size);
        if let Some(held) = state.held.get_mut(&origin) {
            *held = held.less(size);
            if *held == Size::default() {
                state.held.remove(&origin);
            }
        }
        self.grant(state);
    }

    /// Serves those who wait. A grant that nobody takes any more comes back through its own drop,
    /// which is why grants are sent with the lock released.
    fn grant(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        let mut grants = Vec::new();
        while let Some(next) = state.waiters.peek() {
            if !next.grant.is_closed() && !fits(state.used, next.want, self.limit) {
                break;
            }
            let Some((_, Waiter { origin, want, grant })) = state.waiters.pop() else { break };
            if !grant.is_closed() {
                grants.push((grant, self.take(&mut state, origin, want)));
            }
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

impl Size {
    fn and(self, more: Self) -> Self {
        Self { items: self.items + more.items, bytes: self.bytes + more.bytes }
    }

    fn less(self, part: Self) -> Self {
        Self { items: self.items - part.items, bytes: self.bytes - part.bytes }
    }

    /// The part of `limit` that it is, by what is scarcer.
    fn share(self, limit: Self) -> f64 {
        let part = |of: usize, all: usize| of as f64 / all.max(1) as f64;
        part(self.items, limit.items).max(part(self.bytes, limit.bytes))
    }
}

/// Who is to let go for a call that wants places: the heaviest connection of the heaviest caller;
/// where that is the call's own caller, the heaviest of its other connections. None where all hold
/// less than the call's own would then. Nobody of `spared`.
fn heaviest(
    held: &HashMap<Origin, Size>,
    origin: Origin,
    want: Size,
    limit: Size,
    spared: &HashSet<Origin>,
) -> Option<Origin> {
    let may_let_go: HashSet<u64> =
        held.keys().filter(|one| !spared.contains(*one)).map(|one| one.caller).collect();
    let mut callers = HashMap::<u64, Size>::new();
    for (one, size) in held {
        let sum = callers.entry(one.caller).or_default();
        *sum = sum.and(*size);
    }
    let own = callers.remove(&origin.caller).unwrap_or_default().and(want).share(limit);
    let order = |one: f64, other: f64| one.total_cmp(&other);
    let connection = |of: u64, above: f64| {
        let theirs = held
            .iter()
            .filter(|(one, _)| one.caller == of && **one != origin && !spared.contains(*one));
        let shares = theirs.map(|(one, size)| (*one, size.share(limit)));
        shares.filter(|(_, share)| *share > above).max_by(|a, b| order(a.1, b.1))
    };
    let others = callers.iter().filter(|(caller, _)| may_let_go.contains(*caller));
    let others = others.map(|(caller, size)| (*caller, size.share(limit)));
    let other = others.filter(|(_, share)| *share > own).max_by(|a, b| order(a.1, b.1));
    let found = match other {
        Some((caller, _)) => connection(caller, 0.0),
        None => {
            let mine = held.get(&origin).copied().unwrap_or_default().and(want).share(limit);
            connection(origin.caller, mine)
        }
    };
    found.map(|(origin, _)| origin)
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
    path: Path,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut state = self.places.lock();
        state.waiters.remove(&self.path);
        self.places.grant(state);
    }
}

/// Places held; dropped, they are free again.
pub(super) struct Reservation {
    places: Arc<Places>,
    origin: Origin,
    size: Size,
}

impl std::fmt::Debug for Reservation {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Reservation").field("size", &self.size).finish_non_exhaustive()
    }
}

impl Reservation {
    /// Moves part of the places (at most all) into a reservation of its own.
    pub(super) fn split(&mut self, part: Size) -> Self {
        let items = part.items.min(self.size.items);
        let bytes = part.bytes.min(self.size.bytes);
        self.size.items -= items;
        self.size.bytes -= bytes;
        Self { places: self.places.clone(), origin: self.origin, size: Size { items, bytes } }
    }

    /// Gives back bytes (at most all) that are no longer held.
    pub(super) fn release_bytes(&mut self, bytes: usize) {
        drop(self.split(Size { items: 0, bytes }));
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.size != Size::default() {
            self.places.give_back(self.origin, self.size);
        }
    }
}
