//! What answers while the server loads and warms up: health and reflection do, everything else is
//! told to come again. Afterwards, all services.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use tonic::body::Body;
use tonic::service::Routes;
use tonic::{Code, Status};
use tower::{Layer, Service};

use super::fault::Fault;
use super::methods::is_early;

/// How soon a client should ask again.
const LOADING: Duration = Duration::from_secs(1);

/// Turned once, when everything is ready.
#[derive(Clone, Default)]
pub struct Switch(Arc<OnceLock<Shared>>);

/// `Routes` may move between threads, but not be shared by them.
struct Shared(std::sync::Mutex<Routes>);

impl Shared {
    fn routes(&self) -> Routes {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

impl Switch {
    /// From now on `routes` answer.
    pub fn turn(&self, routes: Routes) {
        // Turned once only; a second set of routes would be dropped.
        let _ = self.0.set(Shared(std::sync::Mutex::new(routes)));
    }
}

impl<S> Layer<S> for Switch {
    type Service = Switched<S>;

    fn layer(&self, early: S) -> Switched<S> {
        Switched { early, switch: self.clone(), full: None }
    }
}

/// See [`Switch`].
#[derive(Clone)]
pub struct Switched<S> {
    early: S,
    switch: Switch,
    // Kept by each connection's copy, so that a call takes no lock.
    full: Option<Routes>,
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

impl<S> Service<Request<Body>> for Switched<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        if self.full.is_none() {
            self.full = self.switch.0.get().map(Shared::routes);
        }
        match &mut self.full {
            Some(routes) => Service::<Request<Body>>::poll_ready(routes, context),
            None => self.early.poll_ready(context),
        }
    }

    fn call(&mut self, request: Request<Body>) -> Answer {
        match &mut self.full {
            Some(routes) => Box::pin(routes.call(request)),
            None if is_early(request.uri().path()) => Box::pin(self.early.call(request)),
            None => {
                let fault =
                    Fault::new(Code::Unavailable, "STARTING", "the server is still loading")
                        .retry_after(LOADING);
                Box::pin(std::future::ready(Ok(Status::from(fault).into_http())))
            }
        }
    }
}
