//! A response body that keeps something until it ends, is dropped, or stays unread too long.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http_body::{Frame, SizeHint};
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;
use tonic::body::Body;

/// `body`, with `held` dropped when it ends, is dropped, or when the connection has not asked for
/// more of it within `idle` of its last frame: while a client does not read, nothing polls the
/// body, so a clock of its own must tell. The body itself goes on if it is read again.
pub fn hold<T: Send + 'static>(body: Body, held: T, idle: Duration) -> Body {
    let state = Arc::new(Mutex::new(State { held: Some(held), unread: None }));
    Body::new(Held { body, state, idle, watch: None })
}

struct Held<T> {
    body: Body,
    state: Arc<Mutex<State<T>>>,
    idle: Duration,
    // Begun with the first frame: what never has one is never unread.
    watch: Option<AbortOnDropHandle<()>>,
}

struct State<T> {
    held: Option<T>,
    /// Since when the last frame waits for the next question.
    unread: Option<Instant>,
}

impl<T> State<T> {
    /// Lets go when it is time; else when to look again.
    fn look(&mut self, idle: Duration) -> Option<Duration> {
        let waited = self.unread.map_or(Duration::ZERO, |since| since.elapsed());
        match idle.checked_sub(waited).filter(|left| !left.is_zero()) {
            Some(left) => Some(left),
            None => {
                self.held = None;
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
        wait = state.upgrade().and_then(|state| lock(&state).look(idle));
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
        lock(&this.state).unread = None;
        let polled = Pin::new(&mut this.body).poll_frame(context);
        match &polled {
            Poll::Pending => {}
            Poll::Ready(Some(Ok(_))) => {
                lock(&this.state).unread = Some(Instant::now());
                let (state, idle) = (&this.state, this.idle);
                this.watch.get_or_insert_with(|| {
                    AbortOnDropHandle::new(tokio::spawn(watch(Arc::downgrade(state), idle)))
                });
            }
            Poll::Ready(None | Some(Err(_))) => lock(&this.state).held = None,
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
