//! The limits that handlers check, from the configuration.

use super::convert::size;
use crate::config::ServeLimits;

/// Limits of requests; `ServerInfo.limits` publishes them.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub max_message_bytes: usize,
    pub max_items: usize,
    pub max_text_bytes: usize,
    pub max_streams: u32,
    pub max_connections: usize,
    pub max_requests: usize,
    pub max_watches: usize,
    pub max_top_k: usize,
    pub max_page_size: usize,
    pub stream_idle_seconds: u64,
    pub request_timeout_seconds: u64,
}

impl From<&ServeLimits> for Limits {
    fn from(limits: &ServeLimits) -> Self {
        Self {
            max_message_bytes: size(limits.max_message_bytes),
            max_items: size(limits.max_items),
            max_text_bytes: size(limits.max_text_bytes),
            max_streams: limits.max_streams,
            max_connections: size(limits.max_connections),
            max_requests: size(limits.max_requests),
            max_watches: size(limits.max_watches),
            max_top_k: size(limits.max_top_k),
            max_page_size: size(limits.max_page_size),
            stream_idle_seconds: limits.stream_idle_seconds,
            request_timeout_seconds: limits.request_timeout_seconds,
        }
    }
}
