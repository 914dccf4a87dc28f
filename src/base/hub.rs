//! How a hub of models and datasets is reached: its address, the token, what its answers mean.

use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{RequestBuilder, StatusCode, Url};

/// Where the hub is unless `HF_ENDPOINT` says otherwise.
const DEFAULT_ENDPOINT: &str = "https://huggingface.co";

/// The longest wait between two tries.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(60);

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
    match super::paths::from_variable("HF_TOKEN_PATH") {
        Some(path) => fs_err::read_to_string(path).ok(),
        None => {
            let home = match super::paths::from_variable("HF_HOME") {
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

/// How long to wait before each further try.
pub(crate) struct Waits(Duration);

impl HubOptions {
    pub(crate) fn waits(&self) -> Waits {
        Waits(self.first_wait)
    }
}

impl Waits {
    /// The next wait: what the server told, else twice the one before, and never over
    /// [`LONGEST_WAIT`].
    pub fn next(&mut self, told: Option<Duration>) -> Duration {
        let wait = told.unwrap_or(self.0).min(LONGEST_WAIT);
        self.0 *= 2;
        wait
    }
}

/// Whether a server that answered so may answer otherwise later.
pub(crate) fn is_passing(status: StatusCode) -> bool {
    status.is_server_error()
        || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
}

/// The wait that an answer asks for: its own header, or what is left of the time for which a rate
/// limit counts (`RateLimit: "api";r=0;t=55`).
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let left = || text("ratelimit")?.split(';').find_map(|part| part.trim().strip_prefix("t="));
    let told = text(RETRY_AFTER.as_str()).or_else(left)?;
    told.trim().parse().ok().map(Duration::from_secs)
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
    fn waits_double_up_to_the_longest_unless_told() {
        let mut waits = Waits(Duration::from_secs(25));
        let seconds = [None, Some(3), None, None, Some(100)];
        let seconds = seconds.map(|told| waits.next(told.map(Duration::from_secs)).as_secs());
        assert_eq!(seconds, [25, 3, 60, 60, 60]);
    }

    #[test]
    fn a_rate_limit_tells_its_wait() {
        let wait = |name: &'static str, value| {
            let name = reqwest::header::HeaderName::from_static(name);
            let value = reqwest::header::HeaderValue::from_static(value);
            retry_after(&HeaderMap::from_iter([(name, value)]))
        };
        assert_eq!(wait("retry-after", "7"), Some(Duration::from_secs(7)));
        assert_eq!(wait("ratelimit", "\"api\";r=0;t=55"), Some(Duration::from_secs(55)));
        assert_eq!(wait("ratelimit", "\"api\";r=0"), None);
    }

    #[test]
    fn an_empty_token_is_none() {
        assert_eq!(told("hf_a\n").as_deref(), Some("hf_a"));
        assert_eq!(told(" \n"), None);
    }
}
