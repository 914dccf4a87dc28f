//! Small services for the layers' tests.

use std::convert::Infallible;
use std::future::{Ready, pending, ready};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use http_body::Frame;
use tonic::Status;
use tonic::body::Body;
use tower::{Service, ServiceExt, service_fn};

/// A method of the health service.
pub const HEALTH: &str = "/grpc.health.v1.Health/Check";

/// A body that neither ends nor says anything.
pub struct Endless;

impl http_body::Body for Endless {
    type Data = bytes::Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<bytes::Bytes>, Status>>> {
        Poll::Pending
    }
}

/// Answers at once with a body that never ends.
pub fn endless() -> impl Handler<Future = Ready<Result<Response<Body>, Infallible>>> {
    service_fn(|_| ready(Ok(Response::new(Body::new(Endless)))))
}

/// A service as the layers want it.
pub trait Handler:
    Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send
{
}

impl<S> Handler for S where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send
{
}

/// Never answers.
pub async fn never(_: Request<Body>) -> Result<Response<Body>, Infallible> {
    tokio::time::sleep(Duration::from_secs(3600)).await;
    pending().await
}

/// A request to `path`.
pub fn request(path: &str) -> Request<Body> {
    Request::builder().uri(path).body(Body::empty()).expect("a request")
}

/// Calls `path`.
pub async fn call(service: impl Handler, path: &str) -> Response<Body> {
    send(service, request(path)).await
}

/// Sends `request`.
pub async fn send(service: impl Handler, request: Request<Body>) -> Response<Body> {
    service.oneshot(request).await.expect("infallible")
}

/// The status of a trailers-only answer.
pub fn status_of(response: Response<Body>) -> Status {
    Status::from_header_map(response.headers()).expect("a status in the headers")
}
