//! Starts the server again when it dies, within bounds.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::process::{Launch, Server};
use crate::llm::config::LlmConfig;
use crate::llm::error::LlmFault;
use crate::llm::openai::OpenAiChat;
use crate::llm::stats::LlmStats;

/// Deaths further back than this are forgiven.
const WINDOW: Duration = Duration::from_secs(600);

/// Starts that are tried when another program takes the port in between.
const PORT_TRIES: usize = 3;

/// A server that answers.
pub(super) struct Live {
    pub(super) chat: OpenAiChat,
    /// Fires when the server has died.
    pub(super) gone: CancellationToken,
    pub(super) group: Option<u32>,
}

/// Where the server stands.
#[derive(Clone)]
pub(super) enum State {
    /// It died and is being started again.
    Starting,
    /// It answers.
    Live(Arc<Live>),
    /// It died too often.
    Lost(LlmFault),
}

/// Keeps one server alive.
pub(super) struct Supervisor {
    launch: Launch,
    config: LlmConfig,
    stats: Arc<LlmStats>,
}

impl Supervisor {
    pub(super) fn new(launch: Launch, config: LlmConfig, stats: Arc<LlmStats>) -> Self {
        Self { launch, config, stats }
    }

    /// Starts the server and makes the client for it.
    ///
    /// # Errors
    /// The fault of starting it.
    pub(super) async fn start(&self) -> Result<(Server, Arc<Live>), LlmFault> {
        let server = self.start_on_a_free_port().await?;
        let url = format!("http://127.0.0.1:{}/v1", server.port);
        let Launch { name, key, .. } = &self.launch;
        let chat = OpenAiChat::managed(&url, name, key.clone(), &self.config, self.stats.clone())?;
        let gone = CancellationToken::new();
        let group = server.group();
        Ok((server, Arc::new(Live { chat, gone, group })))
    }

    async fn start_on_a_free_port(&self) -> Result<Server, LlmFault> {
        let mut tries = 1;
        loop {
            match self.launch.start().await {
                Err(LlmFault::LocalServer { log, .. })
                    if log.contains("couldn't bind") && tries < PORT_TRIES =>
                {
                    tries += 1;
                }
                result => return result,
            }
        }
    }

    /// Waits for deaths and starts the server again, until there are too many of them. Runs until
    /// then, or until it is dropped, which ends the server.
    pub(super) async fn watch(
        self,
        mut server: Server,
        mut live: Arc<Live>,
        state: watch::Sender<State>,
    ) {
        let mut deaths = Deaths::default();
        loop {
            let how = server.exit().await;
            state.send_replace(State::Starting);
            live.gone.cancel();
            // Ends the leash, so that nothing of the old server stays.
            drop(server);
            match self.again(how, &mut deaths).await {
                Ok(started) => (server, live) = started,
                Err(fault) => {
                    tracing::error!(%fault, "llama-server is given up");
                    state.send_replace(State::Lost(fault));
                    return;
                }
            }
            state.send_replace(State::Live(live.clone()));
        }
    }

    /// The next server after a death; a start that fails counts as another death.
    async fn again(
        &self,
        mut how: String,
        deaths: &mut Deaths,
    ) -> Result<(Server, Arc<Live>), LlmFault> {
        loop {
            let recent = deaths.add(Instant::now());
            if recent > self.config.local.max_restarts {
                return Err(self.launch.fault(format!("ended {recent} times in a row: {how}")));
            }
            tracing::warn!(how, recent, "llama-server ended; starting it again");
            self.stats.restart();
            match self.start().await {
                Ok(started) => return Ok(started),
                Err(fault) => how = fault.to_string(),
            }
        }
    }
}

/// The moments of recent deaths.
#[derive(Default)]
struct Deaths(VecDeque<Instant>);

impl Deaths {
    /// Adds a death; returns how many lie within the window.
    fn add(&mut self, now: Instant) -> usize {
        self.0.retain(|death| now.duration_since(*death) < WINDOW);
        self.0.push_back(now);
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_deaths_are_forgiven() {
        let start = Instant::now();
        let mut deaths = Deaths::default();
        assert_eq!(deaths.add(start), 1);
        assert_eq!(deaths.add(start + WINDOW / 2), 2);
        assert_eq!(deaths.add(start + WINDOW), 2, "the first is out of the window");
    }
}
