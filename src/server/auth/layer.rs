//! The layer that asks every caller for a key.

use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use futures::future::Either;
use http::{HeaderMap, Request, Response};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};

use super::{KeyRing, Scope, is_mutating};
use crate::server::fault::Fault;
use crate::server::layers::{Answer, refuse};
use crate::server::methods::is_health;

/// The name of the caller's key. A request extension that an outer layer may put there to learn
/// it, and that handlers may read.
#[derive(Debug, Clone, Default)]
pub struct Caller(Arc<OnceLock<Arc<str>>>);

impl Caller {
    /// The key's name; none before the key was checked, or without keys.
    pub fn name(&self) -> Option<&str> {
        self.0.get().map(|name| &**name)
    }

    /// As [`Caller::name`], to keep.
    pub fn shared(&self) -> Option<Arc<str>> {
        self.0.get().cloned()
    }

    #[cfg(test)]
    pub fn named(name: &str) -> Self {
        Self(Arc::new(OnceLock::from(Arc::from(name))))
    }
}

/// Refuses calls without a key that allows them. Health calls need none. Without a ring, every
/// call passes.
#[derive(Clone)]
pub struct AuthLayer {
    ring: Option<KeyRing>,
}

impl AuthLayer {
    /// Checks against `ring`.
    pub fn new(ring: Option<KeyRing>) -> Self {
        Self { ring }
    }

    fn admit(&self, request: &mut Request<Body>) -> Result<(), Status> {
        let Some(ring) = &self.ring else { return Ok(()) };
        if is_health(request.uri().path()) {
            return Ok(());
        }
        let token = token(request.headers()).ok_or_else(missing)?;
        let (name, scope) = ring.check(token).ok_or_else(invalid)?;
        let allowed = scope == Scope::Write || !is_mutating(request.uri().path());
        let caller = request.extensions_mut().get_or_insert_default::<Caller>();
        // Set once per call, by this layer alone.
        let _ = caller.0.set(name.clone());
        request.extensions_mut().insert(scope);
        if allowed { Ok(()) } else { Err(out_of_scope("this method").into()) }
    }
}

/// `authorization: Bearer KEY`, or `x-api-key: KEY`.
fn token(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers.get("authorization").and_then(|value| value.to_str().ok());
    let bearer = bearer.and_then(|value| value.split_once(' '));
    let bearer = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let plain = || headers.get("x-api-key").and_then(|value| value.to_str().ok());
    bearer.map(|(_, token)| token.trim()).or_else(plain)
}

fn missing() -> Status {
    let message = "no API key; send it as `authorization: Bearer KEY` or `x-api-key: KEY`";
    Fault::new(Code::Unauthenticated, "API_KEY_MISSING", message).into()
}

/// The same for unknown, revoked and ended keys: which it was is nobody's business.
fn invalid() -> Status {
    Fault::new(Code::Unauthenticated, "API_KEY_INVALID", "this API key is not valid").into()
}

/// For what a read key may not ask for.
pub(in crate::server) fn out_of_scope(what: &str) -> Fault {
    let message = format!("this API key may only read; {what} needs a write key");
    let fault = Fault::new(Code::PermissionDenied, "API_KEY_SCOPE", message);
    fault.with("scope", Scope::Read.name())
}

impl<S> Layer<S> for AuthLayer {
    type Service = Auth<S>;

    fn layer(&self, inner: S) -> Auth<S> {
        Auth { inner, layer: self.clone() }
    }
}

/// The service of [`AuthLayer`].
#[derive(Clone)]
pub struct Auth<S> {
    inner: S,
    layer: AuthLayer,
}

impl<S> Service<Request<Body>> for Auth<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Answer<S::Future, S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        match self.layer.admit(&mut request) {
            Ok(()) => Either::Right(self.inner.call(request)),
            Err(status) => refuse(status),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::auth::KeyFile;
    use crate::server::layers::testing::{HEALTH, endless, request, send, status_of};
    use tonic_types::StatusExt;

    const READ: &str = "/pairwright.v1.InfoService/GetInfo";
    const WRITE: &str = "/pairwright.v1.JobService/CancelJob";

    struct Fixture {
        _folder: tempfile::TempDir,
        layer: AuthLayer,
        read: String,
        write: String,
    }

    fn fixture() -> Fixture {
        let folder = tempfile::tempdir().expect("temp dir");
        let path = folder.path().join("keys.toml");
        let key = |name, scope| {
            let key = KeyFile::create(&path, name, scope, None).expect("created");
            key.reveal().to_owned()
        };
        let (read, write) = (key("reader", Scope::Read), key("writer", Scope::Write));
        let ring = KeyRing::open(&path).expect("opened");
        Fixture { _folder: folder, layer: AuthLayer::new(Some(ring)), read, write }
    }

    async fn answer(it: &Fixture, path: &str, header: Option<(&'static str, &str)>) -> Answered {
        let mut request = request(path);
        let caller = Caller::default();
        request.extensions_mut().insert(caller.clone());
        if let Some((name, value)) = header {
            request.headers_mut().insert(name, value.parse().expect("a header value"));
        }
        Answered { response: send(it.layer.layer(endless()), request).await, caller }
    }

    struct Answered {
        response: Response<Body>,
        caller: Caller,
    }

    impl Answered {
        fn passed(&self) -> bool {
            self.response.headers().get("grpc-status").is_none()
        }

        fn refusal(self) -> (Code, String) {
            let status = status_of(self.response);
            (status.code(), status.get_details_error_info().expect("reason").reason)
        }
    }

    #[tokio::test]
    async fn both_headers_are_taken_and_the_caller_is_named() {
        let it = fixture();
        for header in [
            ("authorization", &format!("Bearer {}", it.read)),
            ("authorization", &format!("bearer {}", it.read)),
            ("x-api-key", &it.read),
        ] {
            let answered = answer(&it, READ, Some((header.0, header.1))).await;
            assert!(answered.passed(), "{}", header.0);
            assert_eq!(answered.caller.name(), Some("reader"));
        }
    }

    #[tokio::test]
    async fn missing_and_wrong_keys_are_told_apart() {
        let it = fixture();
        let missing = answer(&it, READ, None).await.refusal();
        assert_eq!(missing, (Code::Unauthenticated, "API_KEY_MISSING".into()));
        let basic = answer(&it, READ, Some(("authorization", "Basic abc"))).await.refusal();
        assert_eq!(basic, (Code::Unauthenticated, "API_KEY_MISSING".into()));
        let wrong = answer(&it, READ, Some(("x-api-key", "pw_guess"))).await.refusal();
        assert_eq!(wrong, (Code::Unauthenticated, "API_KEY_INVALID".into()));
    }

    #[tokio::test]
    async fn a_read_key_cannot_change_anything() {
        let it = fixture();
        let answered = answer(&it, WRITE, Some(("x-api-key", &it.read))).await;
        assert_eq!(answered.caller.name(), Some("reader"), "the log is to name who tried");
        assert_eq!(answered.refusal(), (Code::PermissionDenied, "API_KEY_SCOPE".into()));
        assert!(answer(&it, WRITE, Some(("x-api-key", &it.write))).await.passed());
    }

    #[tokio::test]
    async fn health_needs_no_key_and_reflection_does() {
        let it = fixture();
        assert!(answer(&it, HEALTH, None).await.passed());
        let reflection = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
        assert!(!answer(&it, reflection, None).await.passed());
        assert!(answer(&it, reflection, Some(("x-api-key", &it.read))).await.passed());
    }

    #[tokio::test]
    async fn without_keys_every_call_passes() {
        let it = Fixture { layer: AuthLayer::new(None), ..fixture() };
        assert!(answer(&it, WRITE, None).await.passed());
    }
}
