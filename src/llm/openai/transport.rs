//! The HTTP side: sends requests, bounds what is read, and turns every failure into an
//! [`LlmFault`].

use futures::StreamExt;
use reqwest::header::{CONTENT_TYPE, HeaderMap, LOCATION};
use reqwest::{RequestBuilder, Response};
use serde::Serialize;

use super::key::ApiKey;
use super::refusal::{AboutPhoto, Reason, Refusal, readable};
use crate::llm::error::{LlmFault, excerpt};
use crate::llm::parameter::Parameter;

/// Largest answer read, 32 MiB: far above any chat completion, far below memory.
pub(super) const MAX_BODY: usize = 32 << 20;

/// Bytes of an error's body that are read.
const MAX_ERROR_BODY: usize = 64 << 10;

const TOO_LARGE: &str = "larger than 32 MiB";

/// The server, and what to say of it in messages.
pub(super) struct Peer {
    pub(super) http: reqwest::Client,
    pub(super) base_url: String,
    pub(super) model: String,
    pub(super) key: Option<ApiKey>,
}

/// Why a request brought nothing.
pub(super) struct Refused {
    pub(super) fault: LlmFault,
    /// The parameter that the server does not take, where that is why.
    pub(super) parameter: Option<Parameter>,
    /// The fault that it is where a photo goes with the call, if that is another one.
    pub(super) photo: Option<Box<LlmFault>>,
}

impl From<LlmFault> for Refused {
    fn from(fault: LlmFault) -> Self {
        Self { fault, parameter: None, photo: None }
    }
}

impl Peer {
    pub(super) async fn get(&self, path: &str) -> Result<Response, Refused> {
        self.send(self.http.get(self.url(path))).await
    }

    pub(super) async fn post(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Response, Refused> {
        let json = serde_json::to_vec(body)
            .map_err(|error| LlmFault::config("messages", error.to_string()))?;
        let request = self.http.post(self.url(path)).header(CONTENT_TYPE, "application/json");
        self.send(request.body(json)).await
    }

    pub(super) async fn post_form(
        &self,
        path: &str,
        form: reqwest::multipart::Form,
    ) -> Result<Response, Refused> {
        self.send(self.http.post(self.url(path)).multipart(form)).await
    }

    fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.base_url)
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Refused> {
        let request = match &self.key {
            Some(key) => request.bearer_auth(key.expose()),
            None => request,
        };
        let response = request.send().await.map_err(|error| self.network_fault(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = start_of(response).await;
        Err(self.refused(status, &headers, &body))
    }

    /// What a refusal means: an answer of another status than 2xx, or an error inside a good one,
    /// for which `status` is 200.
    pub(super) fn refused(&self, status: u16, headers: &HeaderMap, body: &str) -> Refused {
        let refusal = Refusal::read(body);
        let status = if status == 200 { refusal.own_status() } else { status };
        let retry_after = refusal.retry_after(headers);
        let mut shown = readable(body);
        if let Some(to) = headers.get(LOCATION).and_then(|to| to.to_str().ok()) {
            shown = format!("redirects to {to} {shown}");
        }
        let excerpt = excerpt(&self.redact(&shown));
        let reason = refusal.reason(status);
        let parameter = if let Reason::Parameter(one) = reason { Some(one) } else { None };
        let photo = refusal.about_photo(status).map(|about| {
            Box::new(match about {
                AboutPhoto::NotTaken => LlmFault::CannotSee { excerpt: excerpt.clone() },
                AboutPhoto::TooLarge => LlmFault::PhotoTooLarge { excerpt: excerpt.clone() },
            })
        });
        let fault = match reason {
            Reason::ContentPolicy => LlmFault::ContentPolicy { status, excerpt },
            Reason::Quota => LlmFault::QuotaExhausted { status, excerpt },
            Reason::Rate => LlmFault::RateLimited { status, retry_after, excerpt },
            Reason::Context => LlmFault::ContextTooLong { excerpt },
            Reason::Auth => {
                let key_env = self.key.as_ref().map(|key| key.source().to_owned());
                LlmFault::Auth { status, key_env, excerpt }
            }
            Reason::NotFound => LlmFault::NotFound {
                status,
                url: self.base_url.clone(),
                model: self.model.clone(),
                excerpt,
            },
            // For a parameter, this is the fault where the call does not say it.
            Reason::Parameter(_) | Reason::Unknown if status < 500 => {
                LlmFault::BadRequest { status, excerpt }
            }
            Reason::Server | Reason::Parameter(_) | Reason::Unknown => {
                LlmFault::Server { status, retry_after, excerpt }
            }
        };
        Refused { fault, parameter, photo }
    }

    /// The whole body of a good answer, as text.
    ///
    /// # Errors
    /// `Garbage` beyond [`MAX_BODY`]; `Disconnected` when the connection breaks before its end.
    pub(super) async fn body(&self, response: Response) -> Result<String, LlmFault> {
        let mut body = Vec::new();
        let mut stream = response.bytes_stream();
        while let Some(bytes) = stream.next().await {
            body.extend_from_slice(&bytes.map_err(|error| self.network_fault(&error))?);
            within_bounds(body.len())?;
        }
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    pub(super) fn network_fault(&self, error: &reqwest::Error) -> LlmFault {
        let cause = cause(error);
        if error.is_connect() {
            return LlmFault::Unreachable { url: self.base_url.clone(), cause };
        }
        self.broken(&cause)
    }

    pub(super) fn broken(&self, cause: &str) -> LlmFault {
        LlmFault::Disconnected { url: self.base_url.clone(), cause: excerpt(cause) }
    }

    /// An answer that is no chat completion.
    pub(super) fn garbage(&self, what: &str, body: &str) -> LlmFault {
        let start = &body[..body.floor_char_boundary(MAX_ERROR_BODY)];
        let shown = self.redact(&readable(start));
        LlmFault::Garbage { what: excerpt(what), excerpt: excerpt(&shown) }
    }

    /// Takes our key out of text that a server may have echoed.
    fn redact(&self, text: &str) -> String {
        match &self.key {
            Some(key) => text.replace(key.expose(), "***"),
            None => text.to_owned(),
        }
    }
}

/// # Errors
/// `Garbage` when `read` bytes are more than an answer may have.
pub(super) fn within_bounds(read: usize) -> Result<(), LlmFault> {
    if read <= MAX_BODY {
        return Ok(());
    }
    Err(LlmFault::Garbage { what: TOO_LARGE.to_owned(), excerpt: String::new() })
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

/// The innermost words of a network error, which are the useful ones ("connection refused").
fn cause(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
