//! A response body that keeps something until it ends, is dropped, or stays unread too long.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures::future::Either;
use http::Response;
use http_body::{Frame, SizeHint};
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;
use tonic::body::Body;

use super::{Answer, trailers};
use crate::server::fault::Fault;

/// `body`, with `held` dropped when its trailers go out, when it ends or is dropped, or when the
/// connection has not asked for more of it within `idle` of its last frame: while a client does not
/// read, nothing polls the body, so a clock of its own must tell. What is left of the body goes,
/// too, so that an answer that nobody reads takes no memory; a client that reads on finds
/// STREAM_IDLE.
fn hold<T: Send + 'static>(body: Body, held: T, idle: Duration) -> Body {
    let state = Arc::new(Mutex::new(State { kept: Some((body, held)), unread: None, idle }));
    Body::new(Held { state, watch: None, told: false })
}

struct Held<T> {
    state: Arc<Mutex<State<T>>>,
    // Begun with the first frame: what never has one is never unread.
    watch: Option<AbortOnDropHandle<()>>,
    told: bool,
}

struct State<T> {
    kept: Option<(Body, T)>,
    /// Since when the last frame waits for the next question.
    unread: Option<Instant>,
    idle: Duration,
}

impl<T> State<T> {
    /// Lets go when it is time; else when to look again.
    fn look(&mut self) -> Option<Duration> {
        let waited = self.unread.map_or(Duration::ZERO, |since| since.elapsed());
        match self.idle.checked_sub(waited).filter(|left| !left.is_zero()) {
            Some(left) => Some(left),
            None => {
                self.kept = None;
                None
            }
        }
    }
}

fn lock<T>(state: &Mutex<State<T>>) -> MutexGuard<'_, State<T>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn watch<T>(state: Weak<Mutex<State<T>>>, idle: Duration) {
    let mut wait = Some(idle);
    while let Some(time) = wait {
        tokio::time::sleep(time).await;
        wait = state.upgrade().and_then(|state| lock(&state).look());
    }
}

impl<T: Send + 'static> http_body::Body for Held<T> {
    type Data = bytes::Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<bytes::Bytes>, Status>>> {
        let this = self.get_mut();
        let mut state = lock(&this.state);
        state.unread = None;
        let idle = state.idle;
        let Some((body, _)) = &mut state.kept else {
            let told = std::mem::replace(&mut this.told, true);
            return Poll::Ready((!told).then(|| trailers(Fault::unread(idle).into())));
        };
        let polled = Pin::new(body).poll_frame(context);
        match &polled {
            Poll::Pending => {}
            // The client sees these before the connection asks for the next frame or drops the
            // body, and its next call must find the place free.
            Poll::Ready(Some(Ok(frame))) if frame.is_trailers() => {
                (state.kept, this.told) = (None, true);
            }
            Poll::Ready(Some(Ok(_))) => {
                state.unread = Some(Instant::now());
                let state = &this.state;
                this.watch.get_or_insert_with(|| {
                    AbortOnDropHandle::new(tokio::spawn(watch(Arc::downgrade(state), idle)))
                });
            }
            Poll::Ready(None | Some(Err(_))) => {
                (state.kept, this.told) = (None, true);
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &lock(&self.state).kept {
            Some((body, _)) => body.is_end_stream(),
            None => self.told,
        }
    }

    fn size_hint(&self) -> SizeHint {
        let state = lock(&self.state);
        state.kept.as_ref().map_or_else(SizeHint::default, |(body, _)| body.size_hint())
    }
}

/// A call's future that keeps something as long as the call lasts: until its response body ends,
/// is dropped, or stays unread for too long.
pub struct Keep<F, T> {
    answer: Pin<Box<F>>,
    held: Option<T>,
    idle: Duration,
}

// Nothing here is pinned but what the box holds.
impl<F, T> Unpin for Keep<F, T> {}

impl<F, T> Keep<F, T> {
    /// A layer's future that keeps `held`; a client may leave the answer unread for `idle`.
    pub fn answer<E>(answer: F, held: T, idle: Duration) -> Answer<Self, E> {
        Either::Right(Self { answer: Box::pin(answer), held: Some(held), idle })
    }
}

impl<F, T, E> Future for Keep<F, T>
where
    F: Future<Output = Result<Response<Body>, E>>,
    T: Send + 'static,
{
    type Output = Result<Response<Body>, E>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(self.answer.as_mut().poll(context));
        let (held, idle) = (self.held.take(), self.idle);
        Poll::Ready(answer.map(|response| response.map(|body| hold(body, held, idle))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn what_is_kept_is_given_back_before_the_trailers_go_out() {
        let answer = futures::stream::iter([
            Ok(Frame::data(bytes::Bytes::from_static(b"a"))),
            Ok::<_, Status>(Frame::trailers(http::HeaderMap::new())),
        ]);
        let (place, given_back) = (Arc::new(()), |place: &Weak<()>| place.upgrade().is_none());
        let taken = Arc::downgrade(&place);
        let body = Body::new(http_body_util::StreamBody::new(answer));
        let mut body = hold(body, place, Duration::from_secs(60));
        let first = body.frame().await.expect("a frame").expect("data");
        assert!(first.is_data() && !given_back(&taken));
        let last = body.frame().await.expect("a frame").expect("trailers");
        assert!(last.is_trailers() && given_back(&taken));
        assert!(body.frame().await.is_none());
    }
}
