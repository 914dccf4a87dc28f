//! Bounds on the calls under way in the whole server.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::Request;
use tonic::Status;
use tonic::body::Body;

use super::MessageBudget;
use super::admit::Admit;
use super::tally::Tally;
use crate::encoder::queue::Origin;
use crate::server::fault::Fault;
use crate::server::methods::{Watched, is_health, watched};

/// Refuses calls beyond a number at once with RESOURCE_EXHAUSTED, reason `TOO_MANY_REQUESTS`. Health
/// checks need no place: a full server is not a dead one.
///
/// A caller may have as many places as are free besides: alone it gets half of them, and it takes as
/// many callers as halvings to fill them all. So may a connection have as many as its caller may
/// still take: callers without keys at one address are told apart by nothing else. Where there is no
/// place for a call, one whose request has been coming for too long makes room: of the same
/// connection or caller if that has its share, else of the caller with the most places. For a moment
/// both are under way.
///
/// Streams that only watch may stay open for days with nothing to say. They take no place of a
/// call but one of as many for each kind, and are refused with the reason `TOO_MANY_WATCHES`.
#[derive(Debug, Clone)]
pub struct CallLimit {
    calls: CallPlaces,
    watches: [CallPlaces; Watched::COUNT],
}

/// Places of calls of one kind.
#[derive(Debug, Clone)]
struct CallPlaces {
    held: Arc<Mutex<Held>>,
    limit: usize,
    /// Knows who has sent no whole request, where such calls make room.
    budget: Option<MessageBudget>,
}

#[derive(Debug, Default)]
struct Held {
    all: usize,
    by_caller: Tally<u64>,
    by_connection: Tally<Origin>,
}

/// A place of a call or a watch; given back when dropped.
#[derive(Debug)]
pub struct CallPlace {
    places: CallPlaces,
    origin: Option<Origin>,
}

/// There is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Full {
    All,
    /// This caller has so many, and no more than that are left.
    OneCaller(usize),
    /// This connection has so many, and its caller may have no more than that besides.
    OneConnection(usize),
}

impl CallPlaces {
    fn new(limit: usize, budget: Option<MessageBudget>) -> Self {
        Self { held: Arc::default(), limit, budget }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn under_way(&self) -> usize {
        self.held().all
    }

    fn place(&self, origin: Option<Origin>) -> Result<CallPlace, Full> {
        let mut held = self.held();
        if let Err(full) = self.has_room(&held, origin)
            && !self.make_room(&held, full, origin)
        {
            return Err(full);
        }
        held.all += 1;
        if let Some(origin) = origin {
            held.by_caller.add(origin.caller, 1);
            held.by_connection.add(origin, 1);
        }
        Ok(CallPlace { places: self.clone(), origin })
    }

    fn has_room(&self, held: &Held, origin: Option<Origin>) -> Result<(), Full> {
        let free = self.limit.saturating_sub(held.all);
        if free == 0 {
            return Err(Full::All);
        }
        let Some(origin) = origin else { return Ok(()) };
        let (its, here) = (held.by_caller.of(&origin.caller), held.by_connection.of(&origin));
        match free.saturating_sub(its) {
            0 => Err(Full::OneCaller(its)),
            left if here >= left => Err(Full::OneConnection(here)),
            _ => Ok(()),
        }
    }

    /// Has a call given up that takes the place of another one and has sent no whole request for too
    /// long: of the same connection or caller, where that has its share; where there is no place at
    /// all, of who asks for one and has some, or else of who has the most. Says whether there was one.
    fn make_room(&self, held: &Held, full: Full, origin: Option<Origin>) -> bool {
        let (Some(budget), Some(origin)) = (&self.budget, origin) else { return false };
        let caller = match full {
            Full::All if held.by_caller.of(&origin.caller) == 0 => held.by_caller.most(),
            _ => Some(origin.caller),
        };
        budget.give_up_awaited(self.limit, |its| match full {
            Full::OneConnection(_) => *its == origin,
            _ => Some(its.caller) == caller,
        })
    }
}

impl Drop for CallPlace {
    fn drop(&mut self) {
        let mut held = self.places.held();
        held.all -= 1;
        if let Some(origin) = self.origin {
            held.by_caller.take(origin.caller, 1);
            held.by_connection.take(origin, 1);
        }
    }
}

impl CallLimit {
    /// At most `limit` calls under way, and `watches` streams of each kind that only watch;
    /// `budget` knows whose request is not there whole.
    pub fn new(limit: usize, watches: usize, budget: MessageBudget) -> Self {
        let watches = std::array::from_fn(|_| CallPlaces::new(watches, None));
        Self { calls: CallPlaces::new(limit, Some(budget)), watches }
    }

    /// Calls under way now, health checks and watches not counted.
    #[cfg(test)]
    fn under_way(&self) -> usize {
        self.calls.under_way()
    }

    /// Watches of one kind that are open now.
    #[cfg(test)]
    fn watches(&self, kind: Watched) -> usize {
        self.watches[kind as usize].under_way()
    }

    fn place(&self, path: &str, origin: Option<Origin>) -> Result<Option<CallPlace>, Status> {
        let (places, name, reason, what) = match watched(path) {
            Some(kind) => (
                &self.watches[kind as usize],
                "max_watches",
                "TOO_MANY_WATCHES",
                "streams of this kind are open",
            ),
            None if is_health(path) => return Ok(None),
            None => (&self.calls, "max_requests", "TOO_MANY_REQUESTS", "calls are under way"),
        };
        let full = match places.place(origin) {
            Ok(place) => return Ok(Some(place)),
            Err(full) => full,
        };
        let (most, whose, why) = match full {
            Full::All => (places.limit, "", "the most this server takes at once"),
            Full::OneCaller(its) | Full::OneConnection(its) => {
                (its, " for you", "and nobody takes more places than are left for others")
            }
        };
        let message = format!("{most} {what}{whose}, {why} ({name})");
        Err(Fault::full(reason, message, name, most).into())
    }
}

impl Admit for CallLimit {
    type Held = Option<CallPlace>;

    fn admit(&self, request: &mut Request<Body>) -> Result<Self::Held, Status> {
        let origin = request.extensions().get::<Origin>().copied();
        self.place(request.uri().path(), origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::layers::AdmitLayer;
    use crate::server::layers::testing::{HEALTH, call, endless, status_of};
    use http::Response;
    use std::future::poll_fn;
    use std::pin::Pin;
    use std::time::Duration;
    use tonic::Code;
    use tonic_types::StatusExt;
    use tower::{Layer, service_fn};

    const IDLE: Duration = Duration::from_secs(60);

    fn limit(calls: usize, watches: usize) -> CallLimit {
        CallLimit::new(calls, watches, MessageBudget::new(1 << 20))
    }

    #[tokio::test]
    async fn calls_beyond_the_limit_are_refused_until_a_body_is_dropped() {
        let limit = limit(2, 1);
        let service = AdmitLayer::new(limit.clone(), IDLE).layer(endless());
        let first = call(service.clone(), "/a/B").await;
        let second = call(service.clone(), "/a/B").await;
        let refused = status_of(call(service.clone(), "/a/B").await);
        assert_eq!(refused.code(), Code::ResourceExhausted);
        assert_eq!(refused.metadata().get("retry-after").expect("retry-after"), "1");
        let info = refused.get_details_error_info().expect("reason");
        assert_eq!(info.reason, "TOO_MANY_REQUESTS");
        let told = [&info.metadata["limit"], &info.metadata["allowed"]];
        assert_eq!(told, ["max_requests", "2"]);
        drop(first);
        assert_eq!(limit.under_way(), 1);
        let third = call(service, "/a/B").await;
        assert!(third.headers().get("grpc-status").is_none());
        drop((second, third));
        assert_eq!(limit.under_way(), 0);
    }

    /// A call on a connection of its own.
    fn of(caller: u64, connection: u64) -> Option<Origin> {
        Some(Origin { caller, connection })
    }

    #[test]
    fn a_caller_takes_no_more_places_than_are_free_and_there_is_one_for_a_newcomer() {
        let places = CallPlaces::new(64, None);
        let mut open = Vec::new();
        for (callers, most) in [(1, 32), (2, 21), (7, 8), (20, 3)] {
            open.clear();
            for round in 0..40 {
                let one_each = (0..callers).map(|caller| places.place(of(caller, round)));
                open.extend(one_each.filter_map(Result::ok));
                assert!(places.under_way() < 64, "round {round}");
            }
            let held = places.held().by_caller.largest();
            assert!(held.is_some_and(|held| (most..=most + 1).contains(&held)), "{held:?}");
            assert!(places.place(of(u64::MAX, 0)).is_ok(), "a newcomer beside {callers}");
        }
        open.clear();
        let held = places.held();
        assert!(held.all == 0 && held.by_caller.is_empty() && held.by_connection.is_empty());
    }

    #[test]
    fn a_connection_takes_no_more_than_its_caller_has_left() {
        let places = CallPlaces::new(64, None);
        for connections in [1, 2, 5] {
            let mut open = Vec::new();
            for _ in 0..40 {
                let one_each = (0..connections).map(|connection| places.place(of(1, connection)));
                open.extend(one_each.filter_map(Result::ok));
            }
            let fair = 64 / (2 * connections as usize + 1);
            let most = places.held().by_connection.largest();
            assert!(most.is_some_and(|most| (fair..=fair + 1).contains(&most)), "{most:?}");
            let refused = places.place(of(1, 0)).map(drop);
            assert!(
                matches!(refused, Err(Full::OneConnection(its)) if its <= fair + 1),
                "{refused:?}"
            );
            assert!(places.place(of(1, 99)).is_ok(), "another connection beside {connections}");
        }
    }

    #[tokio::test]
    async fn who_has_its_share_is_told_and_others_are_let_in() {
        use crate::server::layers::testing::{request, send};
        let service = AdmitLayer::new(limit(4, 4), IDLE).layer(endless());
        let of = |caller: u64, path: &str| {
            let mut request = request(path);
            request.extensions_mut().insert(Origin { caller, connection: caller });
            send(service.clone(), request)
        };
        for path in ["/a/B", "/grpc.health.v1.Health/Watch"] {
            let held = [of(1, path).await, of(1, path).await];
            assert!(held.iter().all(|answer| answer.headers().get("grpc-status").is_none()));
            let refused = status_of(of(1, path).await);
            let info = refused.get_details_error_info().expect("a reason");
            assert_eq!(
                (refused.code(), &*info.metadata["allowed"]),
                (Code::ResourceExhausted, "2")
            );
            let other = of(2, path).await;
            assert!(other.headers().get("grpc-status").is_none(), "{path}");
        }
    }

    #[test]
    fn a_call_that_is_sent_by_half_for_too_long_makes_room_for_one_more() {
        let limit = limit(4, 4);
        let place = |caller: u64| limit.place("/a/B", of(caller, caller)).map_err(|_| ());
        let budget = limit.calls.budget.as_ref().expect("calls make room");
        let open = |caller: u64, has_place| budget.open(of(caller, caller), has_place);
        let mut held = vec![place(1).expect("free"), place(1).expect("free")];
        let (half, whole, question) = (open(1, true), open(1, true), open(1, false));
        whole.received(9, true, false).expect("room");
        assert!(place(1).is_err(), "it has not been coming for long");
        budget.age(Duration::from_secs(10));
        held.push(place(2).expect("free"));
        assert!(place(2).is_err(), "another caller's makes no room for who has its share");
        held.push(place(1).expect("the half one makes room"));
        assert!(half.give_up().is_cancelled());
        assert!(!whole.give_up().is_cancelled() && !question.give_up().is_cancelled());
        assert!(place(1).is_err() && place(2).is_err(), "it does so once");
        let status = Status::from(half.refusal());
        let info = status.get_details_error_info().expect("a reason");
        let told = (&*info.reason, &*info.metadata["limit"]);
        assert_eq!(told, ("TOO_MANY_REQUESTS", "max_requests"));
    }

    #[test]
    fn where_there_is_no_place_at_all_who_has_the_most_makes_room_for_a_newcomer_alone() {
        let limit = limit(4, 4);
        let place = |caller: u64| limit.place("/a/B", of(caller, caller)).map_err(|_| ());
        let mut held: Vec<_> =
            [1, 1, 2, 3].into_iter().map(|caller| place(caller).expect("free")).collect();
        let budget = limit.calls.budget.as_ref().expect("calls make room");
        let of_each: Vec<_> = (1..4).map(|caller| budget.open(of(caller, caller), true)).collect();
        budget.age(Duration::from_secs(10));
        held.push(place(9).expect("a newcomer"));
        let given_up: Vec<_> = of_each.iter().map(|one| one.give_up().is_cancelled()).collect();
        assert_eq!(given_up, [true, false, false]);
        assert!(place(1).is_err(), "who has some takes none of others'");
        held.push(place(2).expect("but of its own"));
        assert!(of_each[1].give_up().is_cancelled() && !of_each[2].give_up().is_cancelled());
    }

    #[tokio::test]
    async fn health_needs_no_place() {
        let limit = limit(1, 1);
        let service = AdmitLayer::new(limit.clone(), IDLE).layer(endless());
        let _held = call(service.clone(), "/a/B").await;
        let health = call(service, HEALTH).await;
        assert!(health.headers().get("grpc-status").is_none());
        assert_eq!(limit.under_way(), 1);
    }

    #[tokio::test]
    async fn watches_take_no_places_of_calls_nor_of_other_kinds() {
        let limit = limit(1, 1);
        let service = AdmitLayer::new(limit.clone(), IDLE).layer(endless());
        let kinds = [
            "/pairwright.v1.JobService/WatchJob",
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            "/grpc.health.v1.Health/Watch",
        ];
        let mut open = Vec::new();
        for path in kinds {
            open.push(call(service.clone(), path).await);
            let refused = status_of(call(service.clone(), path).await);
            let info = refused.get_details_error_info().expect("reason");
            assert_eq!(
                (refused.code(), &*info.reason),
                (Code::ResourceExhausted, "TOO_MANY_WATCHES")
            );
        }
        assert_eq!((limit.under_way(), limit.watches(Watched::Jobs)), (0, 1));
        let passed = call(service, "/a/B").await;
        assert!(passed.headers().get("grpc-status").is_none());
        drop(open);
        assert_eq!(limit.watches(Watched::Reflection) + limit.watches(Watched::Health), 0);
    }

    #[tokio::test]
    async fn a_body_that_is_not_read_gives_its_place_back_and_tells_it_when_it_is() {
        let limit = limit(1, 1);
        let two = service_fn(|_| async {
            let frame = |byte: u8| http_body::Frame::data(bytes::Bytes::from(vec![byte]));
            let frames = [1, 2].map(|byte| Ok::<_, std::convert::Infallible>(frame(byte)));
            let body = http_body_util::StreamBody::new(futures::stream::iter(frames));
            Ok(Response::new(Body::new(body)))
        });
        let service = AdmitLayer::new(limit.clone(), Duration::from_millis(30)).layer(two);
        let mut body = call(service, "/a/B").await.into_body();
        let mut next = async || {
            poll_fn(|context| http_body::Body::poll_frame(Pin::new(&mut body), context)).await
        };
        assert!(next().await.is_some_and(|frame| frame.is_ok()));
        assert_eq!(limit.under_way(), 1);
        let waiting = async {
            while limit.under_way() > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(IDLE, waiting).await.expect("the place comes back");
        let end = next().await.expect("a frame").expect("no error");
        let status = Status::from_header_map(end.trailers_ref().expect("the end")).expect("status");
        assert_eq!(status.get_details_error_info().expect("a reason").reason, "STREAM_IDLE");
        assert!(next().await.is_none());
    }

    #[tokio::test]
    async fn a_body_that_waits_for_the_server_keeps_its_place() {
        let limit = limit(1, 1);
        let service = AdmitLayer::new(limit.clone(), Duration::from_millis(10)).layer(endless());
        let mut body = call(service, "/a/B").await.into_body();
        let next = poll_fn(|context| http_body::Body::poll_frame(Pin::new(&mut body), context));
        tokio::time::timeout(Duration::from_millis(100), next).await.expect_err("never ends");
        assert_eq!(limit.under_way(), 1);
    }
}
