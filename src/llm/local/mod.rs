//! A llama.cpp server that Pairwright runs itself: no second thing to start on a laptop, in the
//! demo or in tests.
//!
//! [`LocalChat`] starts `llama-server` with a GGUF file on a free loopback port, speaks to it as
//! to any other server, and starts it again, within bounds, when it dies. See [`process`] for how
//! it is kept from outliving us.

mod locate;
mod log;
mod process;
mod supervisor;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

pub use self::locate::SERVER_VARIABLE;
use self::log::ServerLog;
use self::process::Launch;
use self::supervisor::{Live, State, Supervisor};
use super::chat::{ChatModel, ChatReply, ChatRequest};
use super::config::LlmConfig;
use super::error::{LlmError, LlmFault};
use super::openai::ApiKey;
use super::parameter::Adaptation;
use super::stats::{LlmStats, StatsSnapshot};

/// Deaths of the server that one call survives: a call that kills it each time must not use up
/// the restarts of all others.
const DEATHS_PER_CALL: u32 = 2;

/// Time for a death to be noticed after a call lost its connection.
const NOTICE: Duration = Duration::from_millis(500);

/// A chat model in a llama.cpp server of our own.
pub struct LocalChat {
    name: String,
    state: watch::Receiver<State>,
    stats: Arc<LlmStats>,
    _supervisor: AbortOnDropHandle<()>,
}

impl LocalChat {
    /// Finds the program and the model, starts the server and waits for its health. Needs a Tokio
    /// runtime with I/O and time; dropping it, or ending that runtime, ends the server.
    ///
    /// # Errors
    /// `Missing` when there is no program or no model; `LocalServer` with the end of its log when
    /// it does not start; `Config` when the log's folder cannot be used.
    pub async fn start(gguf: Option<&Path>, config: &LlmConfig) -> Result<Self, LlmError> {
        config.validate()?;
        let launch = launch(gguf, config)?;
        let name = launch.name.clone();
        let stats = Arc::<LlmStats>::default();
        let supervisor = Supervisor::new(launch, in_slots(config), stats.clone());
        let (server, live) = supervisor.start().await?;
        let (sender, state) = watch::channel(State::Live(live.clone()));
        let task = tokio::spawn(supervisor.watch(server, live, sender));
        Ok(Self { name, state, stats, _supervisor: AbortOnDropHandle::new(task) })
    }

    /// The process group that the server runs in; none while it is being restarted.
    pub fn process_group(&self) -> Option<u32> {
        match &*self.state.borrow() {
            State::Live(live) => live.group,
            State::Starting | State::Lost(_) => None,
        }
    }

    /// The server that lives now, once it does.
    async fn live(&self) -> Result<Arc<Live>, LlmFault> {
        let mut state = self.state.clone();
        loop {
            match state.borrow_and_update().clone() {
                State::Live(live) if !live.gone.is_cancelled() => return Ok(live),
                State::Live(_) | State::Starting => {}
                State::Lost(fault) => return Err(fault),
            }
            if state.changed().await.is_err() {
                // Only a panic ends the supervisor before this.
                return Err(lost("is no longer watched"));
            }
        }
    }

    /// Makes a call and, if it `may_repeat`, makes it again when the server dies under it.
    async fn outliving<Fut>(
        &self,
        cancel: &CancellationToken,
        call: impl Fn(Arc<Live>) -> Fut + Send + Sync,
        may_repeat: bool,
    ) -> Result<ChatReply, LlmError>
    where
        Fut: Future<Output = Result<ChatReply, LlmError>> + Send,
    {
        let mut deaths = 0;
        loop {
            let live = cancel.run_until_cancelled(self.live()).await;
            let live = live.unwrap_or(Err(LlmFault::Cancelled))?;
            let result = tokio::select! {
                biased;
                result = call(live.clone()) => result,
                () = live.gone.cancelled() => Err(lost("ended under this call").into()),
            };
            let error = match result {
                Ok(reply) => return Ok(ChatReply { attempts: reply.attempts + deaths, ..reply }),
                Err(error) => error,
            };
            if !died(&live, &error).await || deaths == DEATHS_PER_CALL || !may_repeat {
                return Err(LlmError { attempts: error.attempts + deaths, ..error });
            }
            deaths += 1;
        }
    }
}

/// Whether the server's death is behind an error.
async fn died(live: &Live, error: &LlmError) -> bool {
    match error.fault {
        LlmFault::Unreachable { .. } | LlmFault::Disconnected { .. } => {
            tokio::time::timeout(NOTICE, live.gone.cancelled()).await.is_ok()
        }
        LlmFault::LocalServer { .. } => true,
        _ => false,
    }
}

fn lost(what: &str) -> LlmFault {
    LlmFault::LocalServer { what: what.to_owned(), log: String::new(), log_path: None }
}

/// What to start for `config`.
fn launch(gguf: Option<&Path>, config: &LlmConfig) -> Result<Launch, LlmFault> {
    let places = locate::places();
    let program = locate::server(config.local.server.as_deref(), &places)?;
    let gguf = locate::model(gguf, &places)?;
    let stem = gguf.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let log = ServerLog::open(config.local.log_dir.as_deref(), &format!("llama-server-{stem}"))
        .map_err(|error| LlmFault::config("local.log_dir", error.to_string()))?;
    let name = match &config.model {
        Some(name) => name.clone(),
        None => format!("{stem}@{}", locate::fingerprint(&gguf)?),
    };
    Ok(Launch { program, gguf, name, config: config.local.clone(), key: random_key()?, log })
}

/// A key for this server alone: other users of the machine, and web pages in a browser on it, can
/// reach a loopback port too.
fn random_key() -> Result<ApiKey, LlmFault> {
    let secret = format!("{:032x}", rand::random::<u128>());
    ApiKey::new(&secret, "Pairwright itself").ok_or_else(|| lost("got no key"))
}

/// The same settings with as many calls in flight as the server has slots: a call that waits in
/// the server's queue would spend its deadline there.
fn in_slots(config: &LlmConfig) -> LlmConfig {
    LlmConfig { max_in_flight: config.local.slots, ..config.clone() }
}

#[async_trait]
impl ChatModel for LocalChat {
    fn name(&self) -> &str {
        &self.name
    }

    async fn chat(
        &self,
        request: &ChatRequest,
        cancel: &CancellationToken,
    ) -> Result<ChatReply, LlmError> {
        let call = |live: Arc<Live>| async move { live.chat.chat(request, cancel).await };
        self.outliving(cancel, call, true).await
    }

    async fn chat_stream(
        &self,
        request: &ChatRequest,
        cancel: &CancellationToken,
        pieces: mpsc::Sender<String>,
    ) -> Result<ChatReply, LlmError> {
        let call = |live: Arc<Live>| {
            let pieces = pieces.clone();
            async move { live.chat.chat_stream(request, cancel, pieces).await }
        };
        // What has gone out cannot be taken back, so a death under a stream ends it.
        self.outliving(cancel, call, false).await
    }

    async fn check(&self) -> Result<(), LlmError> {
        self.live().await?.chat.check().await
    }

    fn stats(&self) -> StatsSnapshot {
        self.stats.snapshot()
    }

    fn adaptations(&self) -> Vec<Adaptation> {
        match &*self.state.borrow() {
            State::Live(live) => live.chat.adaptations(),
            State::Starting | State::Lost(_) => Vec::new(),
        }
    }
}
