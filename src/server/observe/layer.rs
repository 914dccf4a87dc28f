//! The layer around every call.

use std::pin::Pin;
use std::task::{Context, Poll};

use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Frame, SizeHint};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};

use super::call::{Call, REQUEST_ID};
use super::metrics::Metrics;
use crate::server::Methods;

/// Counts, times, traces and logs every call. The outermost layer, so that refusals count too.
#[derive(Clone)]
pub struct ObserveLayer {
    metrics: Metrics,
    methods: Methods,
}

impl ObserveLayer {
    /// Reports to `metrics`; `methods` tells which calls are streams.
    pub fn new(metrics: Metrics, methods: Methods) -> Self {
        Self { metrics, methods }
    }
}

impl<S> Layer<S> for ObserveLayer {
    type Service = Observe<S>;

    fn layer(&self, inner: S) -> Observe<S> {
        Observe { inner, layer: self.clone() }
    }
}

/// The service of [`ObserveLayer`].
#[derive(Clone)]
pub struct Observe<S> {
    inner: S,
    layer: ObserveLayer,
}

impl<S> Service<Request<Body>> for Observe<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Observed<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let streaming = self.layer.methods.is_streaming(request.uri().path());
        let call = Call::begin(&self.layer.metrics, streaming, &mut request);
        let answer = Box::pin(call.span().in_scope(|| self.inner.call(request)));
        Observed { answer, call: Some(call) }
    }
}

/// The head of an observed call.
pub struct Observed<F> {
    answer: Pin<Box<F>>,
    call: Option<Call>,
}

impl<F, E> Future for Observed<F>
where
    F: Future<Output = Result<Response<Body>, E>>,
{
    type Output = Result<Response<Body>, E>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let entered = this.call.as_ref().map(|call| call.span().enter());
        let answer = std::task::ready!(this.answer.as_mut().poll(context));
        drop(entered);
        let Some(call) = this.call.take() else { return Poll::Ready(answer) };
        Poll::Ready(match answer {
            Ok(response) => Ok(watch(call, response)),
            Err(error) => {
                let mut call = call;
                call.ended(Code::Internal, "the service failed");
                Err(error)
            }
        })
    }
}

/// Ends `call` with the headers when they hold the status already, else with the body.
fn watch(mut call: Call, mut response: Response<Body>) -> Response<Body> {
    if let Ok(id) = HeaderValue::from_str(call.request_id()) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    if end_by(&mut call, response.headers()) {
        return response;
    }
    response.map(|body| Body::new(Watched { body, call: Some(call) }))
}

fn end_by(call: &mut Call, headers: &HeaderMap) -> bool {
    // Without the details, which are long and say the same to programs.
    let wanted = [Status::GRPC_STATUS, Status::GRPC_MESSAGE];
    let told =
        wanted.into_iter().filter_map(|name| Some((name.clone(), headers.get(name)?.clone())));
    let Some(status) = Status::from_header_map(&told.collect()) else { return false };
    call.ended(status.code(), status.message());
    true
}

struct Watched {
    body: Body,
    call: Option<Call>,
}

impl Watched {
    fn see(&mut self, frame: Option<&Result<Frame<bytes::Bytes>, Status>>) {
        let Some(call) = &mut self.call else { return };
        match frame {
            Some(Ok(frame)) => {
                let Some(trailers) = frame.trailers_ref() else { return };
                if !end_by(call, trailers) {
                    call.ended(Code::Unknown, "trailers without a status");
                }
            }
            Some(Err(status)) => call.ended(status.code(), status.message()),
            None => call.ended(Code::Unknown, "the body ended without a status"),
        }
        self.call = None;
    }
}

impl http_body::Body for Watched {
    type Data = bytes::Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<bytes::Bytes>, Status>>> {
        let this = self.get_mut();
        let entered = this.call.as_ref().map(|call| call.span().clone().entered());
        let polled = Pin::new(&mut this.body).poll_frame(context);
        drop(entered);
        if let Poll::Ready(frame) = &polled {
            this.see(frame.as_ref());
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
