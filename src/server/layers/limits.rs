//! Bounds on the calls under way in the whole server.

use std::sync::Arc;

use http::Request;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;
use tonic::body::Body;

use super::admit::Admit;
use crate::server::fault::Fault;
use crate::server::methods::{Watched, is_health, watched};

/// Refuses calls beyond a number at once with RESOURCE_EXHAUSTED, reason `TOO_MANY_REQUESTS`. Health
/// checks need no place: a full server is not a dead one.
///
/// Streams that only watch may stay open for days with nothing to say. They take no place of a
/// call but one of as many for each kind, and are refused with the reason `TOO_MANY_WATCHES`.
#[derive(Debug, Clone)]
pub struct CallLimit {
    calls: Places,
    watches: [Places; Watched::COUNT],
}

#[derive(Debug, Clone)]
struct Places {
    places: Arc<Semaphore>,
    limit: usize,
}

impl Places {
    fn new(limit: usize) -> Self {
        // More than a semaphore can count is no limit at all.
        let limit = limit.min(Semaphore::MAX_PERMITS);
        Self { places: Arc::new(Semaphore::new(limit)), limit }
    }

    #[cfg(test)]
    fn under_way(&self) -> usize {
        self.limit - self.places.available_permits()
    }

    fn place(&self) -> Option<OwnedSemaphorePermit> {
        self.places.clone().try_acquire_owned().ok()
    }
}

impl CallLimit {
    /// At most `limit` calls under way, and `watches` streams of each kind that only watch.
    pub fn new(limit: usize, watches: usize) -> Self {
        let watches = std::array::from_fn(|_| Places::new(watches));
        Self { calls: Places::new(limit), watches }
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

    fn place(&self, path: &str) -> Result<Option<OwnedSemaphorePermit>, Status> {
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
        if let Some(place) = places.place() {
            return Ok(Some(place));
        }
        let limit = places.limit;
        let message = format!("{limit} {what}, the most this server takes at once ({name})");
        Err(Fault::full(reason, message, name, limit).into())
    }
}

impl Admit for CallLimit {
    type Held = Option<OwnedSemaphorePermit>;

    fn admit(&self, request: &mut Request<Body>) -> Result<Self::Held, Status> {
        self.place(request.uri().path())
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

    #[tokio::test]
    async fn calls_beyond_the_limit_are_refused_until_a_body_is_dropped() {
        let limit = CallLimit::new(2, 1);
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

    #[tokio::test]
    async fn health_needs_no_place() {
        let limit = CallLimit::new(1, 1);
        let service = AdmitLayer::new(limit.clone(), IDLE).layer(endless());
        let _held = call(service.clone(), "/a/B").await;
        let health = call(service, HEALTH).await;
        assert!(health.headers().get("grpc-status").is_none());
        assert_eq!(limit.under_way(), 1);
    }

    #[tokio::test]
    async fn watches_take_no_places_of_calls_nor_of_other_kinds() {
        let limit = CallLimit::new(1, 1);
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
        let limit = CallLimit::new(1, 1);
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
        let limit = CallLimit::new(1, 1);
        let service = AdmitLayer::new(limit.clone(), Duration::from_millis(10)).layer(endless());
        let mut body = call(service, "/a/B").await.into_body();
        let next = poll_fn(|context| http_body::Body::poll_frame(Pin::new(&mut body), context));
        tokio::time::timeout(Duration::from_millis(100), next).await.expect_err("never ends");
        assert_eq!(limit.under_way(), 1);
    }
}
