//! The HTTP layer below the client crate: what answers mean before anyone parses them.
//!
//! The crate's own retry layer is replaced by this service, so that ours is the only one, the
//! Retry-After header is seen, and bodies are bounded.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use async_openai::error::OpenAIError;
use async_openai::middleware::HttpRequestFactory;
use futures::future::BoxFuture;
use futures::{StreamExt, TryStreamExt};
use reqwest::header::{AUTHORIZATION, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use tower::BoxError;

use super::key::ApiKey;
use crate::llm::error::{LlmFault, excerpt};
use crate::llm::retry::parse_retry_after;

/// Largest answer read, 32 MiB: far above any chat completion, far below memory.
const MAX_BODY: usize = 32 << 20;

/// Bytes of an error's body that are read for its excerpt.
const MAX_ERROR_BODY: usize = 16 << 10;

/// Sends requests and turns every failure into an [`LlmFault`].
#[derive(Clone)]
pub(super) struct Transport {
    pub(super) http: reqwest::Client,
    pub(super) peer: Arc<Peer>,
}

/// Who is at the other end, for error messages.
pub(super) struct Peer {
    pub(super) base_url: String,
    pub(super) model: String,
    pub(super) key: Option<ApiKey>,
}

impl tower::Service<HttpRequestFactory> for Transport {
    type Response = Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, factory: HttpRequestFactory) -> Self::Future {
        let Self { http, peer } = self.clone();
        Box::pin(async move {
            let mut request = factory.build().await?;
            if peer.key.is_none() {
                // The crate would send `Bearer ` with nothing behind it, which some servers refuse.
                request.headers_mut().remove(AUTHORIZATION);
            }
            let response =
                http.execute(request).await.map_err(|error| peer.network_fault(&error))?;
            if response.status().is_success() {
                return Ok(bounded(response));
            }
            Err(peer.refusal(response).await.into())
        })
    }
}

impl Peer {
    /// What the crate's error means.
    pub(super) fn fault(&self, error: OpenAIError) -> LlmFault {
        match error {
            OpenAIError::Boxed(inner) => match inner.downcast::<LlmFault>() {
                Ok(fault) => *fault,
                Err(other) => garbage("unexpected failure", &other.to_string()),
            },
            OpenAIError::Reqwest(error) => self.network_fault(&error),
            OpenAIError::JSONDeserialize(error, body) => {
                garbage(&error.to_string(), &self.redact(&body))
            }
            OpenAIError::StreamError(error) => self.broken(&error.to_string()),
            other => garbage("unexpected failure", &other.to_string()),
        }
    }

    fn network_fault(&self, error: &reqwest::Error) -> LlmFault {
        let cause = cause(error);
        if error.is_connect() {
            return LlmFault::Unreachable { url: self.base_url.clone(), cause };
        }
        if cause.contains(TOO_LARGE) {
            return garbage(TOO_LARGE, "");
        }
        self.broken(&cause)
    }

    pub(super) fn broken(&self, cause: &str) -> LlmFault {
        LlmFault::Disconnected { url: self.base_url.clone(), cause: excerpt(cause) }
    }

    /// What an answer with a status other than 2xx means.
    async fn refusal(&self, response: Response) -> LlmFault {
        let status = response.status();
        let header = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = header.and_then(|value| parse_retry_after(value, SystemTime::now()));
        let body = self.redact(&start_of(response).await);
        let excerpt = excerpt(&body);
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let key_env = self.key.as_ref().map(|key| key.source().to_owned());
                LlmFault::Auth { status: status.as_u16(), key_env, excerpt }
            }
            StatusCode::NOT_FOUND => LlmFault::NotFound {
                status: status.as_u16(),
                url: self.base_url.clone(),
                model: self.model.clone(),
                excerpt,
            },
            StatusCode::TOO_MANY_REQUESTS if body.contains("insufficient_quota") => {
                LlmFault::QuotaExhausted { status: status.as_u16(), excerpt }
            }
            StatusCode::TOO_MANY_REQUESTS => LlmFault::RateLimited { retry_after, excerpt },
            _ if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT => {
                LlmFault::Server { status: status.as_u16(), retry_after, excerpt }
            }
            _ if speaks_of_context(&body) => LlmFault::ContextTooLong { excerpt },
            _ => LlmFault::BadRequest { status: status.as_u16(), excerpt },
        }
    }

    /// Takes our key out of text that a server may have echoed.
    fn redact(&self, text: &str) -> String {
        match &self.key {
            Some(key) => text.replace(key.expose(), "***"),
            None => text.to_owned(),
        }
    }
}

pub(super) fn garbage(what: &str, body: &str) -> LlmFault {
    LlmFault::Garbage { what: excerpt(what), excerpt: excerpt(body) }
}

/// How OpenAI, llama.cpp and vLLM say that a conversation does not fit.
fn speaks_of_context(body: &str) -> bool {
    ["context_length_exceeded", "exceed_context_size_error", "maximum context length"]
        .iter()
        .any(|phrase| body.contains(phrase))
}

/// The first bytes of an error's body; what cannot be read is left out.
async fn start_of(response: Response) -> String {
    let mut stream = response.bytes_stream();
    let mut start = Vec::new();
    while let Some(Ok(bytes)) = stream.next().await {
        start.extend_from_slice(&bytes);
        if start.len() >= MAX_ERROR_BODY {
            break;
        }
    }
    start.truncate(MAX_ERROR_BODY);
    String::from_utf8_lossy(&start).into_owned()
}

const TOO_LARGE: &str = "larger than 32 MiB";

/// The same response with a body that ends in an error once it grows past [`MAX_BODY`].
fn bounded(response: Response) -> Response {
    let (status, headers) = (response.status(), response.headers().clone());
    let mut seen = 0;
    let body = response.bytes_stream().map_err(BoxError::from).and_then(move |bytes| {
        seen += bytes.len();
        let fits = if seen <= MAX_BODY { Ok(bytes) } else { Err(TOO_LARGE.into()) };
        futures::future::ready(fits)
    });
    let mut bounded = http::Response::new(reqwest::Body::wrap_stream(body));
    *bounded.status_mut() = status;
    *bounded.headers_mut() = headers;
    bounded.into()
}

/// The innermost words of a network error, which are the useful ones ("connection refused").
fn cause(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
