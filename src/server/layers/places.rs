//! Who is connected, and who has to go when there is no room for one more.
//!
//! A full server does not lock anyone out. For a newcomer it closes the connection that has done
//! nothing for longest, of the address that has most of them. When all are at work, a newcomer gets
//! one of a few places more, where only health may be asked for: a probe must not find a busy
//! server dead. It keeps that place until it calls for something else when there is room again.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::tally::Tally;
use crate::config::ServeConfig;
use crate::server::convert::size;

/// A connection that was at work a moment ago does not make room: its client is about to call again.
const FRESH: Duration = Duration::from_secs(1);

/// Questions to health under way on one connection. They take no place of a call, so that a full
/// server still answers them; a probe has one at a time.
pub const QUESTIONS: u32 = 8;

/// How many connections may be open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionBounds {
    /// All of them, those kept for probes not counted.
    pub total: usize,
    /// Of one address; of one /64 network for IPv6. None where the address says nothing, such as
    /// behind a proxy.
    pub per_address: Option<usize>,
    /// Beside all others, for health calls alone.
    pub probes: usize,
    /// The time a client has for the TLS handshake and the first bytes of HTTP/2 together.
    pub greeting: Duration,
}

impl From<&ServeConfig> for ConnectionBounds {
    fn from(serve: &ServeConfig) -> Self {
        Self {
            total: size(serve.limits.max_connections),
            per_address: Some(size(serve.connections.max_per_address)).filter(|most| *most > 0),
            probes: size(serve.connections.kept_for_probes),
            greeting: serve.connections.greeting(),
        }
    }
}

/// The open connections. Clones share them.
#[derive(Debug, Clone)]
pub struct Places {
    bounds: ConnectionBounds,
    table: Arc<Mutex<Table>>,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    open: HashMap<u64, Entry>,
    /// The newest connection of each peer.
    by_peer: HashMap<SocketAddr, u64>,
    /// How many of `open` a network has, those kept for probes not counted.
    by_address: Tally<IpAddr>,
    /// How many of `open` are kept for probes.
    probes: usize,
}

#[derive(Debug)]
struct Entry {
    peer: SocketAddr,
    network: IpAddr,
    for_probes: bool,
    greeted: bool,
    calls: usize,
    /// Questions to health under way. Who only asks for health is not at work.
    questions: u32,
    /// Since when it has no calls.
    idle: Instant,
    end: CancellationToken,
}

impl Entry {
    fn makes_room(&self, now: Instant) -> bool {
        let fresh = self.greeted && now.saturating_duration_since(self.idle) < FRESH;
        self.calls == 0 && (self.for_probes || !fresh)
    }
}

/// The place of one connection; given back when dropped.
#[derive(Debug)]
pub struct Place {
    id: u64,
    places: Places,
    end: CancellationToken,
}

/// A call under way on a connection, until dropped.
#[derive(Debug)]
pub struct Busy {
    id: u64,
    places: Places,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Call,
    Question,
}

/// A connection that may only ask for health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbesOnly;

/// A connection with [`QUESTIONS`] to health under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyQuestions;

impl Places {
    /// With nobody connected.
    pub fn new(bounds: ConnectionBounds) -> Self {
        Self { bounds, table: Arc::default() }
    }

    /// The bounds.
    pub fn bounds(&self) -> &ConnectionBounds {
        &self.bounds
    }

    /// Connections that are open now, those kept for probes included.
    pub fn open(&self) -> usize {
        self.table().open.len()
    }

    /// A place for a new connection, if need be that of another. None when there is none to be
    /// had.
    pub fn admit(&self, peer: SocketAddr) -> Option<Place> {
        let probes = self.bounds.probes;
        let mut table = self.table();
        let full = !table.has_room(network(peer.ip()), &self.bounds);
        if full {
            let room =
                table.probes < probes || (probes > 0 && table.make_room(|entry| entry.for_probes));
            if !room {
                return None;
            }
        }
        let (id, end) = table.insert(peer, full);
        Some(Place { id, places: self.clone(), end })
    }

    /// A call has begun on the connection of `peer`. None for one that is not known.
    ///
    /// # Errors
    /// [`ProbesOnly`], where there is still no other place for it.
    pub fn begin(&self, peer: SocketAddr) -> Result<Option<Busy>, ProbesOnly> {
        let mut table = self.table();
        let Some(id) = table.by_peer.get(&peer).copied() else { return Ok(None) };
        let for_probes = table.open.get(&id).is_some_and(|entry| entry.for_probes);
        if for_probes && !table.promote(id, &self.bounds) {
            return Err(ProbesOnly);
        }
        let Some(entry) = table.open.get_mut(&id) else { return Ok(None) };
        entry.calls += 1;
        Ok(Some(Busy { id, places: self.clone(), kind: Kind::Call }))
    }

    /// A question to health has begun on the connection of `peer`. None for one that is not known.
    ///
    /// # Errors
    /// [`TooManyQuestions`], while as many as it may have are under way on it.
    pub fn ask(&self, peer: SocketAddr) -> Result<Option<Busy>, TooManyQuestions> {
        let mut table = self.table();
        let Some(id) = table.by_peer.get(&peer).copied() else { return Ok(None) };
        let Some(entry) = table.open.get_mut(&id) else { return Ok(None) };
        if entry.questions >= QUESTIONS {
            return Err(TooManyQuestions);
        }
        entry.questions += 1;
        Ok(Some(Busy { id, places: self.clone(), kind: Kind::Question }))
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn insert(&mut self, peer: SocketAddr, for_probes: bool) -> (u64, CancellationToken) {
        let (id, end) = (self.next, CancellationToken::new());
        self.next += 1;
        let network = network(peer.ip());
        let entry = Entry {
            peer,
            network,
            for_probes,
            greeted: false,
            calls: 0,
            questions: 0,
            idle: Instant::now(),
            end: end.clone(),
        };
        self.open.insert(id, entry);
        self.by_peer.insert(peer, id);
        if for_probes {
            self.probes += 1;
        } else {
            self.by_address.add(network, 1);
        }
        (id, end)
    }

    /// Whether one more connection of `address` may do any work, if need be in place of another,
    /// which is closed.
    fn has_room(&mut self, address: IpAddr, bounds: &ConnectionBounds) -> bool {
        if bounds.per_address.is_some_and(|most| self.by_address.of(&address) >= most) {
            self.make_room(|entry| !entry.for_probes && entry.network == address)
        } else {
            self.open.len() - self.probes < bounds.total
                || self.make_room(|entry| !entry.for_probes)
        }
    }

    /// Makes a connection that is kept for probes one like all others, where there is room.
    fn promote(&mut self, id: u64, bounds: &ConnectionBounds) -> bool {
        let Some(address) = self.open.get(&id).map(|entry| entry.network) else { return false };
        if !self.has_room(address, bounds) {
            return false;
        }
        if let Some(entry) = self.open.get_mut(&id) {
            entry.for_probes = false;
            self.probes -= 1;
            self.by_address.add(address, 1);
        }
        true
    }

    /// Closes the longest idle connection among some, of the address that has most. Says whether
    /// there was one.
    fn make_room(&mut self, among: impl Fn(&Entry) -> bool) -> bool {
        let now = Instant::now();
        let idle = self.open.iter().filter(|(_, entry)| among(entry) && entry.makes_room(now));
        let goes = idle.max_by_key(|(_, entry)| {
            (self.by_address.of(&entry.network), now.saturating_duration_since(entry.idle))
        });
        let Some(id) = goes.map(|(id, _)| *id) else { return false };
        if let Some(entry) = self.remove(id) {
            tracing::debug!(peer = %entry.peer, "closed: idle, and its place is needed");
            entry.end.cancel();
        }
        true
    }

    fn remove(&mut self, id: u64) -> Option<Entry> {
        let entry = self.open.remove(&id)?;
        if self.by_peer.get(&entry.peer) == Some(&id) {
            self.by_peer.remove(&entry.peer);
        }
        if entry.for_probes {
            self.probes -= 1;
        } else {
            self.by_address.take(entry.network, 1);
        }
        Some(entry)
    }
}

impl Place {
    /// Cancelled when another connection needs the place.
    pub fn end(&self) -> &CancellationToken {
        &self.end
    }

    /// The client speaks HTTP/2.
    pub fn greeted(&self) {
        if let Some(entry) = self.places.table().open.get_mut(&self.id) {
            (entry.greeted, entry.idle) = (true, Instant::now());
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.table().remove(self.id);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some(entry) = self.places.table().open.get_mut(&self.id) {
            match self.kind {
                Kind::Call => (entry.calls, entry.idle) = (entry.calls - 1, Instant::now()),
                Kind::Question => entry.questions -= 1,
            }
        }
    }
}

/// What counts as one address: an IPv6 host has a /64 network to choose addresses from.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(total: usize, per_address: Option<usize>, probes: usize) -> Places {
        let greeting = Duration::from_secs(10);
        Places::new(ConnectionBounds { total, per_address, probes, greeting })
    }

    fn peer(host: u8, port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, host], port))
    }

    /// Lets a connection that has spoken count as idle for long.
    fn rested(place: &Place) {
        place.greeted();
        let mut table = place.places.table();
        let entry = table.open.get_mut(&place.id).expect("open");
        entry.idle = Instant::now().checked_sub(FRESH * 2).expect("the clock began before");
    }

    fn is_open(place: &Place) -> bool {
        !place.end().is_cancelled()
    }

    #[test]
    fn the_longest_silent_connection_of_the_heaviest_address_makes_room() {
        let places = places(3, None, 0);
        let alone = places.admit(peer(1, 1)).expect("room");
        let first = places.admit(peer(2, 1)).expect("room");
        let second = places.admit(peer(2, 2)).expect("room");
        let newcomer = places.admit(peer(3, 1)).expect("the place of another");
        assert!(is_open(&alone) && is_open(&second) && is_open(&newcomer));
        assert!(!is_open(&first));
        drop(first);
        assert_eq!(places.open(), 3, "it is not counted twice");
    }

    #[test]
    fn one_address_cannot_take_more_than_its_share() {
        let places = places(10, Some(2), 0);
        let stranger = places.admit(peer(1, 1)).expect("room");
        let held: Vec<_> = (1..=2).map(|port| places.admit(peer(2, port)).expect("room")).collect();
        held.iter().for_each(Place::greeted);
        assert!(places.admit(peer(2, 3)).is_none(), "both have just spoken");
        held.iter().for_each(rested);
        let third = places.admit(peer(2, 3)).expect("the place of its own first");
        assert!(is_open(&stranger) && is_open(&third));
        assert_eq!(held.iter().filter(|place| is_open(place)).count(), 1);
        let network = |last: u16| SocketAddr::from(([0x2001, 0xdb9, 0, 0, 0, 0, 0, last], 1));
        let one = places.admit(network(1)).expect("room");
        let _two = places.admit(network(2)).expect("room");
        let _three = places.admit(network(3)).expect("the place of the first of its network");
        assert!(!is_open(&one));
    }

    #[test]
    fn a_connection_kept_for_probes_works_when_there_is_room_again() {
        let places = places(1, None, 1);
        let held = places.admit(peer(1, 1)).expect("room");
        let busy = places.begin(peer(1, 1)).expect("may");
        rested(&held);
        let later = places.admit(peer(2, 1)).expect("kept for probes");
        assert_eq!(places.begin(peer(2, 1)).expect_err("no calls"), ProbesOnly);
        drop(busy);
        rested(&held);
        let call = places.begin(peer(2, 1)).expect("may call").expect("known");
        assert!(!is_open(&held) && is_open(&later));
        assert_eq!(places.table().probes, 0);
        drop((call, held, later));
        let table = places.table();
        assert!(table.open.is_empty() && table.by_address.is_empty());
    }

    #[test]
    fn a_connection_has_a_few_questions_under_way_and_is_not_at_work_for_them() {
        let places = places(2, None, 0);
        let asking = places.admit(peer(1, 1)).expect("room");
        let other = places.admit(peer(1, 2)).expect("room");
        let ask = || places.ask(peer(1, 1));
        let mut under_way: Vec<_> = (0..QUESTIONS).map(|_| ask().expect("may")).collect();
        assert_eq!(ask().expect_err("too many"), TooManyQuestions);
        assert!(places.ask(peer(1, 2)).expect("another connection's").is_some());
        under_way.pop();
        under_way.push(ask().expect("one is answered"));
        [&asking, &other].into_iter().for_each(rested);
        let busy = places.begin(peer(1, 2)).expect("may call");
        let newcomer = places.admit(peer(2, 1)).expect("its place");
        assert!(!is_open(&asking) && is_open(&other) && is_open(&newcomer));
        assert!(ask().expect("not known any more").is_none());
        drop((under_way, busy));
    }

    #[test]
    fn connections_at_work_stay_and_probes_find_room_beside_them() {
        let places = places(2, None, 1);
        let held: Vec<_> = (1..=2).map(|port| places.admit(peer(1, port)).expect("room")).collect();
        let busy: Vec<_> = (1..=2).map(|port| places.begin(peer(1, port)).expect("may")).collect();
        held.iter().for_each(rested);
        let probe = places.admit(peer(2, 1)).expect("kept for it");
        assert_eq!(places.begin(peer(2, 1)).expect_err("no calls"), ProbesOnly);
        let next = places.admit(peer(2, 2)).expect("the place of the other probe");
        assert!(!is_open(&probe) && is_open(&next) && held.iter().all(is_open));
        drop(busy);
        held.iter().for_each(rested);
        let third = places.admit(peer(3, 1)).expect("the place of one that is idle again");
        assert!(places.begin(peer(3, 1)).expect("may call").is_some());
        assert_eq!(held.iter().filter(|place| is_open(place)).count(), 1);
        drop((probe, next, held, third));
        let table = places.table();
        assert!(table.open.is_empty() && table.by_peer.is_empty() && table.by_address.is_empty());
        assert_eq!(table.probes, 0);
    }
}
