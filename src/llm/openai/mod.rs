//! Any OpenAI-compatible chat completions server: vLLM, llama.cpp's server, Ollama, a cloud API.
//!
//! What is sent is what the official protocol says ([`request`]), less what a server turns out not
//! to take ([`dialect`]). What comes back is read as servers send it ([`reply`], [`events`]), and
//! refusals are told apart by what they say ([`refusal`]).

mod attempts;
mod batches;
mod dialect;
mod events;
mod key;
mod refusal;
mod reply;
mod request;
mod stream;
mod transport;
mod words;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use self::dialect::{Dialect, Spelling};
pub(super) use self::key::ApiKey;
use self::request::WireRequest;
use self::stream::Outlet;
use self::transport::{Peer, Refused};
use super::chat::{BatchServer, ChatModel, ChatReply, ChatRequest, FinishReason, TokenLogprob};
use super::config::LlmConfig;
use super::error::{LlmError, LlmFault};
use super::parameter::Adaptation;
use super::reasoning;
use super::retry::RetryPolicy;
use super::spent::Usage;
use super::stats::{LlmStats, StatsSnapshot};

/// Time to make a connection; a server that is up answers in far less.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Time for [`ChatModel::check`] and for reading the list of models.
const CHECK_LIMIT: Duration = Duration::from_secs(10);

/// A chat model behind an OpenAI-compatible server.
pub struct OpenAiChat {
    peer: Peer,
    dialect: Dialect,
    policy: RetryPolicy,
    deadline: Duration,
    keep_reasoning: bool,
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
        let model = config.model.clone().unwrap_or_default();
        let mut chat = Self::new(base_url, model, key, config, Arc::default())?;
        if config.model.is_none() {
            chat.peer.model = chat.only_model().await?;
            tracing::info!(base_url, model = chat.peer.model, "took the server's only model");
        }
        Ok(chat)
    }

    /// The same client for a server whose model and key are known and whose counters go on.
    pub(super) fn managed(
        base_url: &str,
        model: &str,
        key: ApiKey,
        config: &LlmConfig,
        stats: Arc<LlmStats>,
    ) -> Result<Self, LlmFault> {
        let chat = Self::new(base_url, model.to_owned(), Some(key), config, stats)?;
        // llama.cpp's server tells reasoning from the answer itself.
        chat.dialect.saw_opening(false);
        Ok(chat)
    }

    fn new(
        base_url: &str,
        model: String,
        key: Option<ApiKey>,
        config: &LlmConfig,
        stats: Arc<LlmStats>,
    ) -> Result<Self, LlmFault> {
        let http = http_client(base_url)?;
        Ok(Self {
            peer: Peer { http, base_url: base_url.to_owned(), model, key },
            dialect: Dialect::new(config),
            policy: config.retry_policy(),
            deadline: config.deadline(),
            keep_reasoning: config.keep_reasoning,
            places: Semaphore::new(config.max_in_flight),
            stats,
        })
    }

    async fn only_model(&self) -> Result<String, LlmFault> {
        let mut names = self.models().await?;
        match names.len() {
            1 => Ok(names.remove(0)),
            0 => Err(LlmFault::config(
                "model",
                "the server lists no models; name one with --llm-model",
            )),
            _ => Err(LlmFault::config("model", format!("choose one of {}", names.join(", ")))),
        }
    }

    /// The models that the server lists; none where it has no such list. Where the path leads
    /// elsewhere, calls would, too, so that a redirect is a fault.
    async fn models(&self) -> Result<Vec<String>, LlmFault> {
        match self.listed_models().await {
            Err(fault @ (LlmFault::NotFound { status: 400.., .. } | LlmFault::Garbage { .. })) => {
                tracing::debug!("the LLM server has no list of models: {fault}");
                Ok(Vec::new())
            }
            listed => listed,
        }
    }

    async fn listed_models(&self) -> Result<Vec<String>, LlmFault> {
        let listing = async {
            let response = self.peer.get("models").await.map_err(|refused| refused.fault)?;
            self.peer.body(response).await
        };
        let body = tokio::time::timeout(CHECK_LIMIT, listing)
            .await
            .map_err(|_| self.timed_out(CHECK_LIMIT))??;
        let values =
            reply::values(&body).map_err(|error| self.peer.garbage(&error.to_string(), &body))?;
        let listed = values.first().unwrap_or(&Value::Null);
        let lists = ["data", "models"].iter().filter_map(|name| listed.get(name));
        let models = lists.chain([listed]).find_map(Value::as_array);
        let name = |model: &Value| {
            let names = ["id", "name", "model"].iter().filter_map(|name| model.get(name));
            names.chain([model]).find_map(Value::as_str).map(str::to_owned)
        };
        Ok(models.into_iter().flatten().filter_map(name).collect())
    }

    fn timed_out(&self, limit: Duration) -> LlmFault {
        LlmFault::Timeout { url: self.peer.base_url.clone(), limit }
    }

    /// A call, as a stream into `outlet` where there is one.
    async fn call(
        &self,
        request: &ChatRequest,
        cancel: &CancellationToken,
        outlet: Option<Outlet>,
    ) -> Result<ChatReply, LlmError> {
        let start = Instant::now();
        request.settings.validate()?;
        let deadline = request.deadline.unwrap_or(self.deadline);
        let outlet = outlet.as_ref();
        let attempt = || self.attempt(request, outlet);
        let fresh = || !outlet.is_some_and(Outlet::is_used);
        let (answer, attempts) = self.in_attempts(deadline, cancel, attempt, fresh).await?;
        Ok(self.reply(answer, attempts, start))
    }

    /// One attempt, again at once where the server does not take a parameter.
    async fn attempt(
        &self,
        request: &ChatRequest,
        outlet: Option<&Outlet>,
    ) -> Result<Answer, LlmFault> {
        loop {
            let used = self.dialect.now();
            let wire = WireRequest::new(request, &self.peer.model, used, outlet.is_some())?;
            let mut refused = match self.ask(request, &wire, outlet).await {
                Ok(answer) => return Ok(answer),
                Err(refused) => refused,
            };
            if let Some(fault) = refused.photo.take().filter(|_| request.shows_photo()) {
                return Err(*fault);
            }
            if outlet.is_some_and(Outlet::is_used) {
                return Err(refused.fault);
            }
            self.settle(refused, &wire, used)?;
        }
    }

    async fn ask(
        &self,
        request: &ChatRequest,
        wire: &WireRequest<'_>,
        outlet: Option<&Outlet>,
    ) -> Result<Answer, Refused> {
        let response = self.peer.post("chat/completions", wire).await?;
        match outlet {
            Some(outlet) => self.stream(request, response, outlet).await,
            None => self.read_body(request, &self.peer.body(response).await?),
        }
    }

    /// Learns from a refusal, so that the same call can be made again at once.
    ///
    /// # Errors
    /// The fault, when there is nothing to learn from it.
    fn settle(
        &self,
        refused: Refused,
        wire: &WireRequest<'_>,
        used: Spelling,
    ) -> Result<(), LlmFault> {
        let Refused { fault, parameter, .. } = refused;
        match parameter.filter(|parameter| wire.says(*parameter)) {
            Some(parameter) => self.dialect.learn(parameter, used, fault.excerpt().to_owned()),
            None => Err(fault),
        }
    }

    /// Reads the whole body of a good answer.
    fn read_body(&self, request: &ChatRequest, body: &str) -> Result<Answer, Refused> {
        if events::are_events(body) {
            let (answer, lone) = stream::Partial::read(&self.peer, body)?;
            self.dialect.saw_opening(lone);
            return Ok(answer);
        }
        let values =
            reply::values(body).map_err(|error| self.peer.garbage(&error.to_string(), body))?;
        let Some(value) = values.first() else {
            return Err(self.peer.garbage("it is empty", body).into());
        };
        let mut partial = stream::Partial::default();
        if partial.add(&self.peer, value)?.is_none() {
            return Err(self.peer.garbage("it has no choices", body).into());
        }
        // A whole reply without a reason has ended by itself, if not at its limit.
        let at_limit = partial.usage.completion_tokens >= u64::from(request.settings.max_tokens);
        let unsaid = if at_limit { FinishReason::Length } else { FinishReason::Stop };
        partial.finish.get_or_insert(unsaid);
        let (mut answer, lone) = partial.end(&self.peer)?;
        if request.prompt_logprobs {
            answer.prompt_logprobs = reply::prompt_logprobs(value);
        }
        self.dialect.saw_opening(lone);
        Ok(answer)
    }

    /// Wraps up a successful call.
    fn reply(&self, answer: Answer, attempts: u32, start: Instant) -> ChatReply {
        let Answer { text, reasoning, finish, usage, model, prompt_logprobs } = answer;
        self.stats.finish_call(usage);
        let model = model.unwrap_or_else(|| self.peer.model.clone());
        let thought = reasoning::thought(reasoning);
        ChatReply {
            text,
            reasoned: thought.is_some(),
            reasoning: thought.filter(|_| self.keep_reasoning),
            finish,
            usage,
            model,
            attempts,
            elapsed: start.elapsed(),
            prompt_logprobs,
        }
    }
}

/// Reads what a server sent with status 200, as a call does: the text and why it ended. For programs
/// that test the reader, such as the fuzz targets.
///
/// # Errors
/// What is wrong with it.
#[doc(hidden)]
pub fn read_reply(body: &str) -> Result<(String, FinishReason), LlmFault> {
    let config = LlmConfig::default();
    let chat = OpenAiChat::new("http://127.0.0.1/v1", "m".into(), None, &config, Arc::default())?;
    let question = vec![super::Message::user("?")];
    let request = ChatRequest::new(question, super::SamplingSettings::default(), 0);
    let answer = chat.read_body(&request, body).map_err(|refused| refused.fault)?;
    Ok((answer.text, answer.finish))
}

/// What one attempt brought.
struct Answer {
    text: String,
    /// Empty when there is none.
    reasoning: String,
    finish: FinishReason,
    usage: Usage,
    model: Option<String>,
    /// None unless they were asked for.
    prompt_logprobs: Vec<TokenLogprob>,
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
        self.call(request, cancel, None).await
    }

    async fn chat_stream(
        &self,
        request: &ChatRequest,
        cancel: &CancellationToken,
        pieces: mpsc::Sender<String>,
    ) -> Result<ChatReply, LlmError> {
        self.call(request, cancel, Some(Outlet::new(pieces))).await
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

    fn batches(&self) -> Option<&dyn BatchServer> {
        Some(self)
    }

    fn adaptations(&self) -> Vec<Adaptation> {
        self.dialect.adaptations()
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
