//! What one call, one connection and the whole server may take.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::check::{Checks, Settings};

/// Upper bounds of the service. A value equal to a limit passes. What one photo may cost is in
/// `image.limits`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServeLimits {
    /// Bytes of one gRPC message, either way, 64 KiB to 1 GiB.
    pub max_message_bytes: u64,
    /// Items in one call, 1 to 65536.
    pub max_items: u64,
    /// Bytes of one text, 1 KiB to 16 MiB.
    pub max_text_bytes: u64,
    /// Calls under way on one connection, 1 to 65536.
    pub max_streams: u32,
    /// Open connections, 1 to 1000000.
    pub max_connections: u64,
    /// Calls under way in the whole server, 1 to 1000000.
    pub max_requests: u64,
    /// Streams that only watch, of each kind (jobs, reflection, health), 1 to 1000000. They need
    /// no place among the calls.
    pub max_watches: u64,
    /// Bytes of messages under way over all connections, both ways, 1 MiB to 1 TiB; at least two
    /// of `max_message_bytes`. The first 64 KiB of each call do not count.
    pub max_messages_bytes: u64,
    /// Seconds without a message after which a client's stream is ended, 1 to 86400.
    pub stream_idle_seconds: u64,
    /// Seconds a unary call may take whatever its own deadline, 0 to 86400; 0 sets no bound.
    pub request_timeout_seconds: u64,
    /// Results of one search or match, 1 to 100000.
    pub max_top_k: u64,
    /// Rows of one page, 1 to 100000.
    pub max_page_size: u64,
    /// Seconds that calls get to finish at shutdown, 0 to 3600.
    pub drain_seconds: u64,
    /// Seconds between health's NOT_SERVING and the end of the port after SIGTERM, 0 to 3600.
    pub lame_duck_seconds: u64,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self {
            max_message_bytes: 32 << 20,
            max_items: 256,
            max_text_bytes: 32 << 10,
            max_streams: 256,
            max_connections: 1024,
            max_requests: 1024,
            max_watches: 256,
            max_messages_bytes: 512 << 20,
            stream_idle_seconds: 60,
            request_timeout_seconds: 300,
            max_top_k: 1000,
            max_page_size: 1000,
            drain_seconds: 30,
            lame_duck_seconds: 5,
        }
    }
}

impl ServeLimits {
    /// The bound on a unary call, if there is one.
    pub fn request_timeout(&self) -> Option<Duration> {
        Some(Duration::from_secs(self.request_timeout_seconds)).filter(|time| !time.is_zero())
    }

    /// The time calls get to finish at shutdown.
    pub fn drain(&self) -> Duration {
        Duration::from_secs(self.drain_seconds)
    }

    /// The time in which health says that the server is going and the port is still open.
    pub fn lame_duck(&self) -> Duration {
        Duration::from_secs(self.lame_duck_seconds)
    }

    /// The time a client's stream may be silent.
    pub fn stream_idle(&self) -> Duration {
        Duration::from_secs(self.stream_idle_seconds)
    }
}

impl Settings for ServeLimits {
    fn check(&self, checks: &mut Checks) {
        checks.range("max_message_bytes", self.max_message_bytes, 64 << 10, 1 << 30);
        checks.range("max_items", self.max_items, 1, 65_536);
        checks.range("max_text_bytes", self.max_text_bytes, 1 << 10, 16 << 20);
        checks.range("max_streams", self.max_streams, 1, 65_536);
        checks.range("max_connections", self.max_connections, 1, 1_000_000);
        checks.range("max_requests", self.max_requests, 1, 1_000_000);
        checks.range("max_watches", self.max_watches, 1, 1_000_000);
        checks.range("max_messages_bytes", self.max_messages_bytes, 1 << 20, 1 << 40);
        let (total, one) = (self.max_messages_bytes, self.max_message_bytes);
        let fits = total >= one.saturating_mul(2);
        let expected = "at least twice serve.limits.max_message_bytes";
        checks.require(fits, "max_messages_bytes", total, expected);
        checks.range("stream_idle_seconds", self.stream_idle_seconds, 1, 86_400);
        checks.range("request_timeout_seconds", self.request_timeout_seconds, 0, 86_400);
        checks.range("max_top_k", self.max_top_k, 1, 100_000);
        checks.range("max_page_size", self.max_page_size, 1, 100_000);
        checks.range("drain_seconds", self.drain_seconds, 0, 3600);
        checks.range("lame_duck_seconds", self.lame_duck_seconds, 0, 3600);
    }
}
