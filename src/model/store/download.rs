//! One file, from the hub into the cache.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::StreamExt;
use reqwest::header::{CONTENT_RANGE, HeaderMap};
use reqwest::{Response, StatusCode};

use super::files::{self, Part};
use super::hub::{Fault, Hub, Remote, is_html};
use super::{HashSource, ModelStoreError};
use crate::base::hub::causes;

/// Hears how a download goes.
pub trait Transfer: Send + Sync {
    /// A file begins, of `total` bytes where that is known, `done` of which are here already.
    fn begin(&self, file: &str, done: u64, total: Option<u64>);
    /// Some bytes came.
    fn advance(&self, bytes: u64);
    /// The connection failed; another try follows after `wait`.
    fn retry(&self, file: &str, cause: &str, wait: Duration);
    /// The file is here, and what it should be.
    fn end(&self);
}

/// What is wanted.
pub(super) struct Wanted<'a> {
    pub repo: &'a str,
    pub revision: &'a str,
    /// Its path in the repository.
    pub path: &'a str,
    /// Where it goes.
    pub target: PathBuf,
    pub bytes: Option<u64>,
    pub sha256: Option<String>,
    /// Who says what its hash is.
    pub by: HashSource,
}

/// What came.
pub(super) struct Fetched {
    pub sha256: String,
    pub bytes: u64,
    pub commit: Option<String>,
}

/// Fetches a file: goes on where an earlier try stopped, tries again while there is hope, and gives
/// the file its name only when it is what was wanted.
pub(super) async fn fetch(
    hub: &Hub,
    wanted: &Wanted<'_>,
    transfer: &dyn Transfer,
) -> Result<Fetched, ModelStoreError> {
    let download = Download {
        hub,
        wanted,
        transfer,
        url: hub.file_url(wanted.repo, wanted.revision, wanted.path),
    };
    let (mut tries, mut waits, mut before) = (0, hub.options.waits(), 0);
    loop {
        let (fault, received) = match download.attempt().await {
            Ok(fetched) => return Ok(fetched),
            Err(Stop::Final(error)) => return Err(error),
            Err(Stop::Again { fault, received }) => (fault, received),
        };
        if received > before {
            (before, tries, waits) = (received, 0, hub.options.waits());
        }
        tries += 1;
        if tries >= hub.options.tries {
            return Err(download.give_up(fault, tries, received));
        }
        let pause = waits.next(fault.wait());
        transfer.retry(wanted.path, &fault.words(), pause);
        tokio::time::sleep(pause).await;
    }
}

/// Space that must stay free beside a file, in bytes.
const RESERVE: u64 = 1 << 20;

/// Why an attempt ended without the file.
pub(super) enum Stop {
    Final(ModelStoreError),
    Again { fault: Passing, received: u64 },
}

impl From<ModelStoreError> for Stop {
    fn from(error: ModelStoreError) -> Self {
        Self::Final(error)
    }
}

/// A failure that may pass.
pub(super) enum Passing {
    Fault(Fault),
    /// The answer ended before the file did.
    Short,
    /// What was half here turned out to be wrong.
    Damaged,
}

impl Passing {
    pub fn wait(&self) -> Option<Duration> {
        match self {
            Self::Fault(Fault::Status { wait, .. }) => *wait,
            _ => None,
        }
    }

    pub fn words(&self) -> String {
        match self {
            Self::Fault(Fault::Transport(error)) => causes(error),
            Self::Fault(Fault::Status { status, .. }) => format!("the server answered {status}"),
            Self::Fault(Fault::Html | Fault::Redirects) => "the answer makes no sense".into(),
            Self::Short => "the connection was cut".into(),
            Self::Damaged => "what was here of it was damaged: it is fetched again".into(),
        }
    }
}

pub(super) struct Download<'a> {
    pub hub: &'a Hub,
    pub wanted: &'a Wanted<'a>,
    pub transfer: &'a dyn Transfer,
    /// The file's address at the hub.
    pub url: String,
}

impl Download<'_> {
    pub async fn attempt(&self) -> Result<Fetched, Stop> {
        let remote = self.hub.head(&self.url).await.map_err(|fault| self.stop(fault, 0))?;
        self.check_promise(&remote)?;
        let expected = self.wanted.sha256.as_deref().or(remote.sha256.as_deref());
        let identity = expected.or(remote.etag.as_deref());
        let mut part = Part::open(&self.wanted.target, identity)?;
        let total = remote.bytes.or(self.wanted.bytes);
        if total.is_some_and(|total| part.received > total) {
            part.restart()?;
        }
        self.check_space(total.unwrap_or(0).saturating_sub(part.received))?;
        self.transfer.begin(self.wanted.path, part.received, total);
        if total.is_none_or(|total| part.received < total) {
            self.stream(&remote, &mut part, total).await?;
        }
        self.conclude(part, expected, remote.commit)
    }

    /// What the hub says of the file must be what the catalog says, before a byte comes.
    fn check_promise(&self, remote: &Remote) -> Result<(), ModelStoreError> {
        if let (Some(expected), Some(found)) = (&self.wanted.sha256, &remote.sha256)
            && expected != found
        {
            return Err(self.wrong_hash(expected, found.clone(), self.wanted.by));
        }
        match (self.wanted.bytes, remote.bytes) {
            (Some(expected), Some(found)) if expected != found => Err(self.wrong_size(
                expected,
                found,
                "the repository or the mirror has another file",
            )),
            _ => Ok(()),
        }
    }

    fn check_space(&self, needed: u64) -> Result<(), ModelStoreError> {
        let folder = self.wanted.target.parent().unwrap_or(Path::new("."));
        match files::free_space(folder) {
            Some(free) if free < needed.saturating_add(RESERVE) => Err(ModelStoreError::NoSpace {
                file: self.wanted.path.to_owned(),
                folder: folder.to_owned(),
                needed,
                free,
            }),
            _ => Ok(()),
        }
    }

    async fn stream(
        &self,
        remote: &Remote,
        part: &mut Part,
        total: Option<u64>,
    ) -> Result<(), Stop> {
        let response = match self.hub.get(&remote.url, part.received).await {
            Err(Fault::Status { status, .. })
                if status == StatusCode::RANGE_NOT_SATISFIABLE && part.received > 0 =>
            {
                part.restart()?;
                self.hub.get(&remote.url, 0).await
            }
            other => other,
        };
        let response = response.map_err(|fault| self.stop(fault, part.received))?;
        if is_html(response.headers()) && !self.wanted.path.ends_with(".html") {
            return Err(self.html().into());
        }
        if part.received > 0 && start_of(&response) != part.received {
            // The server sends from the beginning, whatever it was asked.
            part.restart()?;
            self.transfer.begin(self.wanted.path, 0, total);
        }
        let announced = response.content_length().map(|rest| part.received + rest);
        let mut body = response.bytes_stream();
        let mut is_first = true;
        while let Some(piece) = body.next().await {
            let again = |error| self.stop(Fault::Transport(error), part.received);
            let piece = piece.map_err(again)?;
            if std::mem::take(&mut is_first) {
                self.check_answer(&piece, part.received, total, announced)?;
            }
            part.push(&piece)?;
            self.transfer.advance(piece.len() as u64);
        }
        match total.or(announced) {
            Some(total) if part.received < total => {
                Err(Stop::Again { fault: Passing::Short, received: part.received })
            }
            _ => Ok(()),
        }
    }

    /// What an answer begins with must not be a page, and its length must be the file's.
    fn check_answer(
        &self,
        piece: &[u8],
        received: u64,
        total: Option<u64>,
        announced: Option<u64>,
    ) -> Result<(), ModelStoreError> {
        if received == 0 && looks_like_html(piece) && !self.wanted.path.ends_with(".html") {
            return Err(self.html());
        }
        match (total, announced) {
            (Some(expected), Some(found)) if expected != found => {
                Err(self.wrong_size(expected, found, "the answer is another file"))
            }
            _ => Ok(()),
        }
    }

    fn conclude(
        &self,
        part: Part,
        expected: Option<&str>,
        commit: Option<String>,
    ) -> Result<Fetched, Stop> {
        let (sha256, bytes, resumed) = (part.sha256(), part.received, part.resumed);
        let size_is_right = self.wanted.bytes.is_none_or(|expected| expected == bytes);
        if expected.is_none_or(|expected| expected == sha256) && size_is_right {
            part.keep(&self.wanted.target)?;
            self.transfer.end();
            return Ok(Fetched { sha256, bytes, commit });
        }
        part.discard()?;
        if resumed {
            // The first half may have been damaged on this machine: once more, from the beginning.
            return Err(Stop::Again { fault: Passing::Damaged, received: 0 });
        }
        let by = if self.wanted.sha256.is_some() { self.wanted.by } else { HashSource::Hub };
        Err(match expected {
            Some(expected) if expected != sha256 => self.wrong_hash(expected, sha256, by).into(),
            _ => {
                self.wrong_size(self.wanted.bytes.unwrap_or(bytes), bytes, "it was removed").into()
            }
        })
    }

    fn stop(&self, fault: Fault, received: u64) -> Stop {
        if fault.is_passing() {
            return Stop::Again { fault: Passing::Fault(fault), received };
        }
        Stop::Final(match fault {
            Fault::Html => self.html(),
            Fault::Status { status, code, .. } => ModelStoreError::answered(
                self.wanted.path,
                &self.url,
                status,
                code.as_deref(),
                self.hub.options.token.is_some(),
            ),
            Fault::Redirects | Fault::Transport(_) => ModelStoreError::Answer {
                url: self.url.clone(),
                message: "it redirects without end".into(),
            },
        })
    }

    pub fn give_up(&self, fault: Passing, tries: u32, received: u64) -> ModelStoreError {
        let (file, url) = (self.wanted.path.to_owned(), self.url.clone());
        match fault {
            Passing::Fault(Fault::Status { status, .. }) => {
                ModelStoreError::Server { file, url, status: status.as_u16(), tries }
            }
            fault => ModelStoreError::Cut { file, url, tries, received, cause: fault.words() },
        }
    }

    fn html(&self) -> ModelStoreError {
        ModelStoreError::Html { file: self.wanted.path.to_owned(), url: self.url.clone() }
    }

    fn wrong_size(&self, expected: u64, found: u64, meaning: &'static str) -> ModelStoreError {
        let (file, url) = (self.wanted.path.to_owned(), self.url.clone());
        ModelStoreError::WrongSize { file, url, expected, found, meaning }
    }

    fn wrong_hash(&self, expected: &str, found: String, by: HashSource) -> ModelStoreError {
        let (file, url) = (self.wanted.path.to_owned(), self.url.clone());
        ModelStoreError::WrongHash { file, url, expected: expected.to_owned(), found, by }
    }
}

/// The first byte that an answer holds: what `Content-Range` says of a partial one, else 0.
fn start_of(response: &Response) -> u64 {
    if response.status() != StatusCode::PARTIAL_CONTENT {
        return 0;
    }
    range_start(response.headers()).unwrap_or(0)
}

fn range_start(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split('-').next()?.parse().ok()
}

/// Whether bytes begin as a web page does, for proxies that give it another type.
fn looks_like_html(bytes: &[u8]) -> bool {
    let start = bytes.trim_ascii_start();
    let begins =
        |with: &[u8]| start.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with));
    begins(b"<!doctype html") || begins(b"<html")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_known_by_how_they_begin() {
        assert!(looks_like_html(b"\n <!DOCTYPE HTML PUBLIC"));
        assert!(looks_like_html(b"<html lang=en>"));
        assert!(
            !looks_like_html(b"{\"a\": 1}") && !looks_like_html(b"<h") && !looks_like_html(b"")
        );
    }

    #[test]
    fn the_start_of_a_range_is_read() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_RANGE, "bytes 500-999/1000".parse().expect("a value"));
        assert_eq!(range_start(&headers), Some(500));
        headers.insert(CONTENT_RANGE, "bytes */1000".parse().expect("a value"));
        assert_eq!(range_start(&headers), None);
    }
}
