//! The layer that counts calls, streams and bytes for their callers.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::Either;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use tokio::time::Sleep;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use super::account::{Account, Accounts, OpenStream};
use super::identity::{Caller, TrustedProxies};
use crate::server::Methods;
use crate::server::auth;
use crate::server::layers::{Answer, Keep, refuse};
use crate::server::methods::is_health;
use crate::server::observe::peer;

/// Leaves the caller's [`Account`] and its [`Origin`](crate::encoder::queue::Origin) in each request
/// and refuses those that are beyond a quota with RESOURCE_EXHAUSTED, reason `QUOTA_EXCEEDED`. Reads
/// no faster than the caller may send. Health calls are never refused.
#[derive(Clone)]
pub struct QuotaLayer {
    accounts: Accounts,
    proxies: TrustedProxies,
    methods: Methods,
    idle: Duration,
}

impl QuotaLayer {
    /// Counts in `accounts`; a stream counts until its answer ends or was not read for `idle`.
    pub fn new(
        accounts: Accounts,
        proxies: TrustedProxies,
        methods: Methods,
        idle: Duration,
    ) -> Self {
        Self { accounts, proxies, methods, idle }
    }

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

impl<S> Layer<S> for QuotaLayer {
    type Service = Quotas<S>;

    fn layer(&self, inner: S) -> Quotas<S> {
        Quotas { inner, layer: self.clone() }
    }
}

/// The service of [`QuotaLayer`].
#[derive(Clone)]
pub struct Quotas<S> {
    inner: S,
    layer: QuotaLayer,
}

impl<S> Service<Request<Body>> for Quotas<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Answer<Either<S::Future, Keep<S::Future>>, S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        match self.layer.admit(&mut request) {
            Err(status) => refuse(status),
            Ok(None) => Either::Right(Either::Left(self.inner.call(request))),
            Ok(Some(stream)) => {
                let kept = Keep::new(self.inner.call(request), stream, self.layer.idle);
                Either::Right(Either::Right(kept))
            }
        }
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
    use crate::server::layers::testing::{HEALTH, call, endless, request, send, status_of};
    use crate::server::methods::METHODS;
    use crate::server::observe::Metrics;
    use tonic::Code;
    use tonic_types::StatusExt;

    const UNARY: &str = "/pairwright.v1.EmbeddingService/EmbedTexts";
    const STREAM: &str = "/pairwright.v1.EmbeddingService/EmbedStream";

    /// The quotas of keys hold; a request of the test carries one.
    fn layer(config: &CallersConfig) -> QuotaLayer {
        let accounts = Accounts::new(config, Metrics::off());
        QuotaLayer::new(accounts, TrustedProxies::default(), METHODS, Duration::from_secs(60))
    }

    async fn answer(layer: &QuotaLayer, path: &str, key: &str) -> Response<Body> {
        let mut request = request(path);
        request.extensions_mut().insert(auth::Caller::named(key));
        send(layer.layer(endless()), request).await
    }

    fn passed(response: &Response<Body>) -> bool {
        response.headers().get("grpc-status").is_none()
    }

    #[tokio::test]
    async fn one_callers_quota_is_no_others() {
        let mut config = CallersConfig::default();
        config.key.calls_per_second = 2;
        let layer = layer(&config);
        for _ in 0..2 {
            assert!(passed(&answer(&layer, UNARY, "ada").await));
        }
        let refused = status_of(answer(&layer, UNARY, "ada").await);
        assert_eq!(refused.code(), Code::ResourceExhausted);
        assert_eq!(refused.metadata().get("retry-after").expect("retry-after"), "1");
        let info = refused.get_details_error_info().expect("a reason");
        assert_eq!(info.reason, "QUOTA_EXCEEDED");
        assert_eq!(info.metadata["limit"], "calls_per_second");
        assert!(passed(&answer(&layer, UNARY, "bob").await));
        assert!(passed(&call(layer.layer(endless()), HEALTH).await));
    }

    #[tokio::test]
    async fn a_stream_counts_until_its_answer_is_gone() {
        let mut config = CallersConfig::default();
        config.key.open_streams = 1;
        let layer = layer(&config);
        let open = answer(&layer, STREAM, "ada").await;
        assert!(!passed(&answer(&layer, STREAM, "ada").await));
        assert!(passed(&answer(&layer, UNARY, "ada").await));
        drop(open);
        assert!(passed(&answer(&layer, STREAM, "ada").await));
    }

    #[tokio::test]
    async fn no_pause_is_as_long_as_a_stream_may_be_silent() {
        use http_body_util::BodyExt;
        let mut config = CallersConfig::default();
        config.key.bytes_per_second = 1;
        let accounts = Accounts::new(&config, Metrics::off());
        let idle = Duration::from_millis(40);
        let layer = QuotaLayer::new(accounts, TrustedProxies::default(), METHODS, idle);
        // Owed for a quarter of an hour.
        let frames =
            [1, 2].map(|byte| Ok::<_, Status>(Frame::data(bytes::Bytes::from(vec![byte; 1000]))));
        let body = http_body_util::StreamBody::new(futures::stream::iter(frames));
        let mut request = request(STREAM).map(|_| Body::new(body));
        request.extensions_mut().insert(auth::Caller::named("ada"));
        let _open = layer.admit(&mut request).expect("admitted");
        let read = tokio::time::timeout(Duration::from_secs(60), request.into_body().collect());
        let read = read.await.expect("in time").expect("sound").to_bytes();
        assert_eq!(read.len(), 2000);
    }

    #[tokio::test]
    async fn handlers_learn_whose_a_call_is() {
        let layer = layer(&CallersConfig::default());
        let mut request = request(UNARY);
        request.extensions_mut().insert(auth::Caller::named("ada"));
        layer.admit(&mut request).expect("admitted");
        let origin = request.extensions().get::<Origin>().expect("an origin");
        assert_eq!(*origin, Caller::Key("ada".into()).origin(None));
        assert!(request.extensions().get::<Arc<Account>>().is_some());
    }
}
