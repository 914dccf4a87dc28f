//! How much memory callers can make the server take, told at the start.

use super::layers::{FREE_BYTES, QUESTIONS};
use super::methods::Watched;
use super::routes::HEALTH_BYTES;
use crate::config::{Config, ServeConfig};
use crate::encoder::queue::QUICK_PIXELS;

/// What HTTP/2 lets a client send on a connection before it is read, and what a connection takes
/// besides.
const CONNECTION_BYTES: u64 = (1 << 20) + (128 << 10);

/// A message lies in memory as it came and as it was read.
const COPIES: u64 = 2;

/// A question to health: what it is read into, which the library for gRPC makes of this size, and
/// the question.
const QUESTION_BYTES: u64 = (8 << 10) + HEALTH_BYTES as u64;

/// A pixel takes four values of four bytes at most.
const QUICK_PHOTO_BYTES: u64 = QUICK_PIXELS as u64 * 16;

/// Two encoders with two lanes each hold `queue.max_queue_bytes`.
const QUEUES: u64 = 4;

/// One part of the bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    pub what: &'static str,
    /// Bytes at most.
    pub bytes: u64,
}

/// What callers can make the server hold at most, beside the model, the library with its index,
/// and running jobs. A product too large to count is as good as no bound, and stays the largest
/// number.
pub fn bounds(config: &Config) -> Vec<Bound> {
    let serve = &config.serve;
    let limits = &serve.limits;
    let queue = serve.queue.max_queue_bytes as u64;
    let bound = |what, count: u64, each: u64| Bound { what, bytes: count.saturating_mul(each) };
    let connections = connections(serve);
    let watches = limits.max_watches.saturating_mul(Watched::COUNT as u64);
    let calls = limits.max_requests.saturating_add(watches);
    let decoded = config.image.limits.max_decoded_bytes;
    let decoders = serve.queue.encoder_options(config.encoder.device).decode_threads as u64;
    vec![
        bound("messages", COPIES, limits.max_messages_bytes),
        bound("calls", COPIES.saturating_mul(calls), FREE_BYTES),
        bound("connections", connections, CONNECTION_BYTES),
        bound(
            "questions to health",
            connections.saturating_mul(u64::from(limits.max_streams.min(QUESTIONS))),
            QUESTION_BYTES,
        ),
        bound("queues", QUEUES, queue),
        bound("files by path and address", 1, queue),
        bound("large photos being decoded", decoders, decoded),
        bound("small photos being decoded", decoders, decoded.min(QUICK_PHOTO_BYTES)),
    ]
}

/// Connections that may be open, those kept for probes among them.
fn connections(serve: &ServeConfig) -> u64 {
    serve.limits.max_connections.saturating_add(serve.connections.kept_for_probes)
}

/// Writes the bound and its parts to the log.
pub fn tell(config: &Config) {
    let bounds = bounds(config);
    let total = bounds.iter().fold(0u64, |sum, bound| sum.saturating_add(bound.bytes));
    let mib = |bytes: u64| bytes >> 20;
    let parts: Vec<String> =
        bounds.iter().map(|bound| format!("{} {}", bound.what, mib(bound.bytes))).collect();
    let parts = parts.join(", ");
    let total_mib = mib(total);
    tracing::info!(total_mib, "callers can make this server hold at most, in MiB: {parts}");
}

/// Files that are open besides connections: models, databases, the index, photos being read.
const OTHER_FILES: u64 = 256;

/// Lets the process open as many files as the system grants: each connection takes one, and many
/// systems begin with 1,024. A warning tells where all connections would not fit.
pub fn allow_open_files(config: &Config) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!("the limit of open files stays {current:?}: {error}");
    }
    let needed = connections(&config.serve).saturating_add(OTHER_FILES);
    if let Some(granted) = getrlimit(Resource::Nofile).current.filter(|one| *one < needed) {
        tracing::warn!(
            granted,
            needed,
            "more connections are allowed than files may be open; raise the limit (`ulimit -Hn`, \
             LimitNOFILE of systemd) or lower serve.limits.max_connections"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_files_that_the_system_grants_may_be_opened() {
        allow_open_files(&Config::default());
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }

    #[test]
    fn the_parts_follow_their_settings() {
        let mut config = Config::default();
        config.serve.queue.decode_threads = 2;
        let of = |config: &Config, what: &str| {
            let found = bounds(config).into_iter().find(|bound| bound.what == what);
            found.expect("a part").bytes >> 20
        };
        assert_eq!(of(&config, "messages"), 1024);
        assert_eq!(of(&config, "connections"), 1170);
        assert_eq!(of(&config, "questions to health"), (1040 * 8 * 9) >> 10);
        assert_eq!(of(&config, "queues"), 2048);
        assert_eq!(of(&config, "large photos being decoded"), 1024);
        assert_eq!(of(&config, "small photos being decoded"), 244);
        config.serve.limits.max_messages_bytes = 64 << 20;
        config.serve.limits.max_connections = u64::MAX;
        assert_eq!(of(&config, "messages"), 128);
        assert_eq!(of(&config, "connections"), u64::MAX >> 20);
    }
}
