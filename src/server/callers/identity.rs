//! Who a call is from: its key, or without keys its address.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};

use http::{HeaderMap, HeaderValue};
use ipnet::IpNet;

use crate::config::Network;
use crate::encoder::queue::Origin;
use crate::server::layers::network;

/// Who proxies tell a call is from.
const FORWARDED: &str = "x-forwarded-for";

/// Whom a call is counted for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Caller {
    /// A key, by its name.
    Key(Arc<str>),
    /// An address without a key; of IPv6 the network of 64 bits, which one customer has whole.
    Address(IpAddr),
    /// Within this process.
    Local,
}

impl Caller {
    /// The address that calls without a key are counted for.
    pub fn at(address: IpAddr) -> Self {
        Self::Address(network(address))
    }

    /// As job records keep it.
    pub fn owner(&self) -> Option<String> {
        match self {
            Self::Key(name) => Some(format!("key:{name}")),
            Self::Address(address) => Some(format!("address:{address}")),
            Self::Local => None,
        }
    }

    /// Whose turn it is in the encoder's queue, when the call came by the connection of `peer`.
    pub fn origin(&self, peer: Option<SocketAddr>) -> Origin {
        // Seeded anew by each process: nobody can choose an address or a name that shares a number.
        static NUMBERS: OnceLock<RandomState> = OnceLock::new();
        let numbers = NUMBERS.get_or_init(RandomState::new);
        Origin { caller: numbers.hash_one(self), connection: numbers.hash_one(peer) }
    }
}

/// Proxies that say whom they speak for.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Arc<[IpNet]>);

impl TrustedProxies {
    /// These networks.
    pub fn new(networks: &[Network]) -> Self {
        Self(networks.iter().map(|network| network.0).collect())
    }

    /// The address a call is from: of the chain of proxies the last that is not trusted, so that
    /// what a client itself writes into the header is never believed.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        if !self.trusts(peer) {
            return peer;
        }
        let lines = headers.get_all(FORWARDED).iter().map(HeaderValue::as_bytes);
        let hops = lines.flat_map(|line| line.split(|byte| *byte == b','));
        // What is no text is no address either, and must not be passed over.
        let hops: Vec<&str> =
            hops.map(|hop| std::str::from_utf8(hop).unwrap_or_default().trim()).collect();
        let mut client = peer;
        for hop in hops.into_iter().rev() {
            // What is no address ends the chain: nobody vouches for what stands before it.
            let Some(address) = address(hop) else { break };
            client = address;
            if !self.trusts(address) {
                break;
            }
        }
        client
    }

    fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// `ADDRESS`, `ADDRESS:PORT` or `[ADDRESS]:PORT`.
fn address(text: &str) -> Option<IpAddr> {
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || text.parse().ok().map(|socket: SocketAddr| socket.ip());
    text.parse().ok().or_else(with_port).or_else(bare).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(networks: &[&str]) -> TrustedProxies {
        let read = |text: &&str| Network::try_from((*text).to_owned()).expect("a network");
        TrustedProxies::new(&networks.iter().map(read).collect::<Vec<_>>())
    }

    fn client(proxies: &TrustedProxies, peer: &str, forwarded: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append(FORWARDED, line.parse().expect("a header"));
        }
        proxies.client(peer.parse().expect("an address"), &headers).to_string()
    }

    #[test]
    fn only_trusted_proxies_say_who_calls() {
        let trusted = proxies(&["10.0.0.0/8", "fd00::/8"]);
        assert_eq!(client(&trusted, "192.0.2.1", &["198.51.100.7"]), "192.0.2.1");
        assert_eq!(client(&trusted, "10.1.2.3", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(client(&trusted, "::ffff:10.1.2.3", &["198.51.100.7:443"]), "198.51.100.7");
        assert_eq!(client(&trusted, "fd00::5", &["[2001:db8::1]:443"]), "2001:db8::1");
        assert_eq!(client(&trusted, "10.1.2.3", &[]), "10.1.2.3");
        // Behind two of them; what stands further left is the client's own word.
        let chain = ["203.0.113.9, 198.51.100.7", "10.9.9.9"];
        assert_eq!(client(&trusted, "10.1.2.3", &chain), "198.51.100.7");
        assert_eq!(client(&trusted, "10.1.2.3", &["198.51.100.7, nonsense"]), "10.1.2.3");
        let mut unreadable = HeaderMap::new();
        unreadable.append(FORWARDED, "203.0.113.9".parse().expect("a header"));
        let bytes = HeaderValue::from_bytes(b"198.51.100.7, \xff").expect("a header");
        unreadable.append(FORWARDED, bytes);
        let peer: IpAddr = "10.1.2.3".parse().expect("an address");
        assert_eq!(trusted.client(peer, &unreadable), peer);
        assert_eq!(client(&TrustedProxies::default(), "10.1.2.3", &["198.51.100.7"]), "10.1.2.3");
    }

    #[test]
    fn a_customers_whole_network_is_one_caller() {
        let at = |text: &str| Caller::at(text.parse().expect("an address"));
        assert_eq!(at("2001:db8::1"), at("2001:db8::ffff:2"));
        assert_ne!(at("2001:db8::1"), at("2001:db8:0:1::1"));
        assert_eq!(at("::ffff:192.0.2.1"), at("192.0.2.1"));
    }

    #[test]
    fn callers_and_connections_are_told_apart() {
        let peer = |port| Some(SocketAddr::from(([192, 0, 2, 1], port)));
        let (ada, bob) = (Caller::Key("ada".into()), Caller::Key("bob".into()));
        assert_eq!(ada.origin(peer(1)), ada.origin(peer(1)));
        assert_eq!(ada.origin(peer(1)).caller, ada.origin(peer(2)).caller);
        assert_ne!(ada.origin(peer(1)).connection, ada.origin(peer(2)).connection);
        assert_ne!(ada.origin(peer(1)).caller, bob.origin(peer(1)).caller);
    }
}
