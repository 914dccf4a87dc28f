//! The log, and beside it the exported traces of `serve`.

use std::io::IsTerminal;

use tracing_subscriber::filter::{EnvFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt, registry};

use super::progress;
use crate::server::observe::Traces;

/// Starts the log on stderr, as JSON lines or for people, and the export of `traces`.
pub fn start(json: bool, traces: Option<&Traces>) {
    let filter = EnvFilter::try_from_env("PAIRWRIGHT_LOG")
        .unwrap_or_else(|_| EnvFilter::new("pairwright=info,warn,ort=error"));
    let lines =
        fmt::layer().with_ansi(std::io::stderr().is_terminal()).with_writer(progress::log_writer);
    let lines = if json { lines.json().boxed() } else { lines.with_target(false).boxed() };
    // Only our own spans: the exporter's would make new ones with each export. A quieter log does
    // not thin out the traces.
    let ours = Targets::new().with_target("pairwright", tracing::Level::INFO);
    let traces = traces.map(|traces| traces.layer().with_filter(ours));
    registry().with(traces).with(lines.with_filter(filter)).init();
}
