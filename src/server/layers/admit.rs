//! Letting calls in: what a call takes is its own until its answer is read.

use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use super::held::Keep;
use super::{Answer, refuse};

/// Who says whether a call may come in.
pub trait Admit: Clone {
    /// What a call takes; dropping it gives it back.
    type Held: Send + 'static;

    /// Lets a call in.
    ///
    /// # Errors
    /// The refusal that the caller gets.
    fn admit(&self, request: &mut Request<Body>) -> Result<Self::Held, Status>;
}

/// Both, the first one first.
impl<A: Admit, B: Admit> Admit for (A, B) {
    type Held = (A::Held, B::Held);

    fn admit(&self, request: &mut Request<Body>) -> Result<Self::Held, Status> {
        Ok((self.0.admit(request)?, self.1.admit(request)?))
    }
}

/// Answers calls that are not let in with their refusal. The others keep what they took until their
/// response body ends or is dropped, or their client has not read for `idle`.
#[derive(Debug, Clone)]
pub struct AdmitLayer<A> {
    admit: A,
    idle: Duration,
}

impl<A: Admit> AdmitLayer<A> {
    /// Asks `admit`; a client may leave an answer unread for `idle`.
    pub fn new(admit: A, idle: Duration) -> Self {
        Self { admit, idle }
    }
}

impl<S, A: Admit> Layer<S> for AdmitLayer<A> {
    type Service = Admitting<S, A>;

    fn layer(&self, inner: S) -> Admitting<S, A> {
        Admitting { inner, layer: self.clone() }
    }
}

/// The service of [`AdmitLayer`].
#[derive(Debug, Clone)]
pub struct Admitting<S, A> {
    inner: S,
    layer: AdmitLayer<A>,
}

impl<S, A> Service<Request<Body>> for Admitting<S, A>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    A: Admit,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Answer<Keep<S::Future, A::Held>, S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        match self.layer.admit.admit(&mut request) {
            Err(status) => refuse(status),
            Ok(held) => Keep::answer(self.inner.call(request), held, self.layer.idle),
        }
    }
}
