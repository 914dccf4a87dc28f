//! Fetching images by address: only when switched on, within limits, and never from private
//! networks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, Url, redirect};
use tonic::Code;

use super::fault::Fault;
use crate::config::UrlsConfig;

/// Fetches files over http and https. Cheap to clone.
#[derive(Clone)]
pub struct Fetcher {
    client: Client,
    max_bytes: u64,
    allowed: fn(IpAddr) -> bool,
}

impl Fetcher {
    /// A fetcher with the configured limits.
    ///
    /// # Errors
    /// The TLS set-up of this machine cannot be used.
    pub fn new(config: &UrlsConfig, max_file_bytes: u64) -> Result<Self, reqwest::Error> {
        Self::with_policy(config, max_file_bytes, is_public)
    }

    fn with_policy(
        config: &UrlsConfig,
        max_file_bytes: u64,
        allowed: fn(IpAddr) -> bool,
    ) -> Result<Self, reqwest::Error> {
        let hops = usize::try_from(config.max_redirects).unwrap_or(usize::MAX);
        let follow = redirect::Policy::custom(move |attempt| {
            if attempt.previous().len() > hops {
                return attempt.error("too many redirects");
            }
            match check_url(attempt.url(), allowed) {
                Ok(()) => attempt.follow(),
                Err(why) => attempt.error(why),
            }
        });
        let client = Client::builder()
            .redirect(follow)
            .timeout(Duration::from_secs(config.timeout_seconds))
            .dns_resolver(Arc::new(PublicResolver { allowed }))
            // A proxy would resolve names itself, past the check.
            .no_proxy()
            .user_agent(concat!("pairwright/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { client, max_bytes: config.max_bytes.min(max_file_bytes), allowed })
    }

    /// The most bytes a file may have.
    pub fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// Fetches one file.
    ///
    /// # Errors
    /// `URI_REFUSED` for an address that must not be fetched, `IMAGE_FILE_TOO_LARGE`, or
    /// `URI_UNREACHABLE`.
    pub async fn fetch(&self, uri: &str) -> Result<Bytes, Fault> {
        let url = Url::parse(uri).map_err(|error| refused(&error.to_string()))?;
        check_url(&url, self.allowed).map_err(refused)?;
        let response = self.client.get(url).send().await.map_err(|error| failed(&error))?;
        if !response.status().is_success() {
            return Err(unreachable(format!("the server answered {}", response.status())));
        }
        self.within(response.content_length().unwrap_or(0))?;
        let mut body = response.bytes_stream();
        let mut bytes = BytesMut::new();
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|error| failed(&error))?;
            self.within((bytes.len() + piece.len()) as u64)?;
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes.freeze())
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
struct PublicResolver {
    allowed: fn(IpAddr) -> bool,
}

impl Resolve for PublicResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allowed = self.allowed;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|one| allowed(one.ip())).collect();
            if public.is_empty() {
                return Err(NOT_PUBLIC.into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
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

/// Whether an address belongs to a host on the public internet (IANA special-purpose registries,
/// RFC 6890 and its successors).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || address.is_multicast();
    // This network, shared NAT, protocol assignments, benchmarking, reserved and broadcast.
    let reserved = a == 0
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (18..20).contains(&b))
        || a >= 240;
    !special && !reserved
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let inner =
        |high: u16, low: u16| is_public_v4(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    match segments {
        // An IPv4 address inside: mapped, NAT64, 6to4.
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            inner(high, low)
        }
        [0x2002, high, low, ..] => inner(high, low),
        // Teredo and the other protocol assignments, and documentation.
        [0x2001, second, ..] if second < 0x200 || second == 0xdb8 => false,
        // Only 2000::/3 is given out for public use.
        [first, ..] => first & 0xe000 == 0x2000,
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
