//! The tests' deterministic OpenAI-compatible server as a program of its own, for kill tests and
//! for trying things without a model: prints its base URL and serves until it is killed.
//!
//! `cargo run --example stub_llm -- [--port N] [--delay-ms N]`; `GET /stub/stats` counts the calls
//! and the distinct requests among them.

#[path = "../tests/support/stub_llm.rs"]
mod stub_llm;

use std::io::Write;
use std::time::Duration;

use clap::Parser;

#[derive(Parser)]
struct Arguments {
    /// Port on 127.0.0.1; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Milliseconds that each answer takes.
    #[arg(long, default_value_t = 0)]
    delay_ms: u64,
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let Arguments { port, delay_ms } = Arguments::parse();
    let delay = Duration::from_millis(delay_ms);
    let options = stub_llm::StubOptions { port, delay, ..Default::default() };
    let stub = stub_llm::StubLlm::start(options).await;
    let mut output = std::io::stdout();
    writeln!(output, "{}", stub.base_url)?;
    output.flush()?;
    std::future::pending().await
}
