//! Reflection streams on which the client says nothing are ended, as the service's own streams are.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use tokio::time::Instant;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use super::shutdown::Ending;
use crate::server::fault::Fault;
use crate::server::methods::{Watched, watched};

/// Ends reflection streams with STREAM_IDLE when nothing came for a while. A client that watches a
/// job, or health, has nothing to say.
#[derive(Debug, Clone)]
pub struct SilenceLayer {
    idle: Duration,
}

impl SilenceLayer {
    /// A stream may be silent for `idle`.
    pub fn new(idle: Duration) -> Self {
        Self { idle }
    }
}

impl<S> Layer<S> for SilenceLayer {
    type Service = Silence<S>;

    fn layer(&self, inner: S) -> Silence<S> {
        Silence { inner, idle: self.idle }
    }
}

/// The service of [`SilenceLayer`].
#[derive(Debug, Clone)]
pub struct Silence<S> {
    inner: S,
    idle: Duration,
}

impl<S> Service<Request<Body>> for Silence<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<Body>, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if watched(request.uri().path()) != Some(Watched::Reflection) {
            return self.inner.call(request).boxed();
        }
        let (heard, idle) = (Heard::default(), self.idle);
        let noted = heard.clone();
        let answer =
            self.inner.call(request.map(|body| Body::new(Listened { body, heard: noted })));
        let end = async move {
            heard.silent_for(idle).await;
            Status::from(Fault::idle(idle))
        };
        let ending = move |body| Ending::body(body, end);
        answer.map(|result| result.map(|response| response.map(ending))).boxed()
    }
}

/// When the client last said something.
#[derive(Debug, Clone)]
struct Heard(Arc<Mutex<Instant>>);

impl Default for Heard {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }
}

impl Heard {
    fn now(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    async fn silent_for(&self, idle: Duration) {
        loop {
            let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let until = last + idle;
            if until <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }
}

struct Listened {
    body: Body,
    heard: Heard,
}

impl http_body::Body for Listened {
    type Data = bytes::Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<bytes::Bytes>, Status>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if polled.is_ready() {
            self.heard.now();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::layers::testing::{call, endless};
    use std::future::poll_fn;
    use tonic_types::StatusExt;

    const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

    #[tokio::test]
    async fn a_silent_reflection_stream_is_ended_and_a_watch_is_not() {
        let layer = SilenceLayer::new(Duration::from_millis(30));
        let next = async |path: &str| {
            let mut body = call(layer.layer(endless()), path).await.into_body();
            let frame =
                poll_fn(|context| http_body::Body::poll_frame(Pin::new(&mut body), context));
            tokio::time::timeout(Duration::from_millis(500), frame).await
        };
        let end = next(REFLECTION).await.expect("in time").expect("a frame").expect("no error");
        let status = Status::from_header_map(end.trailers_ref().expect("the end")).expect("status");
        assert_eq!(status.get_details_error_info().expect("a reason").reason, "STREAM_IDLE");
        next("/pairwright.v1.JobService/WatchJob").await.expect_err("goes on");
    }
}
