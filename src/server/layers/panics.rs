//! A panic in a handler ends that call, not its connection with all the other calls on it.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};

use crate::server::fault::Fault;

/// Answers INTERNAL, reason `PANIC`, when a handler panics before its response has begun. What it
/// said goes to the log only.
#[derive(Debug, Clone, Copy, Default)]
pub struct PanicLayer;

impl<S> Layer<S> for PanicLayer {
    type Service = CatchPanics<S>;

    fn layer(&self, inner: S) -> CatchPanics<S> {
        CatchPanics { inner }
    }
}

/// The service of [`PanicLayer`].
#[derive(Debug, Clone)]
pub struct CatchPanics<S> {
    inner: S,
}

impl<S> Service<Request<Body>> for CatchPanics<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<Body>, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let path = request.uri().path().to_owned();
        // The handler's own state dies with it; what it shares is behind locks that poison.
        let answer = AssertUnwindSafe(self.inner.call(request)).catch_unwind();
        Box::pin(answer.map(move |result| result.unwrap_or_else(|panic| Ok(told(&path, &*panic)))))
    }
}

fn told(path: &str, panic: &(dyn Any + Send)) -> Response<Body> {
    let said = panic.downcast_ref::<&str>().copied();
    let said = said.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(method = path, "panic in a handler: {}", said.unwrap_or("no text"));
    let message = "the server met a fault of its own; please report it";
    Status::from(Fault::new(Code::Internal, "PANIC", message)).into_http()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::layers::testing::{call, endless, status_of};
    use tower::service_fn;

    #[tokio::test]
    async fn a_panic_becomes_internal_without_its_text() {
        let panicking = service_fn(|_| async { panic!("secret path") });
        let status = status_of(call(PanicLayer.layer(panicking), "/a/B").await);
        assert_eq!(status.code(), Code::Internal);
        assert!(!status.message().contains("secret"), "{status}");
    }

    #[tokio::test]
    async fn other_answers_pass() {
        let response = call(PanicLayer.layer(endless()), "/a/B").await;
        assert!(response.headers().get("grpc-status").is_none());
    }
}
