//! Ending in order: say so, take nothing new, let calls finish, then go.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use crate::base::signal::interrupted;
use crate::server::methods::is_health;

/// How far the end of the server has come. Clones share it.
///
/// To wire it: [`Shutdown::on_signals`]; when [`Shutdown::draining`] resolves, set every health
/// status to NOT_SERVING and let tonic's shutdown signal resolve; run the server inside
/// [`Shutdown::run`], which gives it up when the time to drain is over.
#[derive(Debug, Clone)]
pub struct Shutdown {
    phase: watch::Sender<Phase>,
    drain: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Serving,
    Draining { until: Instant },
    Over,
}

impl Shutdown {
    /// `drain` is the time calls get to finish.
    pub fn new(drain: Duration) -> Self {
        Self { phase: watch::Sender::new(Phase::Serving), drain }
    }

    /// Begins to drain. Later calls change nothing.
    pub fn begin(&self) {
        let until = Instant::now() + self.drain;
        self.phase.send_if_modified(|phase| {
            let serving = *phase == Phase::Serving;
            if serving {
                *phase = Phase::Draining { until };
            }
            serving
        });
    }

    /// Ends at once.
    pub fn abort(&self) {
        self.phase.send_replace(Phase::Over);
    }

    /// Whether the server takes nothing new any more.
    pub fn is_draining(&self) -> bool {
        *self.phase.borrow() != Phase::Serving
    }

    /// When the time to drain is over; none while serving.
    pub fn deadline(&self) -> Option<Instant> {
        match *self.phase.borrow() {
            Phase::Serving => None,
            Phase::Draining { until } => Some(until),
            Phase::Over => Some(Instant::now()),
        }
    }

    /// Resolves when draining begins.
    pub async fn draining(&self) {
        self.reaches(|phase| *phase != Phase::Serving).await;
    }

    /// Resolves when the time to drain is over, or at once after [`Shutdown::abort`].
    pub async fn over(&self) {
        self.draining().await;
        let until = self.deadline().unwrap_or_else(Instant::now);
        tokio::select! {
            () = tokio::time::sleep_until(until) => {}
            () = self.reaches(|phase| *phase == Phase::Over) => {}
        }
    }

    async fn reaches(&self, wanted: impl FnMut(&Phase) -> bool) {
        // `self` holds the sender, so the channel cannot close meanwhile.
        let _ = self.phase.subscribe().wait_for(wanted).await;
    }

    /// Runs `server` to its end, or until the time to drain is over: then None, and what is left
    /// of it ends with the runtime.
    pub async fn run<F: Future>(&self, server: F) -> Option<F::Output> {
        tokio::select! {
            output = server => Some(output),
            () = self.over() => None,
        }
    }

    /// Watches for Ctrl-C and SIGTERM: the first begins to drain, the second ends at once.
    pub fn on_signals(&self) {
        let shutdown = self.clone();
        tokio::spawn(async move {
            interrupted().await;
            let seconds = shutdown.drain.as_secs();
            tracing::info!(seconds, "stopping: letting calls finish (again to give them up)");
            shutdown.begin();
            interrupted().await;
            tracing::warn!("stopping at once");
            shutdown.abort();
        });
    }
}

/// Ends health watches when draining begins, once they have told NOT_SERVING: a watch never ends
/// by itself, and each would hold the server until the time to drain is over.
#[derive(Debug, Clone)]
pub struct DrainLayer {
    shutdown: Shutdown,
}

impl DrainLayer {
    /// Follows `shutdown`.
    pub fn new(shutdown: Shutdown) -> Self {
        Self { shutdown }
    }
}

impl<S> Layer<S> for DrainLayer {
    type Service = Drain<S>;

    fn layer(&self, inner: S) -> Drain<S> {
        Drain { inner, shutdown: self.shutdown.clone() }
    }
}

/// The service of [`DrainLayer`].
#[derive(Debug, Clone)]
pub struct Drain<S> {
    inner: S,
    shutdown: Shutdown,
}

impl<S> Service<Request<Body>> for Drain<S>
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
        let health = is_health(request.uri().path());
        let answer = self.inner.call(request);
        if !health {
            return Box::pin(answer);
        }
        let shutdown = self.shutdown.clone();
        let ending = move |body| Body::new(Watch { body, end: Some(last_words(shutdown).boxed()) });
        Box::pin(answer.map(|result| result.map(|response| response.map(ending))))
    }
}

/// The time a watch has to pass on NOT_SERVING after draining has begun.
const LAST_WORDS: Duration = Duration::from_millis(100);

async fn last_words(shutdown: Shutdown) {
    shutdown.draining().await;
    tokio::time::sleep(LAST_WORDS).await;
}

struct Watch {
    body: Body,
    end: Option<BoxFuture<'static, ()>>,
}

impl http_body::Body for Watch {
    type Data = bytes::Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<bytes::Bytes>, Status>>> {
        let Some(end) = &mut self.end else { return Poll::Ready(None) };
        let ended = end.as_mut().poll(context).is_ready();
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if polled.is_pending() && ended {
            self.end = None;
            return Poll::Ready(Some(Ok(Frame::trailers(going_away()?))));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.end.is_none() || self.body.is_end_stream()
    }
}

fn going_away() -> Result<HeaderMap, Status> {
    let mut trailers = HeaderMap::new();
    Status::unavailable("the server is shutting down").add_header(&mut trailers)?;
    Ok(trailers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::layers::testing::{HEALTH, call, endless};
    use std::future::{pending, poll_fn, ready};

    #[tokio::test]
    async fn draining_ends_when_its_time_is_over() {
        let drain = Duration::from_millis(40);
        let shutdown = Shutdown::new(drain);
        assert!(!shutdown.is_draining() && shutdown.deadline().is_none());
        let begun = Instant::now();
        shutdown.begin();
        let deadline = shutdown.deadline().expect("draining");
        shutdown.begin();
        shutdown.draining().await;
        assert_eq!(shutdown.deadline(), Some(deadline), "a second wish to drain moved the end");
        assert_eq!(shutdown.run(pending::<()>()).await, None);
        assert!(begun.elapsed() >= drain);
    }

    #[tokio::test]
    async fn a_second_wish_ends_at_once() {
        let shutdown = Shutdown::new(Duration::from_secs(600));
        shutdown.begin();
        shutdown.abort();
        let over = tokio::time::timeout(Duration::from_secs(60), shutdown.over()).await;
        over.expect("at once");
    }

    #[tokio::test]
    async fn a_server_that_finishes_is_not_given_up() {
        let shutdown = Shutdown::new(Duration::from_secs(30));
        assert_eq!(shutdown.run(ready(7)).await, Some(7));
    }

    #[tokio::test]
    async fn health_watches_end_with_unavailable() {
        let shutdown = Shutdown::new(Duration::from_secs(30));
        let service = DrainLayer::new(shutdown.clone()).layer(endless());
        let mut body = call(service, HEALTH).await.into_body();
        shutdown.begin();
        let mut next = async || {
            poll_fn(|context| http_body::Body::poll_frame(Pin::new(&mut body), context)).await
        };
        let frame = next().await.expect("a frame").expect("no error");
        let trailers = frame.into_trailers().expect("trailers");
        assert_eq!(trailers["grpc-status"], "14");
        assert!(next().await.is_none());
    }
}
