//! Refusals by the transport itself, such as of a message over the limit, become like all others:
//! a code that tells whose fault it is, and a reason.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::Map;
use http::{HeaderMap, Request, Response};
use http_body::{Frame, SizeHint};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};

use crate::server::fault::Fault;

/// Gives a reason, and the caller's code where tonic takes the blame, to statuses without details.
/// Those it does not know pass as they are.
#[derive(Debug, Clone, Copy, Default)]
pub struct ExplainLayer;

impl<S> Layer<S> for ExplainLayer {
    type Service = Explain<S>;

    fn layer(&self, inner: S) -> Explain<S> {
        Explain { inner }
    }
}

/// The service of [`ExplainLayer`].
#[derive(Debug, Clone)]
pub struct Explain<S> {
    inner: S,
}

impl<S> Service<Request<Body>> for Explain<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future =
        Map<S::Future, fn(Result<Response<Body>, S::Error>) -> Result<Response<Body>, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.inner.call(request).map(|result| result.map(response))
    }
}

fn response(mut response: Response<Body>) -> Response<Body> {
    if response.headers().contains_key(Status::GRPC_STATUS) {
        rewrite(response.headers_mut());
        return response;
    }
    response.map(|body| Body::new(Explained(body)))
}

struct Explained(Body);

impl http_body::Body for Explained {
    type Data = bytes::Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<bytes::Bytes>, Status>>> {
        let polled = Pin::new(&mut self.get_mut().0).poll_frame(context);
        polled.map_ok(|mut frame| {
            if let Some(trailers) = frame.trailers_mut() {
                rewrite(trailers);
            }
            frame
        })
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

fn rewrite(headers: &mut HeaderMap) {
    if headers.get(Status::GRPC_STATUS).is_none_or(|code| code == "0") {
        return;
    }
    let bare = Status::from_header_map(headers).filter(|status| status.details().is_empty());
    let Some(explained) = bare.as_ref().and_then(explained) else { return };
    // Left as it is when it does not fit into a header, which a status of ours always does.
    let _ = explained.add_header(headers);
}

/// What tonic means, which says so only in words.
fn explained(status: &Status) -> Option<Status> {
    let text = status.message();
    let plain = |code, reason: &str, message: &str| Some(Fault::new(code, reason, message).into());
    let begins = |start: &str| text.starts_with(start);
    match status.code() {
        Code::OutOfRange if begins("Error, decoded message length too large") => {
            Some(too_large("REQUEST_TOO_LARGE", "the message of the request", text))
        }
        Code::OutOfRange if begins("Error, encoded message length too large") => {
            Some(too_large("REPLY_TOO_LARGE", "the message of the reply", text))
        }
        Code::Internal if begins("failed to decode Protobuf message") => {
            plain(Code::InvalidArgument, "REQUEST_MALFORMED", text)
        }
        Code::Internal if begins("protocol error: received message") => {
            plain(Code::InvalidArgument, "REQUEST_MALFORMED", text)
        }
        Code::Internal
            if begins("Missing request message")
                || begins("Unexpected EOF decoding stream")
                || begins("h2 protocol error") =>
        {
            plain(Code::Cancelled, "REQUEST_CUT_OFF", CUT_OFF)
        }
        Code::Unknown if begins("h2 protocol error") || begins("error reading a body") => {
            plain(Code::Cancelled, "REQUEST_CUT_OFF", CUT_OFF)
        }
        Code::Unimplemented if text.is_empty() => {
            plain(Code::Unimplemented, "METHOD_UNKNOWN", "this server has no such method")
        }
        Code::Unimplemented if begins("Content is compressed") => {
            plain(Code::Unimplemented, "COMPRESSION_UNSUPPORTED", text)
        }
        _ => None,
    }
}

const CUT_OFF: &str = "the request ended before its message did";

/// `text` ends in "found N bytes, the limit is: M bytes".
fn too_large(reason: &str, what: &str, text: &str) -> Status {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty());
    let (actual, allowed) =
        (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    let message = format!("{what}: {actual}, the limit is {allowed} (max_message_bytes)");
    let fault = Fault::new(Code::InvalidArgument, reason, message);
    fault.with("limit", "max_message_bytes").with("allowed", allowed).with("actual", actual).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::layers::testing::{call, endless, status_of};
    use tonic_types::StatusExt;
    use tower::service_fn;

    /// `status` through the layer, as headers.
    async fn through(status: Status) -> Status {
        let refusing = service_fn(move |_| {
            let status = status.clone();
            async move { Ok(status.into_http()) }
        });
        status_of(call(ExplainLayer.layer(refusing), "/a/B").await)
    }

    fn reason(status: &Status) -> String {
        status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
    }

    #[tokio::test]
    async fn the_transports_refusals_get_the_callers_code_and_a_reason() {
        let cases = [
            (Status::internal("Missing request message."), Code::Cancelled, "REQUEST_CUT_OFF"),
            (Status::unknown("error reading a body"), Code::Cancelled, "REQUEST_CUT_OFF"),
            (
                Status::internal("failed to decode Protobuf message: invalid wire type"),
                Code::InvalidArgument,
                "REQUEST_MALFORMED",
            ),
            (Status::unimplemented(""), Code::Unimplemented, "METHOD_UNKNOWN"),
            (Status::internal("a disk broke"), Code::Internal, ""),
        ];
        for (bare, code, wanted) in cases {
            let told = through(bare.clone()).await;
            assert_eq!((told.code(), reason(&told).as_str()), (code, wanted), "{bare:?}");
        }
    }

    #[tokio::test]
    async fn a_message_over_the_limit_tells_it() {
        let words =
            "Error, decoded message length too large: found 70 bytes, the limit is: 64 bytes";
        let told = through(Status::out_of_range(words)).await;
        let info = told.get_details_error_info().expect("a reason");
        assert_eq!((told.code(), &*info.reason), (Code::InvalidArgument, "REQUEST_TOO_LARGE"));
        assert_eq!(info.metadata["limit"], "max_message_bytes");
        assert_eq!((&*info.metadata["allowed"], &*info.metadata["actual"]), ("64", "70"));
    }

    #[tokio::test]
    async fn what_has_a_reason_keeps_it() {
        let ours = Fault::new(Code::Internal, "PANIC", "Missing request message.");
        let told = through(ours.into()).await;
        assert_eq!((told.code(), reason(&told).as_str()), (Code::Internal, "PANIC"));
        let open = call(ExplainLayer.layer(endless()), "/a/B").await;
        assert!(open.headers().get("grpc-status").is_none());
    }
}
