//! `[serve.callers]`: who counts as one caller, and what one may take.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::base::check::{Checks, Settings};

/// `[serve.callers]`: callers are told apart by their key, without keys by their address. Each has
/// the same share of the encoder; these bounds hold beside that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CallersConfig {
    /// Addresses or networks of proxies, whose `x-forwarded-for` is believed.
    pub trusted_proxies: Vec<Network>,
    /// What each key may take.
    pub key: QuotaConfig,
    /// What each address may take whose calls carry no key.
    pub address: QuotaConfig,
}

impl Default for CallersConfig {
    fn default() -> Self {
        Self {
            trusted_proxies: Vec::new(),
            key: QuotaConfig::default(),
            // A quarter of the calls that the server takes by default, half of the jobs.
            address: QuotaConfig { open_streams: 256, queued_jobs: 50, ..QuotaConfig::default() },
        }
    }
}

impl Settings for CallersConfig {
    fn check(&self, checks: &mut Checks) {
        checks.section("key", &self.key);
        checks.section("address", &self.address);
    }
}

/// What one caller may take; 0 sets no bound. A rate lets through one second's worth at once, and
/// a call that is larger when nothing was taken for so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QuotaConfig {
    /// Calls begun in a second, 0 to 1000000.
    pub calls_per_second: u64,
    /// Photos, texts, queries, instructions and answers asked for in a second, 0 to 1000000.
    pub items_per_second: u64,
    /// Bytes of requests in a second, 0 to 1 TiB.
    pub bytes_per_second: u64,
    /// Streams open at once, 0 to 1000000.
    pub open_streams: u64,
    /// Jobs that wait, 0 to 100000.
    pub queued_jobs: u64,
}

impl Settings for QuotaConfig {
    fn check(&self, checks: &mut Checks) {
        checks.range("calls_per_second", self.calls_per_second, 0, 1_000_000);
        checks.range("items_per_second", self.items_per_second, 0, 1_000_000);
        checks.range("bytes_per_second", self.bytes_per_second, 0, 1 << 40);
        checks.range("open_streams", self.open_streams, 0, 1_000_000);
        checks.range("queued_jobs", self.queued_jobs, 0, 100_000);
    }
}

/// An address or a network, written `10.0.0.7` or `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network(pub IpNet);

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let network = || text.parse::<IpNet>().ok();
        let address = text.parse::<IpAddr>().ok().map(IpNet::from);
        address.or_else(network).map(Self).ok_or_else(|| {
            format!("{text:?} is no address or network, such as 10.0.0.7 or 10.0.0.0/8")
        })
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.0.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_networks_are_read() {
        let read = |text: &str| Network::try_from(text.to_owned()).map(String::from);
        assert_eq!(read("10.0.0.7").as_deref(), Ok("10.0.0.7/32"));
        assert_eq!(read("10.0.0.0/8").as_deref(), Ok("10.0.0.0/8"));
        assert_eq!(read("fd00::1").as_deref(), Ok("fd00::1/128"));
        assert!(read("proxy.local").expect_err("a name").contains("\"proxy.local\""));
    }
}
