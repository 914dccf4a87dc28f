//! Counting calls, streams and bytes for their callers.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use http::Request;
use http_body::{Frame, SizeHint};
use tokio::time::Sleep;
use tonic::Status;
use tonic::body::Body;

use super::account::{Account, Accounts, OpenStream};
use super::identity::{Caller, TrustedProxies};
use crate::server::Methods;
use crate::server::auth;
use crate::server::layers::Admit;
use crate::server::methods::is_health;
use crate::server::observe::peer;

/// Leaves the caller's [`Account`] and its [`Origin`](crate::encoder::queue::Origin) in each request
/// and refuses those that are beyond a quota with RESOURCE_EXHAUSTED, reason `QUOTA_EXCEEDED`. Reads
/// no faster than the caller may send. Health calls are never refused.
#[derive(Clone)]
pub struct Quotas {
    accounts: Accounts,
    proxies: TrustedProxies,
    methods: Methods,
    idle: Duration,
}

impl Quotas {
    /// Counts in `accounts`; a stream may be silent for `idle`.
    pub fn new(
        accounts: Accounts,
        proxies: TrustedProxies,
        methods: Methods,
        idle: Duration,
    ) -> Self {
        Self { accounts, proxies, methods, idle }
    }
}

impl Admit for Quotas {
    type Held = Option<OpenStream>;

    fn admit(&self, request: &mut Request<Body>) -> Result<Option<OpenStream>, Status> {
        let peer = peer(request.extensions());
        let key = request.extensions().get::<auth::Caller>().and_then(auth::Caller::shared);
        let caller = match (key, peer) {
            (Some(name), _) => Caller::Key(name),
            (None, Some(peer)) => Caller::at(self.proxies.client(peer.ip(), request.headers())),
            (None, None) => Caller::Local,
        };
        let account = self.accounts.of(&caller);
        request.extensions_mut().insert(caller.origin(peer));
        request.extensions_mut().insert(Arc::clone(&account));
        if is_health(request.uri().path()) {
            return Ok(None);
        }
        account.call()?;
        let streams = self.methods.is_streaming(request.uri().path());
        let stream = streams.then(|| account.stream()).transpose()?;
        if account.quotas.bytes_per_second > 0 {
            let body = std::mem::take(request.body_mut());
            // Longer, and the stream would be ended for the silence that is ours.
            let longest = self.idle / 2;
            *request.body_mut() = Body::new(Paced { body, account, longest, pause: None });
        }
        Ok(stream)
    }
}

/// A request's body, read no faster than its caller may send.
struct Paced {
    body: Body,
    account: Arc<Account>,
    /// The longest pause between two frames.
    longest: Duration,
    pause: Option<Pin<Box<Sleep>>>,
}

impl http_body::Body for Paced {
    type Data = bytes::Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<bytes::Bytes>, Status>>> {
        let this = self.get_mut();
        if let Some(pause) = &mut this.pause {
            std::task::ready!(pause.poll_unpin(context));
            this.pause = None;
        }
        let polled = Pin::new(&mut this.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            let wait = this.account.bytes(frame.data_ref().map_or(0, bytes::Bytes::len));
            if !wait.is_zero() {
                this.pause = Some(Box::pin(tokio::time::sleep(wait.min(this.longest))));
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::CallersConfig;
    use crate::encoder::queue::Origin;
    use crate::server::layers::AdmitLayer;
    use crate::server::layers::testing::{
        HEALTH, Handler, call, endless, request, send, status_of,
    };
    use crate::server::methods::METHODS;
    use crate::server::observe::Metrics;
    use http::Response;
    use tonic::Code;
    use tonic_types::StatusExt;
    use tower::Layer;

    const UNARY: &str = "/pairwright.v1.EmbeddingService/EmbedTexts";
    const STREAM: &str = "/pairwright.v1.EmbeddingService/EmbedStream";

    /// The quotas of keys hold; a request of the test carries one.
    fn quotas(config: &CallersConfig) -> Quotas {
        let accounts = Accounts::new(config, Metrics::off());
        Quotas::new(accounts, TrustedProxies::default(), METHODS, Duration::from_secs(60))
    }

    fn service(quotas: &Quotas) -> impl Handler + use<> {
        AdmitLayer::new(quotas.clone(), Duration::from_secs(60)).layer(endless())
    }

    async fn answer(quotas: &Quotas, path: &str, key: &str) -> Response<Body> {
        let mut request = request(path);
        request.extensions_mut().insert(auth::Caller::named(key));
        send(service(quotas), request).await
    }

    fn passed(response: &Response<Body>) -> bool {
        response.headers().get("grpc-status").is_none()
    }

    #[tokio::test]
    async fn one_callers_quota_is_no_others() {
        let mut config = CallersConfig::default();
        config.key.calls_per_second = 2;
        let quotas = quotas(&config);
        for _ in 0..2 {
            assert!(passed(&answer(&quotas, UNARY, "ada").await));
        }
        let refused = status_of(answer(&quotas, UNARY, "ada").await);
        assert_eq!(refused.code(), Code::ResourceExhausted);
        assert_eq!(refused.metadata().get("retry-after").expect("retry-after"), "1");
        let info = refused.get_details_error_info().expect("a reason");
        assert_eq!(info.reason, "QUOTA_EXCEEDED");
        assert_eq!(info.metadata["limit"], "calls_per_second");
        assert!(passed(&answer(&quotas, UNARY, "bob").await));
        assert!(passed(&call(service(&quotas), HEALTH).await));
    }

    #[tokio::test]
    async fn a_stream_counts_until_its_answer_is_gone() {
        let mut config = CallersConfig::default();
        config.key.open_streams = 1;
        let quotas = quotas(&config);
        let open = answer(&quotas, STREAM, "ada").await;
        assert!(!passed(&answer(&quotas, STREAM, "ada").await));
        assert!(passed(&answer(&quotas, UNARY, "ada").await));
        drop(open);
        assert!(passed(&answer(&quotas, STREAM, "ada").await));
    }

    #[tokio::test]
    async fn no_pause_is_as_long_as_a_stream_may_be_silent() {
        use http_body_util::BodyExt;
        let mut config = CallersConfig::default();
        config.key.bytes_per_second = 1;
        let accounts = Accounts::new(&config, Metrics::off());
        let idle = Duration::from_millis(40);
        let quotas = Quotas::new(accounts, TrustedProxies::default(), METHODS, idle);
        // Owed for a quarter of an hour.
        let frames =
            [1, 2].map(|byte| Ok::<_, Status>(Frame::data(bytes::Bytes::from(vec![byte; 1000]))));
        let body = http_body_util::StreamBody::new(futures::stream::iter(frames));
        let mut request = request(STREAM).map(|_| Body::new(body));
        request.extensions_mut().insert(auth::Caller::named("ada"));
        let _open = quotas.admit(&mut request).expect("admitted");
        let read = tokio::time::timeout(Duration::from_secs(60), request.into_body().collect());
        let read = read.await.expect("in time").expect("sound").to_bytes();
        assert_eq!(read.len(), 2000);
    }

    #[tokio::test]
    async fn handlers_learn_whose_a_call_is() {
        let quotas = quotas(&CallersConfig::default());
        let mut request = request(UNARY);
        request.extensions_mut().insert(auth::Caller::named("ada"));
        quotas.admit(&mut request).expect("admitted");
        let origin = request.extensions().get::<Origin>().expect("an origin");
        assert_eq!(*origin, Caller::Key("ada".into()).origin(None));
        assert!(request.extensions().get::<Arc<Account>>().is_some());
    }
}
