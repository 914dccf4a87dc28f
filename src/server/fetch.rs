//! Fetching images by address: only when switched on, within limits, and never from private
//! networks.

mod addresses;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, Url, redirect};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tonic::Code;

use super::convert::size;
use super::fault::Fault;
use crate::config::UrlsConfig;
use addresses::is_public;

/// The grain in which memory for files is reserved.
pub const GRAIN: u64 = 64 << 10;

/// What is reserved for a file of unknown length before it comes, and each time it grows.
const STEP: u64 = 1 << 20;

/// When to come back to a server whose memory for files is taken.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A fetched file, and the memory reserved for it.
pub type Fetched = (Bytes, OwnedSemaphorePermit);

/// Finds the addresses of a name.
pub type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync>;

/// Fetches files over http and https. Cheap to clone.
#[derive(Clone)]
pub struct Fetcher {
    client: Client,
    max_bytes: u64,
    time: Duration,
    /// Fetches under way at once.
    places: Arc<Semaphore>,
    allowed: fn(IpAddr) -> bool,
}

impl Fetcher {
    /// A fetcher with the configured limits, of files that `budget_bytes`, the memory for all that
    /// are fetched, can hold: a larger one would wait for what never comes.
    ///
    /// # Errors
    /// The TLS set-up of this machine cannot be used.
    pub fn new(
        config: &UrlsConfig,
        max_file_bytes: u64,
        budget_bytes: u64,
    ) -> Result<Self, reqwest::Error> {
        let lookup: Lookup = Arc::new(|name| Box::pin(system(name)));
        let whole_grains = budget_bytes / GRAIN * GRAIN;
        Self::with_policy(config, max_file_bytes.min(whole_grains), is_public, lookup)
    }

    /// As [`Self::new`], by other rules about who may be asked.
    pub(super) fn with_policy(
        config: &UrlsConfig,
        max_file_bytes: u64,
        allowed: fn(IpAddr) -> bool,
        lookup: Lookup,
    ) -> Result<Self, reqwest::Error> {
        let hops = size(config.max_redirects);
        let follow = redirect::Policy::custom(move |attempt| {
            if attempt.previous().len() > hops {
                return attempt.error("too many redirects");
            }
            match check_url(attempt.url(), allowed) {
                Ok(()) => attempt.follow(),
                Err(why) => attempt.error(why),
            }
        });
        let time = Duration::from_secs(config.timeout_seconds);
        let client = Client::builder()
            .redirect(follow)
            .timeout(time)
            .dns_resolver(Arc::new(PublicResolver { allowed, lookup }))
            // A proxy would resolve names itself, past the check.
            .no_proxy()
            .user_agent(concat!("pairwright/", env!("CARGO_PKG_VERSION")))
            .build()?;
        let places = size(config.max_in_flight);
        let places = Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS)));
        Ok(Self { client, max_bytes: config.max_bytes.min(max_file_bytes), time, places, allowed })
    }

    /// Fetches one file, with memory from `budget` in grains of [`GRAIN`]: as much as the server
    /// says that it needs, else as much as has come.
    ///
    /// # Errors
    /// `URI_REFUSED` for an address that must not be fetched, `IMAGE_FILE_TOO_LARGE`,
    /// `URI_UNREACHABLE`, or `FILES_FULL` where there is no memory for it within the time of one
    /// fetch.
    pub async fn fetch(&self, uri: &str, budget: &Arc<Semaphore>) -> Result<Fetched, Fault> {
        let url = Url::parse(uri).map_err(|error| refused(&error.to_string()))?;
        check_url(&url, self.allowed).map_err(refused)?;
        let _place = self.places.acquire().await.map_err(|_| Fault::shutting_down())?;
        let response = self.client.get(url).send().await.map_err(|error| failed(&error))?;
        if !response.status().is_success() {
            return Err(unreachable(format!("the server answered {}", response.status())));
        }
        let told = response.content_length();
        self.within(told.unwrap_or(0))?;
        // Never for more than the largest file: there may be no memory for more.
        let mut reserved = told.unwrap_or(STEP.min(self.max_bytes));
        let mut memory = self.reserve(budget, reserved).await?;
        let mut body = response.bytes_stream();
        let mut bytes = BytesMut::new();
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|error| failed(&error))?;
            let length = (bytes.len() + piece.len()) as u64;
            self.within(length)?;
            if length > reserved {
                let more = (length - reserved).max(STEP).next_multiple_of(GRAIN);
                let more = more.min(self.max_bytes - reserved);
                memory.merge(self.reserve(budget, more).await?);
                reserved += more;
            }
            bytes.extend_from_slice(&piece);
        }
        Ok((bytes.freeze(), memory))
    }

    /// Waits for memory no longer than a fetch may take: others wait for what this one holds.
    async fn reserve(
        &self,
        budget: &Arc<Semaphore>,
        bytes: u64,
    ) -> Result<OwnedSemaphorePermit, Fault> {
        let grains = u32::try_from(bytes.div_ceil(GRAIN)).unwrap_or(u32::MAX);
        match timeout(self.time, Arc::clone(budget).acquire_many_owned(grains)).await {
            Ok(permit) => permit.map_err(|_| Fault::shutting_down()),
            Err(_) => {
                let message = "the memory for files that are fetched is taken";
                let fault = Fault::new(Code::ResourceExhausted, "FILES_FULL", message);
                Err(fault.with("limit", "max_queue_bytes").retry_after(RETRY_AFTER))
            }
        }
    }

    fn within(&self, bytes: u64) -> Result<(), Fault> {
        if bytes <= self.max_bytes {
            return Ok(());
        }
        let message =
            format!("the file has {bytes} bytes or more, the limit is {}", self.max_bytes);
        Err(Fault::new(Code::InvalidArgument, "IMAGE_FILE_TOO_LARGE", message).limited(
            "max_image_bytes",
            self.max_bytes,
            bytes,
        ))
    }
}

/// Gives only addresses that may be asked, so that a name cannot lead into a private network.
///
/// What it gives is what is connected to: a name that changes its address after the check changes
/// nothing.
struct PublicResolver {
    allowed: fn(IpAddr) -> bool,
    lookup: Lookup,
}

impl Resolve for PublicResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (allowed, finding) = (self.allowed, (self.lookup)(name.as_str().to_owned()));
        Box::pin(async move {
            let found = finding.await?.into_iter();
            let public = found.filter(|one| allowed(*one)).map(|one| SocketAddr::new(one, 0));
            let public: Vec<SocketAddr> = public.collect();
            if public.is_empty() {
                return Err(NOT_PUBLIC.into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

/// Asks this machine's resolver.
async fn system(name: String) -> io::Result<Vec<IpAddr>> {
    Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect())
}

const NOT_PUBLIC: &str = "the address is not a public one";

/// Only http and https, no credentials. Literal addresses do not go through the resolver, so they
/// are checked here.
fn check_url(url: &Url, allowed: fn(IpAddr) -> bool) -> Result<(), &'static str> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err("only http and https addresses are fetched");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("addresses with a user name are not fetched");
    }
    let literal = url.host_str().unwrap_or_default();
    let literal = literal.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    match literal {
        Ok(address) if !allowed(address) => Err(NOT_PUBLIC),
        _ => Ok(()),
    }
}

fn refused(why: &str) -> Fault {
    Fault::new(Code::InvalidArgument, "URI_REFUSED", format!("not fetched: {why}"))
}

fn unreachable(why: String) -> Fault {
    Fault::new(Code::Unavailable, "URI_UNREACHABLE", format!("cannot fetch: {why}"))
}

/// A failure of the client, told from its causes: the top one names the address only.
fn failed(error: &reqwest::Error) -> Fault {
    let mut words = Vec::new();
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(error);
    while let Some(one) = cause {
        words.push(one.to_string());
        cause = one.source();
    }
    let why = if error.is_timeout() { "timed out".to_owned() } else { words.join(": ") };
    if error.is_redirect() || why.contains(NOT_PUBLIC) { refused(&why) } else { unreachable(why) }
}

#[cfg(test)]
#[path = "fetch_tests.rs"]
mod tests;
