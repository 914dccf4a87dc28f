//! The hub's side of a push: its addresses, and requests that are tried again.

use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use reqwest::{Body, Client, Method, RequestBuilder, Response, StatusCode, Url, redirect};
use serde_json::Value;

use super::PushError;
use crate::base::hub::{HubOptions, causes, is_passing, retry_after};
use crate::base::offline;

/// The slowest line that a request is not given up on, in bytes a second.
const SLOWEST: u64 = 20_000;
/// Pieces in which files are sent.
const PIECE: usize = 1 << 20;
/// What is told of an answer that refuses, in characters.
const SAID: usize = 300;

const JSON: &str = "application/json";
const LFS: &str = "application/vnd.git-lfs+json";
const LINES: &str = "application/x-ndjson";

/// A hub that takes datasets.
pub(super) struct Remote {
    client: Client,
    endpoint: Url,
    options: HubOptions,
}

/// What is sent with a question.
#[derive(Debug, Clone)]
pub(super) enum Payload {
    Nothing,
    Json(Value),
    /// In the type of Git LFS.
    Lfs(Value),
    /// One JSON value a line.
    Lines(Bytes),
}

/// A part of a file.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub path: PathBuf,
    pub start: u64,
    pub bytes: u64,
}

impl Remote {
    pub fn new(options: HubOptions) -> Result<Self, PushError> {
        if offline::is_on() {
            return Err(PushError::Offline { endpoint: options.endpoint });
        }
        let wrong = |problem| PushError::Endpoint { value: options.endpoint.clone(), problem };
        let endpoint = options.address().map_err(wrong)?;
        let client = Client::builder()
            // A token must not travel to where an answer redirects.
            .redirect(redirect::Policy::none())
            .connect_timeout(options.timeout)
            .user_agent(concat!("pairwright/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| PushError::Client { message: error.to_string() })?;
        Ok(Self { client, endpoint, options })
    }

    pub fn has_token(&self) -> bool {
        self.options.token.is_some()
    }

    /// An address on the hub itself.
    pub fn url(&self, path: &str) -> Result<Url, PushError> {
        let base = self.endpoint.as_str().trim_end_matches('/');
        parse(&format!("{base}/{path}"))
    }

    /// Asks for JSON; nothing where the answer's status is one of `fine`.
    pub async fn ask(
        &self,
        what: &str,
        method: Method,
        url: &Url,
        payload: &Payload,
        fine: &[StatusCode],
    ) -> Result<Option<Value>, PushError> {
        let (kind, body) = match payload {
            Payload::Nothing => (None, Bytes::new()),
            Payload::Json(value) => (Some(JSON), value.to_string().into()),
            Payload::Lfs(value) => (Some(LFS), value.to_string().into()),
            Payload::Lines(lines) => (Some(LINES), lines.clone()),
        };
        let make = || {
            let request = self.client.request(method.clone(), url.clone());
            let request = self.options.authorised(request, url, &self.endpoint);
            let request = request.timeout(self.patience(body.len() as u64));
            match kind {
                None => request,
                Some(kind) => {
                    let accept = if kind == LFS { LFS } else { JSON };
                    request.header(ACCEPT, accept).header(CONTENT_TYPE, kind).body(body.clone())
                }
            }
        };
        let response = self.send(what, make).await?;
        if fine.contains(&response.status()) {
            return Ok(None);
        }
        let response = require_success(what, response).await?;
        let garbled = |detail| PushError::Answer { what: what.to_owned(), detail };
        let text = response.bytes().await.map_err(|error| garbled(causes(&error)))?;
        let value = if text.is_empty() { Ok(Value::Null) } else { serde_json::from_slice(&text) };
        value.map(Some).map_err(|error| garbled(error.to_string()))
    }

    /// Puts a part of a file at an address that the hub named, and gives the answer's ETag. The
    /// token stays here: the address itself says who may write to it.
    pub async fn put(
        &self,
        what: &str,
        url: &Url,
        headers: &HeaderMap,
        part: &Part,
    ) -> Result<Option<String>, PushError> {
        let make = || {
            self.client
                .put(url.clone())
                .headers(headers.clone())
                // Stores of objects take no chunked transfer.
                .header(CONTENT_LENGTH, part.bytes)
                .timeout(self.patience(part.bytes))
                .body(part.body())
        };
        let response = require_success(what, self.send(what, make).await?).await?;
        let etag = response.headers().get("etag").and_then(|etag| etag.to_str().ok());
        Ok(etag.map(str::to_owned))
    }

    fn patience(&self, bytes: u64) -> Duration {
        self.options.timeout + Duration::from_secs(bytes / SLOWEST)
    }

    /// Sends what `make` makes until there is an answer that would not be another one later.
    async fn send(
        &self,
        what: &str,
        make: impl Fn() -> RequestBuilder,
    ) -> Result<Response, PushError> {
        let (mut tries, mut waits) = (0, self.options.waits());
        loop {
            tries += 1;
            let (cause, told) = match make().send().await {
                Ok(response) if !is_passing(response.status()) => return Ok(response),
                Ok(response) => {
                    let cause = format!("the server answered {}", response.status());
                    (cause, retry_after(response.headers()))
                }
                Err(error) => (causes(&error), None),
            };
            if tries >= self.options.tries {
                return Err(PushError::Broken { what: what.to_owned(), cause, tries });
            }
            let pause = waits.next(told);
            tracing::warn!("{what}: {cause}; tried again in {pause:?}");
            tokio::time::sleep(pause).await;
        }
    }
}

impl Part {
    /// The bytes as a stream, so that no more than a piece is held.
    fn body(&self) -> Body {
        let state = (None::<fs_err::File>, self.start, self.bytes);
        let path = self.path.clone();
        let pieces = futures::stream::try_unfold(state, move |(file, at, left)| {
            let path = path.clone();
            async move {
                if left == 0 {
                    return Ok(None);
                }
                let read = tokio::task::spawn_blocking(move || piece(&path, file, at, left));
                let (file, bytes) = read.await.map_err(std::io::Error::other)??;
                let length = bytes.len() as u64;
                Ok::<_, std::io::Error>(Some((bytes, (Some(file), at + length, left - length))))
            }
        });
        Body::wrap_stream(pieces)
    }
}

/// The next piece of a file, which is opened at `at` for the first one.
fn piece(
    path: &Path,
    file: Option<fs_err::File>,
    at: u64,
    left: u64,
) -> std::io::Result<(fs_err::File, Bytes)> {
    let mut file = match file {
        Some(file) => file,
        None => {
            let mut file = fs_err::File::open(path)?;
            file.seek(SeekFrom::Start(at))?;
            file
        }
    };
    let mut bytes = vec![0; left.min(PIECE as u64) as usize];
    file.read_exact(&mut bytes)?;
    Ok((file, bytes.into()))
}

/// An address that an answer names.
pub(super) fn parse(url: &str) -> Result<Url, PushError> {
    Url::parse(url).map_err(|error| PushError::Answer {
        what: "an address".into(),
        detail: format!("{url:?}: {error}"),
    })
}

/// The beginning of what the hub said, fit for a terminal.
pub(super) fn excerpt(said: &str) -> String {
    said.chars().take(SAID).flat_map(char::escape_debug).collect()
}

async fn require_success(what: &str, response: Response) -> Result<Response, PushError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let text = response.text().await.unwrap_or_default();
    let told: Option<Value> = serde_json::from_str(&text).ok();
    let told = told.and_then(|value| Some(value.get("error")?.as_str()?.to_owned()));
    let said = excerpt(&told.unwrap_or(text));
    Err(PushError::Refused { what: what.to_owned(), status: status.as_u16(), said })
}
