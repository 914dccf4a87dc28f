//! The hub's side of a download: addresses, tokens, headers.
//!
//! The crate `hf-hub` does not serve: 0.5 appends to a half-downloaded file without looking whether
//! the server began where it was asked to, asks past the end of one that is complete, checks no
//! hash, has no time limit, and brings a second HTTP client; 1.0 begins from zero each time (and
//! brings 60 crates more). What is here is the least that resumes and checks, over the `reqwest`
//! that the project has anyway: rustls, proxies from the environment.

use std::time::Duration;

use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, LOCATION, RANGE, RETRY_AFTER,
};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url, redirect};

use super::{ModelStoreError, offline};
use crate::model::catalog::is_sha256;

/// Where the hub is unless `HF_ENDPOINT` says otherwise.
const DEFAULT_ENDPOINT: &str = "https://huggingface.co";

/// The longest wait between two tries.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Redirects within the hub that are followed: renamed repositories, its own cache.
const MAX_HOPS: usize = 5;

/// How a hub is reached.
#[derive(Debug, Clone)]
pub struct HubOptions {
    /// The hub's address; a mirror's where `HF_ENDPOINT` names one.
    pub endpoint: String,
    /// Sent to the hub itself, never to where it redirects.
    pub token: Option<String>,
    /// The longest a server may stay silent.
    pub timeout: Duration,
    /// The wait after the first failed try; each further one doubles it.
    pub first_wait: Duration,
    /// Tries without one new byte before a download is given up.
    pub tries: u32,
}

impl HubOptions {
    /// `HF_ENDPOINT`, `HF_TOKEN` or the token file of the hub's own tools (`HF_TOKEN_PATH`,
    /// `HF_HOME/token`), and `HF_HUB_DOWNLOAD_TIMEOUT` in seconds.
    pub fn from_environment() -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let seconds = variable("HF_HUB_DOWNLOAD_TIMEOUT").and_then(|text| text.parse().ok());
        Self {
            endpoint: variable("HF_ENDPOINT").unwrap_or_else(|| DEFAULT_ENDPOINT.into()),
            token: variable("HF_TOKEN").or_else(token_file).and_then(|token| told(&token)),
            timeout: Duration::from_secs(seconds.unwrap_or(30)),
            first_wait: Duration::from_millis(500),
            tries: 6,
        }
    }

    /// The endpoint's address, or what is wrong with it in words.
    pub(crate) fn address(&self) -> Result<Url, String> {
        let address = Url::parse(self.endpoint.trim_end_matches('/'));
        let address = address.map_err(|error| error.to_string())?;
        match address.scheme() {
            "http" | "https" => Ok(address),
            other => Err(format!("the scheme is {other}")),
        }
    }

    /// A request with the token, where `url` is on the server of `endpoint`.
    pub(crate) fn authorised(
        &self,
        request: RequestBuilder,
        url: &Url,
        endpoint: &Url,
    ) -> RequestBuilder {
        match &self.token {
            Some(token) if url.origin() == endpoint.origin() => request.bearer_auth(token),
            _ => request,
        }
    }
}

fn token_file() -> Option<String> {
    match crate::base::paths::from_variable("HF_TOKEN_PATH") {
        Some(path) => fs_err::read_to_string(path).ok(),
        None => {
            let home = match crate::base::paths::from_variable("HF_HOME") {
                Some(folder) => folder,
                None => std::env::home_dir()?.join(".cache/huggingface"),
            };
            fs_err::read_to_string(home.join("token")).ok()
        }
    }
}

/// A token without the line feed behind it; none where nothing is left.
fn told(token: &str) -> Option<String> {
    Some(token.trim().to_owned()).filter(|token| !token.is_empty())
}

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

/// Whether a server that answered so may answer otherwise later.
pub(crate) fn is_passing(status: StatusCode) -> bool {
    status.is_server_error()
        || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
}

/// The wait that an answer asks for.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    text(headers, RETRY_AFTER.as_str())?.parse().ok().map(Duration::from_secs)
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

/// An error of the client in words: the causes tell, the top one names the address only.
pub(crate) fn causes(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "the server stayed silent too long".into();
    }
    let mut words = Vec::new();
    let mut cause = std::error::Error::source(error);
    while let Some(one) = cause {
        words.push(one.to_string());
        cause = one.source();
    }
    if words.is_empty() { error.to_string() } else { words.join(": ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_token_is_none() {
        assert_eq!(told("hf_a\n").as_deref(), Some("hf_a"));
        assert_eq!(told(" \n"), None);
    }
}
