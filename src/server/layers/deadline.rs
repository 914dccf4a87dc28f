//! Deadlines that callers set with `grpc-timeout`.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures::future::Either;
use http::{HeaderMap, Request, Response};
use tokio::time::Sleep;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};

use super::{Answer, refuse};
use crate::server::Methods;
use crate::server::fault::Fault;

/// The moment after which the caller no longer wants the answer. A request extension; absent when
/// neither caller nor server set one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(pub Instant);

/// Puts a [`Deadline`] into each request, answers DEADLINE_EXCEEDED without calling the service
/// when it is over already, and gives the service up when the response has not begun by then.
/// Unary calls get at most `cap`; a stream that has begun ends by itself.
#[derive(Debug, Clone)]
pub struct DeadlineLayer {
    cap: Option<Duration>,
    methods: Methods,
}

impl DeadlineLayer {
    /// `cap` bounds every call that `methods` does not know as a stream.
    pub fn new(cap: Option<Duration>, methods: Methods) -> Self {
        Self { cap, methods }
    }

    fn allowed(&self, request: &Request<Body>) -> Result<Option<Duration>, Status> {
        let asked = asked(request.headers())?;
        let cap = self.cap.filter(|_| !self.methods.is_streaming(request.uri().path()));
        Ok(asked.into_iter().chain(cap).min())
    }
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = WithDeadline<S>;

    fn layer(&self, inner: S) -> WithDeadline<S> {
        WithDeadline { inner, layer: self.clone() }
    }
}

/// The service of [`DeadlineLayer`].
#[derive(Debug, Clone)]
pub struct WithDeadline<S> {
    inner: S,
    layer: DeadlineLayer,
}

impl<S> Service<Request<Body>> for WithDeadline<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Answer<Race<S::Future>, S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let allowed = match self.layer.allowed(&request) {
            Err(status) => return refuse(status),
            Ok(Some(time)) if time.is_zero() => return refuse(exceeded(time)),
            Ok(allowed) => allowed,
        };
        // Beyond what the clock can count, there is no deadline.
        let now = tokio::time::Instant::now().into_std();
        let until = allowed.and_then(|time| now.checked_add(time));
        if let Some(until) = until {
            request.extensions_mut().insert(Deadline(until));
        }
        let answer = Box::pin(self.inner.call(request));
        let timer = until
            .zip(allowed)
            .map(|(until, time)| (Box::pin(tokio::time::sleep_until(until.into())), time));
        Either::Right(Race { answer, timer })
    }
}

/// A response's head or the deadline, whichever comes first.
pub struct Race<F> {
    answer: Pin<Box<F>>,
    timer: Option<(Pin<Box<Sleep>>, Duration)>,
}

impl<F, E> Future for Race<F>
where
    F: Future<Output = Result<Response<Body>, E>>,
{
    type Output = Result<Response<Body>, E>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(answer) = self.answer.as_mut().poll(context) {
            return Poll::Ready(answer);
        }
        let Some((timer, allowed)) = &mut self.timer else { return Poll::Pending };
        ready!(timer.as_mut().poll(context));
        Poll::Ready(Ok(exceeded(*allowed).into_http()))
    }
}

fn exceeded(allowed: Duration) -> Status {
    Fault::late("no answer", allowed).into()
}

fn asked(headers: &HeaderMap) -> Result<Option<Duration>, Status> {
    let Some(value) = headers.get("grpc-timeout") else { return Ok(None) };
    let parsed = value.to_str().ok().and_then(parse);
    parsed.map(Some).ok_or_else(|| {
        let shown = String::from_utf8_lossy(value.as_bytes()).into_owned();
        let message =
            format!("grpc-timeout {shown:?} is not 1 to 8 digits and one of H, M, S, m, u, n");
        Fault::new(Code::InvalidArgument, "TIMEOUT_MALFORMED", message).into()
    })
}

/// `TimeoutValue TimeoutUnit` of the gRPC protocol.
fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(value * 3600)),
        "M" => Some(Duration::from_secs(value * 60)),
        "S" => Some(Duration::from_secs(value)),
        "m" => Some(Duration::from_millis(value)),
        "u" => Some(Duration::from_micros(value)),
        "n" => Some(Duration::from_nanos(value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::layers::testing::{call, endless, never, request, send, status_of};
    use tonic_types::StatusExt;
    use tower::service_fn;

    const METHODS: Methods = Methods { unary: &["/a/Unary"], streaming: &["/a/Stream"] };

    fn timed(path: &str, timeout: &str) -> Request<Body> {
        let mut request = request(path);
        request.headers_mut().insert("grpc-timeout", timeout.parse().expect("a header value"));
        request
    }

    #[test]
    fn every_unit_is_read() {
        for (text, wanted) in [
            ("2H", Duration::from_secs(7200)),
            ("3M", Duration::from_secs(180)),
            ("99999999S", Duration::from_secs(99_999_999)),
            ("5m", Duration::from_millis(5)),
            ("6u", Duration::from_micros(6)),
            ("7n", Duration::from_nanos(7)),
        ] {
            assert_eq!(parse(text), Some(wanted), "{text}");
        }
        for text in ["", "S", "5", "5s", "-5S", "+5S", "123456789S", "5.0S", "5 S", "5é"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[tokio::test]
    async fn malformed_and_expired_timeouts_never_reach_the_service() {
        let untouched = service_fn(|_| async { unreachable!("must not be called") });
        let service = DeadlineLayer::new(None, METHODS).layer(untouched);
        let status = status_of(send(service.clone(), timed("/a/Unary", "soon")).await);
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.get_details_error_info().expect("info").reason, "TIMEOUT_MALFORMED");
        let status = status_of(send(service, timed("/a/Unary", "0m")).await);
        assert_eq!(status.code(), Code::DeadlineExceeded);
    }

    #[tokio::test]
    async fn the_shorter_of_cap_and_wish_ends_a_unary_call() {
        let layer = DeadlineLayer::new(Some(Duration::from_millis(50)), METHODS);
        for (timeout, allowed) in [("20m", 20), ("60S", 50)] {
            let begun = Instant::now();
            let service = layer.layer(service_fn(never));
            let status = status_of(send(service, timed("/a/Unary", timeout)).await);
            assert!(begun.elapsed() >= Duration::from_millis(allowed), "{timeout}");
            assert_eq!(status.code(), Code::DeadlineExceeded);
            let info = status.get_details_error_info().expect("info");
            assert_eq!(info.metadata["allowed_ms"], allowed.to_string());
        }
    }

    #[tokio::test]
    async fn the_service_sees_the_deadline_and_streams_are_not_capped() {
        let seen = service_fn(|request: Request<Body>| async move {
            let mut response = Response::new(Body::empty());
            if let Some(deadline) = request.extensions().get::<Deadline>() {
                response.extensions_mut().insert(*deadline);
            }
            Ok(response)
        });
        let service = DeadlineLayer::new(Some(Duration::from_secs(10)), METHODS).layer(seen);
        let before = Instant::now();
        let unary = call(service.clone(), "/a/Unary").await;
        let deadline = unary.extensions().get::<Deadline>().expect("capped").0;
        assert!(deadline >= before + Duration::from_secs(10));
        assert!(deadline <= Instant::now() + Duration::from_secs(10));
        let stream = call(service, "/a/Stream").await;
        assert!(stream.extensions().get::<Deadline>().is_none());
    }

    #[tokio::test]
    async fn a_head_in_time_passes_with_its_body() {
        let service = DeadlineLayer::new(None, METHODS).layer(endless());
        let response = send(service, timed("/a/Stream", "60S")).await;
        assert!(response.headers().get("grpc-status").is_none());
        assert!(!http_body::Body::is_end_stream(response.body()));
    }
}
