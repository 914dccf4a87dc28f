//! One call, from its head to its end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use http::{Extensions, HeaderMap, Request};
use tonic::Code;
use tonic::body::Body;
use tonic::transport::server::TcpConnectInfo;
use tracing::{Level, Span};

use super::labels::code_name;
use super::level::level;
use super::metrics::{Metrics, Open};
use super::trace;
use crate::server::auth::Caller;
use crate::server::methods::is_health;

/// The header that carries a request's id, both ways.
pub const REQUEST_ID: &str = "x-request-id";

/// Longer ids are replaced by ours.
const LONGEST_ID: usize = 128;

/// What names a call in logs. A request extension, for handlers that log themselves.
#[derive(Debug, Clone)]
pub struct CallInfo {
    /// The caller's `x-request-id`, or one made here; the response carries it too.
    pub request_id: Arc<str>,
}

/// A call under way. Dropped before [`Call::ended`], it counts as cancelled by its client.
pub struct Call {
    metrics: Metrics,
    path: String,
    begun: Instant,
    span: Span,
    peer: Option<SocketAddr>,
    caller: Caller,
    request_id: Arc<str>,
    ended: bool,
    _stream: Option<Open>,
}

impl Call {
    /// Begins the span and the clock, and leaves [`CallInfo`] and [`Caller`] in the request.
    pub fn begin(metrics: &Metrics, streaming: bool, request: &mut Request<Body>) -> Self {
        let path = request.uri().path().to_owned();
        metrics.call_begun(&path);
        let caller = Caller::default();
        let request_id = request_id(request.headers());
        let call = Self {
            metrics: metrics.clone(),
            begun: Instant::now(),
            span: trace::span(&path, request.headers()),
            peer: peer(request.extensions()),
            caller: caller.clone(),
            request_id: request_id.clone(),
            ended: false,
            _stream: streaming.then(|| metrics.stream_opened()),
            path,
        };
        request.extensions_mut().insert(caller);
        request.extensions_mut().insert(CallInfo { request_id });
        call
    }

    pub fn span(&self) -> &Span {
        &self.span
    }

    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// Counts, closes the span and writes the line. Only the first end counts.
    pub fn ended(&mut self, code: Code, message: &str) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let duration = self.begun.elapsed();
        self.metrics.call_ended(&self.path, code, duration);
        trace::close(&self.span, code, message);
        self.log(code, message, duration.as_secs_f64() * 1e3);
    }

    fn log(&self, code: Code, message: &str, ms: f64) {
        // Watches of health end with the server, in good order.
        let quiet = matches!(code, Code::Ok | Code::Unavailable) && is_health(&self.path);
        let trace_id = trace::trace_id(&self.span);
        let message = if message.is_empty() { "call ended" } else { message };
        macro_rules! line {
            ($level:expr) => {
                tracing::event!(
                    parent: None,
                    $level,
                    method = self.path,
                    code = code_name(code),
                    ms = (ms * 1e3).round() / 1e3,
                    peer = self.peer.map(tracing::field::display),
                    key = self.caller.name(),
                    request_id = &*self.request_id,
                    trace_id,
                    "{message}"
                )
            };
        }
        match level(code) {
            _ if quiet => line!(Level::TRACE),
            Level::ERROR => line!(Level::ERROR),
            Level::INFO => line!(Level::INFO),
            _ => line!(Level::DEBUG),
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.ended(Code::Cancelled, "the client went away");
    }
}

/// The other end of the connection that a request came by.
pub fn peer(extensions: &Extensions) -> Option<SocketAddr> {
    extensions.get::<TcpConnectInfo>()?.remote_addr()
}

/// Only ids that are safe in a log line are taken over.
fn request_id(headers: &HeaderMap) -> Arc<str> {
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let safe = |id: &&str| {
        (1..=LONGEST_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
    };
    given.filter(safe).map_or_else(|| format!("{:016x}", rand::random::<u64>()).into(), Arc::from)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Mutex;

    use super::*;
    use crate::server::layers::testing::request;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The log of one call that ends with `code`.
    fn logged(code: Code) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(Level::DEBUG)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let mut request = request("/a/B");
            request.headers_mut().insert(REQUEST_ID, http::HeaderValue::from_static("id-7"));
            Call::begin(&Metrics::off(), false, &mut request).ended(code, "as told");
        });
        let bytes = lines.0.lock().expect("no panic").clone();
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn each_call_leaves_one_line_as_loud_as_its_code() {
        for (code, level, name) in [
            (Code::Ok, "DEBUG", "ok"),
            (Code::NotFound, " INFO", "not_found"),
            (Code::Internal, "ERROR", "internal"),
        ] {
            let text = logged(code);
            assert_eq!(text.lines().count(), 1, "{text}");
            let parts = [level, "as told", "method=\"/a/B\"", "request_id=\"id-7\"", "ms="];
            for part in parts.into_iter().chain([&*format!("code=\"{name}\"")]) {
                assert!(text.contains(part), "{part} is missing in {text}");
            }
        }
    }
}
