//! Any OpenAI-compatible chat completions server: vLLM, llama.cpp's server, Ollama, a cloud API.
//!
//! The requests, the error types and the event-stream reading come from `async-openai`. Two things
//! are done below its API, by its middleware: its own back-off is replaced ([`transport`]), because
//! it hides Retry-After and would multiply with ours, and request and reply types are our own
//! supersets ([`wire`]), because compatible servers add fields and leave others out.

mod attempts;
mod key;
mod stream;
mod transport;
mod wire;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_openai::Client;
use async_openai::config::OpenAIConfig;
use async_trait::async_trait;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

pub(super) use self::key::ApiKey;
use self::transport::{Peer, Transport, garbage};
use self::wire::{Dialect, WireModels, WireReply, WireRequest, finish_reason};
use super::chat::{ChatModel, ChatReply, ChatRequest, Usage};
use super::config::LlmConfig;
use super::error::{LlmError, LlmFault};
use super::retry::RetryPolicy;
use super::stats::{LlmStats, StatsSnapshot};

/// Time to make a connection; a server that is up answers in far less.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Time for [`ChatModel::check`] and for reading the list of models.
const CHECK_LIMIT: Duration = Duration::from_secs(10);

/// A chat model behind an OpenAI-compatible server.
pub struct OpenAiChat {
    client: Client<OpenAIConfig>,
    peer: Arc<Peer>,
    policy: RetryPolicy,
    deadline: Duration,
    max_completion_tokens: bool,
    places: Semaphore,
    stats: Arc<LlmStats>,
}

impl OpenAiChat {
    /// A client for the server at `base_url` with the key that `config` names. Without a model in
    /// `config` the server is asked which one it has.
    ///
    /// # Errors
    /// `Config` for a wrong setting, a key that cannot be read, or a server with several models
    /// and none chosen; any fault of asking for the models.
    pub async fn connect(base_url: &str, config: &LlmConfig) -> Result<Self, LlmError> {
        config.validate()?;
        let key = config.api_key_env.as_deref().map(ApiKey::from_env).transpose()?;
        let model = config.model.clone();
        let peer = Peer { base_url: base_url.to_owned(), model: model.unwrap_or_default(), key };
        let chat = Self::new(peer, config, Arc::default())?;
        if config.model.is_some() {
            return Ok(chat);
        }
        let model = chat.only_model().await?;
        tracing::info!(base_url, model, "took the server's only model");
        let key = chat.peer.key.clone();
        Ok(Self::new(Peer { base_url: base_url.to_owned(), model, key }, config, chat.stats)?)
    }

    /// The same client for a server whose model and key are known and whose counters go on.
    pub(super) fn managed(
        base_url: &str,
        model: &str,
        key: ApiKey,
        config: &LlmConfig,
        stats: Arc<LlmStats>,
    ) -> Result<Self, LlmFault> {
        let (base_url, model) = (base_url.to_owned(), model.to_owned());
        Self::new(Peer { base_url, model, key: Some(key) }, config, stats)
    }

    fn new(peer: Peer, config: &LlmConfig, stats: Arc<LlmStats>) -> Result<Self, LlmFault> {
        let http = http_client(&peer.base_url)?;
        // Each is set, even if empty, because the crate would otherwise take the OPENAI_* variables
        // and send that key to whatever server this is.
        let settings = OpenAIConfig::new()
            .with_api_base(&peer.base_url)
            .with_api_key(peer.key.as_ref().map(ApiKey::expose).unwrap_or_default())
            .with_org_id("")
            .with_project_id("");
        let peer = Arc::new(peer);
        let transport = Transport { http: http.clone(), peer: peer.clone() };
        Ok(Self {
            client: Client::build(http, settings).with_http_service(transport),
            peer,
            policy: config.retry_policy(),
            deadline: config.deadline(),
            max_completion_tokens: config.max_completion_tokens,
            places: Semaphore::new(config.max_in_flight),
            stats,
        })
    }

    async fn only_model(&self) -> Result<String, LlmFault> {
        let mut names = self.models().await?;
        match names.len() {
            1 => Ok(names.remove(0)),
            0 => Err(LlmFault::config("model", "the server lists no model; name one")),
            _ => Err(LlmFault::config("model", format!("choose one of {}", names.join(", ")))),
        }
    }

    async fn models(&self) -> Result<Vec<String>, LlmFault> {
        let models = self.client.models();
        let listed: WireModels = tokio::time::timeout(CHECK_LIMIT, models.list_byot())
            .await
            .map_err(|_| self.timed_out(CHECK_LIMIT))?
            .map_err(|error| self.peer.fault(error))?;
        Ok(listed.data.into_iter().map(|model| model.id).collect())
    }

    fn timed_out(&self, limit: Duration) -> LlmFault {
        LlmFault::Timeout { url: self.peer.base_url.clone(), limit }
    }

    fn wire_request(&self, request: &ChatRequest, stream: bool) -> Result<WireRequest, LlmFault> {
        request.settings.validate()?;
        let model = &self.peer.model;
        let max_completion_tokens = self.max_completion_tokens;
        WireRequest::new(request, &Dialect { model, max_completion_tokens, stream })
    }

    async fn attempt(&self, wire: &WireRequest) -> Result<Answer, LlmFault> {
        let reply: WireReply =
            self.client.chat().create_byot(wire).await.map_err(|error| self.peer.fault(error))?;
        let WireReply { model, choices, usage } = reply;
        let choice = choices.into_iter().next().ok_or_else(|| garbage("it has no choices", ""))?;
        Ok(Answer {
            finish: finish_reason(choice.finish_reason.as_deref()),
            text: choice.message.into_text(),
            usage: usage.map(Usage::from).unwrap_or_default(),
            model,
        })
    }

    /// Wraps up a successful call.
    fn reply(&self, answer: Answer, attempts: u32, start: Instant) -> ChatReply {
        let Answer { text, finish, usage, model } = answer;
        self.stats.finish_call(usage);
        let model = model.unwrap_or_else(|| self.peer.model.clone());
        ChatReply { text, finish, usage, model, attempts, elapsed: start.elapsed() }
    }
}

/// What one attempt brought.
struct Answer {
    text: String,
    finish: super::chat::FinishReason,
    usage: Usage,
    model: Option<String>,
}

#[async_trait]
impl ChatModel for OpenAiChat {
    fn name(&self) -> &str {
        &self.peer.model
    }

    async fn chat(
        &self,
        request: &ChatRequest,
        cancel: &CancellationToken,
    ) -> Result<ChatReply, LlmError> {
        let start = Instant::now();
        let wire = self.wire_request(request, false)?;
        let deadline = request.deadline.unwrap_or(self.deadline);
        let (answer, attempts) =
            self.in_attempts(deadline, cancel, || self.attempt(&wire), || true).await?;
        Ok(self.reply(answer, attempts, start))
    }

    async fn chat_stream(
        &self,
        request: &ChatRequest,
        cancel: &CancellationToken,
        pieces: mpsc::Sender<String>,
    ) -> Result<ChatReply, LlmError> {
        let start = Instant::now();
        let wire = self.wire_request(request, true)?;
        let deadline = request.deadline.unwrap_or(self.deadline);
        let outlet = stream::Outlet::new(pieces);
        let attempt = || self.stream_attempt(&wire, &outlet);
        let (answer, attempts) =
            self.in_attempts(deadline, cancel, attempt, || !outlet.is_used()).await?;
        Ok(self.reply(answer, attempts, start))
    }

    async fn check(&self) -> Result<(), LlmError> {
        let names = self.models().await.map_err(|fault| LlmError { fault, attempts: 1 })?;
        if !names.is_empty() && !names.contains(&self.peer.model) {
            // No error: some servers answer under any name, or list only some of theirs.
            tracing::warn!(model = self.peer.model, ?names, "the server does not list the model");
        }
        Ok(())
    }

    fn stats(&self) -> StatsSnapshot {
        self.stats.snapshot()
    }
}

/// A connection pool that follows no redirects (they would carry the conversation elsewhere) and
/// uses no proxy for this very machine.
fn http_client(base_url: &str) -> Result<reqwest::Client, LlmFault> {
    let builder = reqwest::Client::builder()
        .user_agent(concat!("pairwright/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_LIMIT)
        .redirect(reqwest::redirect::Policy::none());
    let builder = if is_loopback(base_url) { builder.no_proxy() } else { builder };
    builder.build().map_err(|error| LlmFault::config("target", format!("no HTTP client: {error}")))
}

fn is_loopback(base_url: &str) -> bool {
    let host = reqwest::Url::parse(base_url).ok().and_then(|url| url.host_str().map(str::to_owned));
    let host = host.unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_this_machine() {
        assert!(is_loopback("http://127.0.0.1:8000/v1"));
        assert!(is_loopback("http://localhost/v1"));
        assert!(is_loopback("http://[::1]:80/v1"));
        assert!(!is_loopback("http://10.0.0.1/v1"));
        assert!(!is_loopback("http://localhost.example/v1"));
    }
}
