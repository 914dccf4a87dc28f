//! The hub's side of a download: addresses, tokens, headers.
//!
//! The crate `hf-hub` does not serve: 0.5 appends to a half-downloaded file without looking whether
//! the server began where it was asked to, asks past the end of one that is complete, checks no
//! hash, has no time limit, and brings a second HTTP client; 1.0 begins from zero each time (and
//! brings 60 crates more). What is here is the least that resumes and checks, over the `reqwest`
//! that the project has anyway: rustls, proxies from the environment.

use std::time::Duration;

use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, LOCATION, RANGE,
};
use reqwest::{Client, Method, Response, StatusCode, Url, redirect};

use super::ModelStoreError;
use crate::base::hub::{HubOptions, is_passing, retry_after};
use crate::base::offline;
use crate::model::catalog::is_sha256;

/// Redirects within the hub that are followed: renamed repositories, its own cache.
const MAX_HOPS: usize = 5;

/// A revision such as `refs/pr/1` as one segment of an address.
fn one_segment(revision: &str) -> String {
    revision.replace('/', "%2F")
}

/// A hub that models come from.
#[derive(Debug, Clone)]
pub struct Hub {
    client: Client,
    endpoint: Url,
    pub(super) options: HubOptions,
}

/// What the hub says of a file.
#[derive(Debug, Clone)]
pub(super) struct Remote {
    /// Where its bytes are.
    pub url: Url,
    pub commit: Option<String>,
    /// Told for large files only.
    pub sha256: Option<String>,
    /// Tells this content from another, where there is one.
    pub etag: Option<String>,
    pub bytes: Option<u64>,
}

/// Why one request came to nothing.
#[derive(Debug)]
pub(super) enum Fault {
    Status { status: StatusCode, code: Option<String>, wait: Option<Duration> },
    Transport(reqwest::Error),
    Html,
    Redirects,
}

impl Fault {
    /// Whether the same request may pass later.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Transport(_) => true,
            Self::Status { status, .. } => is_passing(*status),
            Self::Html | Self::Redirects => false,
        }
    }
}

impl Hub {
    /// A hub reached as `options` say.
    ///
    /// # Errors
    /// `--offline` is on, the endpoint is not a web address, or the TLS set-up of this machine cannot be used.
    pub fn new(options: HubOptions) -> Result<Self, ModelStoreError> {
        if offline::is_on() {
            return Err(ModelStoreError::Offline { what: options.endpoint });
        }
        let refused =
            |problem| ModelStoreError::Endpoint { value: options.endpoint.clone(), problem };
        let endpoint = options.address().map_err(refused)?;
        let client = Client::builder()
            // Redirects are followed by hand: the token must not travel, the headers must be read.
            .redirect(redirect::Policy::none())
            .connect_timeout(options.timeout)
            .read_timeout(options.timeout)
            .user_agent(concat!("pairwright/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| ModelStoreError::Client { message: error.to_string() })?;
        Ok(Self { client, endpoint, options })
    }

    /// The hub that the environment names.
    ///
    /// # Errors
    /// As [`Hub::new`].
    pub fn from_environment() -> Result<Self, ModelStoreError> {
        Self::new(HubOptions::from_environment())
    }

    /// The address of a file in a repository.
    pub(super) fn file_url(&self, repo: &str, revision: &str, path: &str) -> String {
        let base = self.endpoint.as_str().trim_end_matches('/');
        format!("{base}/{repo}/resolve/{}/{path}", one_segment(revision))
    }

    /// The address of what the hub tells about a revision of a repository.
    pub(super) fn info_url(&self, repo: &str, revision: &str) -> String {
        let base = self.endpoint.as_str().trim_end_matches('/');
        format!("{base}/api/models/{repo}/revision/{}?blobs=true", one_segment(revision))
    }

    /// Asks what a file is and where its bytes are.
    pub(super) async fn head(&self, url: &str) -> Result<Remote, Fault> {
        let mut url = Url::parse(url).map_err(|_| Fault::Redirects)?;
        let mut told = Told::default();
        for _ in 0..=MAX_HOPS {
            let response = self.send(Method::HEAD, &url, None).await?;
            told.read(response.headers(), response.status().is_redirection());
            if response.status().is_success() {
                let is_page = is_html(response.headers()) && told.commit.is_none();
                let remote = told.remote(url);
                return if is_page { Err(Fault::Html) } else { Ok(remote) };
            }
            let next = location(&response, &url).ok_or_else(|| status(&response))?;
            if !self.is_own(&next) {
                return Ok(told.remote(next));
            }
            url = next;
        }
        Err(Fault::Redirects)
    }

    /// Asks for a file's bytes from `start` on.
    pub(super) async fn get(&self, url: &Url, start: u64) -> Result<Response, Fault> {
        let mut url = url.clone();
        for _ in 0..=MAX_HOPS {
            let response = self.send(Method::GET, &url, Some(start)).await?;
            if response.status().is_success() {
                return Ok(response);
            }
            url = location(&response, &url).ok_or_else(|| status(&response))?;
        }
        Err(Fault::Redirects)
    }

    async fn send(&self, method: Method, url: &Url, start: Option<u64>) -> Result<Response, Fault> {
        let mut request = self.client.request(method, url.clone());
        // A compressed answer would have another length, and no ranges.
        request = request.header(ACCEPT_ENCODING, "identity");
        if let Some(start) = start.filter(|start| *start > 0) {
            request = request.header(RANGE, format!("bytes={start}-"));
        }
        let request = self.options.authorised(request, url, &self.endpoint);
        request.send().await.map_err(Fault::Transport)
    }

    fn is_own(&self, url: &Url) -> bool {
        url.origin() == self.endpoint.origin()
    }
}

/// What the answers on the way to a file told of it; the first word counts.
#[derive(Default)]
struct Told {
    commit: Option<String>,
    linked_etag: Option<String>,
    etag: Option<String>,
    linked_bytes: Option<u64>,
    bytes: Option<u64>,
}

impl Told {
    fn read(&mut self, headers: &HeaderMap, redirects: bool) {
        let number = |name: &str| text(headers, name).and_then(|text| text.parse().ok());
        self.commit = self.commit.take().or_else(|| text(headers, "x-repo-commit"));
        self.linked_etag = self.linked_etag.take().or_else(|| etag(headers, "x-linked-etag"));
        self.linked_bytes = self.linked_bytes.or_else(|| number("x-linked-size"));
        // A redirect's own body is not the file.
        if !redirects {
            self.etag = etag(headers, ETAG.as_str());
            self.bytes = number(CONTENT_LENGTH.as_str());
        }
    }

    fn remote(self, url: Url) -> Remote {
        let sha256 = self.linked_etag.clone().filter(|etag| is_sha256(etag));
        let etag = self.linked_etag.or(self.etag);
        Remote { url, commit: self.commit, sha256, etag, bytes: self.linked_bytes.or(self.bytes) }
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

fn etag(headers: &HeaderMap, name: &str) -> Option<String> {
    let etag = text(headers, name)?;
    Some(etag.trim_start_matches("W/").trim_matches('"').to_owned())
}

/// Whether an answer calls itself a web page.
pub(super) fn is_html(headers: &HeaderMap) -> bool {
    text(headers, CONTENT_TYPE.as_str()).is_some_and(|kind| kind.starts_with("text/html"))
}

fn location(response: &Response, url: &Url) -> Option<Url> {
    if !response.status().is_redirection() {
        return None;
    }
    url.join(&text(response.headers(), LOCATION.as_str())?).ok()
}

fn status(response: &Response) -> Fault {
    let headers = response.headers();
    Fault::Status {
        status: response.status(),
        code: text(headers, "x-error-code"),
        wait: retry_after(headers),
    }
}
