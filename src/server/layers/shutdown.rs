//! Ending in order: say so for a while, take nothing new, let calls finish, then go.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body::Frame;
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use super::trailers;
use crate::base::signal::{Asked, interrupted};
use crate::server::methods::{is_health, watched};

/// How far the end of the server has come. Clones share it.
///
/// To wire it: [`Shutdown::on_signals`]; when [`Shutdown::leaving`] resolves, set every health
/// status to NOT_SERVING; when [`Shutdown::draining`] does, let tonic's shutdown signal resolve;
/// run the server inside [`Shutdown::run`], which gives it up when the time to drain is over.
#[derive(Debug, Clone)]
pub struct Shutdown {
    phase: watch::Sender<Phase>,
    lame_duck: Duration,
    drain: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Serving,
    /// Everything works as before, but whoever asks is told to go elsewhere.
    Leaving,
    Draining {
        until: Instant,
    },
    Over,
}

impl Phase {
    fn is_open(&self) -> bool {
        matches!(self, Self::Serving | Self::Leaving)
    }
}

impl Shutdown {
    /// `lame_duck` is the time between SIGTERM and the end of the port, `drain` the time calls get
    /// to finish after that.
    pub fn new(lame_duck: Duration, drain: Duration) -> Self {
        Self { phase: watch::Sender::new(Phase::Serving), lame_duck, drain }
    }

    /// Says that the server is about to go. Later calls change nothing.
    pub fn leave(&self) {
        self.phase.send_if_modified(|phase| {
            let serving = *phase == Phase::Serving;
            if serving {
                *phase = Phase::Leaving;
            }
            serving
        });
    }

    /// Begins to drain. Later calls change nothing.
    pub fn begin(&self) {
        let until = Instant::now() + self.drain;
        self.phase.send_if_modified(|phase| {
            let open = phase.is_open();
            if open {
                *phase = Phase::Draining { until };
            }
            open
        });
    }

    /// Ends at once.
    pub fn abort(&self) {
        self.phase.send_replace(Phase::Over);
    }

    /// Whether the server is about to go, or is going.
    pub fn is_leaving(&self) -> bool {
        *self.phase.borrow() != Phase::Serving
    }

    /// Whether the server takes nothing new any more.
    pub fn is_draining(&self) -> bool {
        !self.phase.borrow().is_open()
    }

    /// When the time to drain is over; none while the port is open.
    pub fn deadline(&self) -> Option<Instant> {
        match *self.phase.borrow() {
            Phase::Serving | Phase::Leaving => None,
            Phase::Draining { until } => Some(until),
            Phase::Over => Some(Instant::now()),
        }
    }

    /// Resolves when the server is about to go.
    pub async fn leaving(&self) {
        self.reaches(|phase| *phase != Phase::Serving).await;
    }

    /// Resolves when draining begins.
    pub async fn draining(&self) {
        self.reaches(|phase| !phase.is_open()).await;
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

    /// Watches for Ctrl-C and SIGTERM: the first begins the end, the second ends at once. Only
    /// SIGTERM has a lame duck: who presses Ctrl-C balances no load.
    pub fn on_signals(&self) {
        let shutdown = self.clone();
        tokio::spawn(async move {
            let asked = interrupted().await;
            let lame_duck = shutdown.lame_duck;
            if asked == Asked::Terminate && !lame_duck.is_zero() {
                let seconds = lame_duck.as_secs();
                tracing::info!(seconds, "stopping: health says so, the port closes after that");
                shutdown.leave();
                tokio::select! {
                    () = tokio::time::sleep(lame_duck) => {}
                    _ = interrupted() => return shutdown.give_up(),
                }
            }
            let seconds = shutdown.drain.as_secs();
            tracing::info!(seconds, "stopping: letting calls finish (again to give them up)");
            shutdown.begin();
            interrupted().await;
            shutdown.give_up();
        });
    }

    fn give_up(&self) {
        tracing::warn!("stopping at once");
        self.abort();
    }
}

/// Ends watches of health, jobs and reflection when draining begins, once they have told what they
/// have to, such as NOT_SERVING: a watch does not end by itself, and each would hold the server
/// until the time to drain is over.
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
        let path = request.uri().path();
        let watch = is_health(path) || watched(path).is_some();
        let answer = self.inner.call(request);
        if !watch {
            return Box::pin(answer);
        }
        let end = last_words(self.shutdown.clone());
        let ending = move |body| Ending::body(body, end);
        Box::pin(answer.map(|result| result.map(|response| response.map(ending))))
    }
}

/// The time a watch has to pass on its last words after draining has begun.
const LAST_WORDS: Duration = Duration::from_millis(100);

async fn last_words(shutdown: Shutdown) -> Status {
    shutdown.draining().await;
    tokio::time::sleep(LAST_WORDS).await;
    Status::unavailable("the server is shutting down")
}

/// A body that ends by a status of its own when it has nothing more to say by then.
pub(super) struct Ending {
    body: Body,
    end: Option<BoxFuture<'static, Status>>,
}

impl Ending {
    /// `body`, ended by the status that `end` resolves to.
    pub(super) fn body(body: Body, end: impl Future<Output = Status> + Send + 'static) -> Body {
        Body::new(Self { body, end: Some(end.boxed()) })
    }
}

impl http_body::Body for Ending {
    type Data = bytes::Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<bytes::Bytes>, Status>>> {
        let Some(end) = &mut self.end else { return Poll::Ready(None) };
        let ended = end.as_mut().poll(context);
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match ended {
            Poll::Pending => polled,
            Poll::Ready(status) if polled.is_pending() => {
                (self.end, self.body) = (None, Body::empty());
                Poll::Ready(Some(trailers(status)))
            }
            // Resolved, and must not be asked again: what it said comes after this frame.
            Poll::Ready(status) => {
                self.end = Some(std::future::ready(status).boxed());
                polled
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.end.is_none() || self.body.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::layers::testing::{HEALTH, call, endless};
    use std::future::{pending, poll_fn, ready};

    #[tokio::test]
    async fn draining_ends_when_its_time_is_over() {
        let drain = Duration::from_millis(40);
        let shutdown = Shutdown::new(Duration::ZERO, drain);
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
    async fn a_lame_duck_says_so_and_takes_calls() {
        let shutdown = Shutdown::new(Duration::from_secs(60), Duration::from_secs(60));
        shutdown.leave();
        shutdown.leaving().await;
        assert!(shutdown.is_leaving() && !shutdown.is_draining());
        assert_eq!(shutdown.deadline(), None);
        shutdown.begin();
        shutdown.leave();
        assert!(shutdown.is_draining(), "a late wish to leave reopened the port");
    }

    #[tokio::test]
    async fn a_second_wish_ends_at_once() {
        let shutdown = Shutdown::new(Duration::ZERO, Duration::from_secs(600));
        shutdown.begin();
        shutdown.abort();
        let over = tokio::time::timeout(Duration::from_secs(60), shutdown.over()).await;
        over.expect("at once");
    }

    #[tokio::test]
    async fn a_server_that_finishes_is_not_given_up() {
        let shutdown = Shutdown::new(Duration::ZERO, Duration::from_secs(30));
        assert_eq!(shutdown.run(ready(7)).await, Some(7));
    }

    #[tokio::test]
    async fn watches_end_with_unavailable() {
        let reflection = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
        for path in [HEALTH, "/pairwright.v1.JobService/WatchJob", reflection] {
            let shutdown = Shutdown::new(Duration::ZERO, Duration::from_secs(30));
            let service = DrainLayer::new(shutdown.clone()).layer(endless());
            let mut body = call(service, path).await.into_body();
            shutdown.begin();
            let mut next = async || {
                poll_fn(|context| http_body::Body::poll_frame(Pin::new(&mut body), context)).await
            };
            let frame = next().await.expect("a frame").expect("no error");
            let trailers = frame.into_trailers().expect("trailers");
            assert_eq!(trailers["grpc-status"], "14", "{path}");
            assert!(next().await.is_none());
        }
    }
}
