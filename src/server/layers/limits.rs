//! A bound on the calls under way in the whole server.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{Either, Map};
use http::{Request, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};

use super::held::hold;
use super::{Answer, refuse};
use crate::server::fault::Fault;
use crate::server::methods::is_health;

/// When to come back: most calls are far shorter.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Refuses calls beyond a number at once with RESOURCE_EXHAUSTED, reason `TOO_MANY_REQUESTS`. A
/// call keeps its place until its response body ends or is dropped, or its client has not read for
/// `idle`. Health calls need no place: a full server is not a dead one.
#[derive(Debug, Clone)]
pub struct CallLimitLayer {
    places: Arc<Semaphore>,
    limit: usize,
    idle: Duration,
}

impl CallLimitLayer {
    /// At most `limit` calls under way; a client may leave an answer unread for `idle`.
    pub fn new(limit: usize, idle: Duration) -> Self {
        // More than a semaphore can count is no limit at all.
        let limit = limit.min(Semaphore::MAX_PERMITS);
        Self { places: Arc::new(Semaphore::new(limit)), limit, idle }
    }

    /// Calls under way now, health calls not counted.
    pub fn under_way(&self) -> usize {
        self.limit - self.places.available_permits()
    }

    fn place(&self) -> Result<OwnedSemaphorePermit, Status> {
        self.places.clone().try_acquire_owned().map_err(|_| {
            let limit = self.limit.to_string();
            let message =
                format!("{limit} calls are under way, the most this server takes at once");
            let fault = Fault::new(Code::ResourceExhausted, "TOO_MANY_REQUESTS", message);
            fault.with("limit", limit).retry_after(RETRY_AFTER).into()
        })
    }
}

impl<S> Layer<S> for CallLimitLayer {
    type Service = CallLimit<S>;

    fn layer(&self, inner: S) -> CallLimit<S> {
        CallLimit { inner, limit: self.clone() }
    }
}

/// The service of [`CallLimitLayer`].
#[derive(Debug, Clone)]
pub struct CallLimit<S> {
    inner: S,
    limit: CallLimitLayer,
}

type Keep<E> =
    Box<dyn FnOnce(Result<Response<Body>, E>) -> Result<Response<Body>, E> + Send + 'static>;

impl<S> Service<Request<Body>> for CallLimit<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Answer<Either<S::Future, Map<S::Future, Keep<S::Error>>>, S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if is_health(request.uri().path()) {
            return Either::Right(Either::Left(self.inner.call(request)));
        }
        match self.limit.place() {
            Err(status) => refuse(status),
            Ok(place) => {
                let idle = self.limit.idle;
                let keep: Keep<S::Error> = Box::new(move |result| {
                    result.map(|response| response.map(|body| hold(body, place, idle)))
                });
                Either::Right(Either::Right(self.inner.call(request).map(keep)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::layers::testing::{HEALTH, call, endless, status_of};
    use std::future::poll_fn;
    use std::pin::Pin;
    use tonic_types::StatusExt;
    use tower::service_fn;

    const IDLE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn calls_beyond_the_limit_are_refused_until_a_body_is_dropped() {
        let layer = CallLimitLayer::new(2, IDLE);
        let service = layer.layer(endless());
        let first = call(service.clone(), "/a/B").await;
        let second = call(service.clone(), "/a/B").await;
        let refused = status_of(call(service.clone(), "/a/B").await);
        assert_eq!(refused.code(), Code::ResourceExhausted);
        assert_eq!(refused.metadata().get("retry-after").expect("retry-after"), "1");
        let info = refused.get_details_error_info().expect("reason");
        assert_eq!((info.reason.as_str(), &info.metadata["limit"][..]), ("TOO_MANY_REQUESTS", "2"));
        drop(first);
        assert_eq!(layer.under_way(), 1);
        let third = call(service, "/a/B").await;
        assert!(third.headers().get("grpc-status").is_none());
        drop((second, third));
        assert_eq!(layer.under_way(), 0);
    }

    #[tokio::test]
    async fn health_needs_no_place() {
        let layer = CallLimitLayer::new(1, IDLE);
        let service = layer.layer(endless());
        let _held = call(service.clone(), "/a/B").await;
        let health = call(service, HEALTH).await;
        assert!(health.headers().get("grpc-status").is_none());
        assert_eq!(layer.under_way(), 1);
    }

    #[tokio::test]
    async fn a_body_that_is_not_read_gives_its_place_back_and_goes_on_when_it_is() {
        let layer = CallLimitLayer::new(1, Duration::from_millis(30));
        let two = service_fn(|_| async {
            let frame = |byte: u8| http_body::Frame::data(bytes::Bytes::from(vec![byte]));
            let frames = [1, 2].map(|byte| Ok::<_, std::convert::Infallible>(frame(byte)));
            let body = http_body_util::StreamBody::new(futures::stream::iter(frames));
            Ok(Response::new(Body::new(body)))
        });
        let mut body = call(layer.layer(two), "/a/B").await.into_body();
        let mut next = async || {
            poll_fn(|context| http_body::Body::poll_frame(Pin::new(&mut body), context)).await
        };
        assert!(next().await.is_some_and(|frame| frame.is_ok()));
        assert_eq!(layer.under_way(), 1);
        let waiting = async {
            while layer.under_way() > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(IDLE, waiting).await.expect("the place comes back");
        assert!(next().await.is_some_and(|frame| frame.is_ok()));
        assert!(next().await.is_none());
    }

    #[tokio::test]
    async fn a_body_that_waits_for_the_server_keeps_its_place() {
        let layer = CallLimitLayer::new(1, Duration::from_millis(10));
        let mut body = call(layer.layer(endless()), "/a/B").await.into_body();
        let next = poll_fn(|context| http_body::Body::poll_frame(Pin::new(&mut body), context));
        tokio::time::timeout(Duration::from_millis(100), next).await.expect_err("never ends");
        assert_eq!(layer.under_way(), 1);
    }
}
