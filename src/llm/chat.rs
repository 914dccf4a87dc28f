//! What goes into a chat call and what comes out of it, and the trait that every backend meets.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::error::{LlmError, LlmFault};
use super::parameter::Adaptation;
use super::settings::SamplingSettings;
use super::spent::{Spending, Usage};
use super::stats::StatsSnapshot;

/// Who speaks a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The frame set for the whole conversation.
    System,
    /// The asking side.
    User,
    /// The model; used for in-context examples.
    Assistant,
}

/// A picture attached to a user message, sent inside the request as a data URL.
#[derive(Clone, PartialEq, Eq)]
pub struct ImageAttachment {
    /// Media type such as `image/jpeg`.
    pub mime: String,
    /// The encoded file, not pixels.
    pub bytes: Vec<u8>,
}

impl ImageAttachment {
    /// The picture as `data:<mime>;base64,<bytes>`.
    pub fn data_url(&self) -> String {
        let encoded = base64::engine::general_purpose::STANDARD.encode(&self.bytes);
        format!("data:{};base64,{encoded}", self.mime)
    }
}

/// Shows the size only: a log line must not carry megabytes.
impl fmt::Debug for ImageAttachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ImageAttachment({}, {} bytes)", self.mime, self.bytes.len())
    }
}

/// One turn of the conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub text: String,
    /// Pictures shown with the text; only [`Role::User`] messages may carry them.
    pub images: Vec<ImageAttachment>,
}

impl Message {
    /// A message of `role` without pictures.
    pub fn new(role: Role, text: impl Into<String>) -> Self {
        Self { role, text: text.into(), images: Vec::new() }
    }

    /// A system message.
    pub fn system(text: impl Into<String>) -> Self {
        Self::new(Role::System, text)
    }

    /// A user message.
    pub fn user(text: impl Into<String>) -> Self {
        Self::new(Role::User, text)
    }

    /// An assistant message.
    pub fn assistant(text: impl Into<String>) -> Self {
        Self::new(Role::Assistant, text)
    }
}

/// One chat call.
#[derive(Debug, Clone)]
pub struct ChatRequest {
    /// The conversation, oldest first; at least one message.
    pub messages: Vec<Message>,
    /// How the reply is sampled.
    pub settings: SamplingSettings,
    /// Seed of the sampling. Servers take 31 bits, so it is folded on the way out: equal seeds
    /// stay equal.
    pub seed: u64,
    /// A JSON Schema the reply must follow, for servers that can constrain their output. The text
    /// is still cut when `max_tokens` runs out, so the caller parses it.
    pub json_schema: Option<serde_json::Value>,
    /// Time for one attempt, in place of the configured one.
    pub deadline: Option<Duration>,
    /// Asks how likely the conversation is that ends in a message of the model's, and for no reply:
    /// see [`ChatReply::prompt_logprobs`]. vLLM's extension.
    pub prompt_logprobs: bool,
}

impl ChatRequest {
    /// A call with free text as reply and the configured deadline.
    pub fn new(messages: Vec<Message>, settings: SamplingSettings, seed: u64) -> Self {
        Self { messages, settings, seed, json_schema: None, deadline: None, prompt_logprobs: false }
    }

    /// Whether a picture goes with it.
    pub fn shows_photo(&self) -> bool {
        self.messages.iter().any(|message| !message.images.is_empty())
    }

    /// The same call, its reply bound to `schema`.
    #[must_use]
    pub fn with_json_schema(mut self, schema: serde_json::Value) -> Self {
        self.json_schema = Some(schema);
        self
    }
}

/// Why the model stopped. Only [`FinishReason::Stop`] means a complete reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum FinishReason {
    /// It ended its turn, or met a stop string. So counts a whole reply of a server that gives no
    /// reason, unless its tokens reached `max_tokens`.
    Stop,
    /// `max_tokens` or the context ran out: the text is cut.
    Length,
    /// The server's own filter cut the text.
    ContentFilter,
    /// The server failed or was stopped in the middle.
    Failed,
    /// A reason that does not say that the reply is complete, such as a call of a tool.
    Unknown,
}

impl FinishReason {
    /// The name of a finish reason in stores and reports.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// The code under which a reply is refused in every role for how it ended, by its
/// [`FinishReason::name`]; none when it is complete, or cut at a limit, which each role judges
/// itself. What older releases stored as `other` was accepted then and stays so.
pub fn unfinished(finish: &str) -> Option<&'static str> {
    match finish {
        "content_filter" => Some("content_filter"),
        "failed" | "unknown" => Some("unfinished"),
        _ => None,
    }
}

/// A complete reply.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatReply {
    /// The text without reasoning; may be empty, which is the caller's to judge.
    pub text: String,
    /// Whether the model reasoned before the text, by a field of the server's or by its marks.
    pub reasoned: bool,
    /// What it reasoned, where [`LlmConfig::keep_reasoning`](super::LlmConfig::keep_reasoning) asks
    /// for it.
    pub reasoning: Option<String>,
    /// Why it ended.
    pub finish: FinishReason,
    /// Tokens of the attempt that succeeded.
    pub usage: Usage,
    /// The model name the server reports, or the one asked for.
    pub model: String,
    /// Attempts made, 1 or more.
    pub attempts: u32,
    /// From the call to the reply, waiting and retries included.
    pub elapsed: Duration,
    /// The conversation's tokens, where they were asked for and the server tells; else none.
    pub prompt_logprobs: Vec<TokenLogprob>,
}

/// A token of a conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenLogprob {
    pub text: String,
    /// Natural logarithm of its probability after the tokens before it.
    pub logprob: f64,
}

/// Calls that a server takes by the file, and answers by the file hours later.
#[async_trait]
pub trait BatchServer: Send + Sync {
    /// The server's base URL.
    fn base_url(&self) -> &str;

    /// A request as a server would get it: in its first form, which names it for good, and without
    /// what the server turned out not to take.
    ///
    /// # Errors
    /// `Config` for a request that cannot be written.
    fn bodies(&self, request: &ChatRequest) -> Result<[String; 2], LlmFault>;

    /// Sends a file of requests; returns the server's name for it.
    ///
    /// # Errors
    /// The fault met.
    async fn upload(&self, name: &str, lines: Vec<u8>) -> Result<String, LlmFault>;

    /// Makes a batch of a file that was sent, marked with `token`.
    ///
    /// # Errors
    /// The fault met; where the connection broke, the batch may have been made.
    async fn create(&self, file: &str, token: &str) -> Result<BatchStatus, LlmFault>;

    /// How far a batch is.
    ///
    /// # Errors
    /// The fault met; `NotFound` when the server does not know it.
    async fn status(&self, id: &str) -> Result<BatchStatus, LlmFault>;

    /// The batch that is marked with `token`, if there is one.
    ///
    /// # Errors
    /// The fault met.
    async fn find(&self, token: &str) -> Result<Option<BatchStatus>, LlmFault>;

    /// The lines of a file, as they come.
    ///
    /// # Errors
    /// The fault met; the stream's own when it breaks before the end.
    async fn lines(&self, file: &str) -> Result<BoxStream<'_, Result<String, LlmFault>>, LlmFault>;

    /// The tokens that the body of an answer tells; none where it tells nothing.
    fn usage(&self, body: &str) -> Option<Usage>;

    /// Reads the answer to one request; `true` beside a fault says that the server was not asked
    /// in the right form, which is known now.
    ///
    /// # Errors
    /// What the status or the body says.
    fn read(
        &self,
        request: &ChatRequest,
        status: u16,
        body: &str,
    ) -> Result<ChatReply, (LlmFault, bool)>;
}

/// How far a batch is, as its server tells.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchStatus {
    /// The server's name for it.
    pub id: String,
    /// `validating`, `in_progress`, `finalizing`, `completed`, `failed`, `expired`, `cancelling`
    /// or `cancelled`, and what other servers say.
    pub state: String,
    /// The file of the answers.
    pub output_file: Option<String>,
    /// The file of the requests that failed.
    pub error_file: Option<String>,
    /// Why the whole batch failed.
    pub fault: Option<LlmFault>,
}

/// A chat model behind some server. Calls may run at the same time; each backend bounds how many
/// reach its server at once.
#[async_trait]
pub trait ChatModel: Send + Sync {
    /// The model's name as it goes into records and keys.
    fn name(&self) -> &str;

    /// Asks and waits for the whole reply.
    ///
    /// # Errors
    /// The fault of the last attempt, once it is not worth retrying or attempts ran out;
    /// `Cancelled` soon after `cancel` fires.
    async fn chat(
        &self,
        request: &ChatRequest,
        cancel: &CancellationToken,
    ) -> Result<ChatReply, LlmError>;

    /// As [`ChatModel::chat`], and sends each piece of text to `pieces` as it arrives, without
    /// reasoning. The first reply of a server comes in one piece: only its end shows whether the
    /// server leaves out the mark that begins the reasoning; if so, all do up to its end. A slow
    /// receiver slows the reading down, and its time counts towards the deadline; a dropped one
    /// ends the call as cancelled.
    ///
    /// # Errors
    /// As [`ChatModel::chat`]; once a piece has been delivered nothing is retried, since the
    /// receiver cannot take it back.
    async fn chat_stream(
        &self,
        request: &ChatRequest,
        cancel: &CancellationToken,
        pieces: mpsc::Sender<String>,
    ) -> Result<ChatReply, LlmError>;

    /// A cheap question to the server: does it answer, and does it take our key? One attempt.
    ///
    /// # Errors
    /// The fault met.
    async fn check(&self) -> Result<(), LlmError>;

    /// Counters since this backend was made.
    fn stats(&self) -> StatsSnapshot;

    /// What the folder of work that these calls belong to has spent, by all roles; none where
    /// nobody counts it.
    fn spending(&self) -> Option<Spending> {
        None
    }

    /// Whether a call that is given up goes on at the server and is found again by the same
    /// request, so that a stop need not wait for its end.
    fn resumes(&self) -> bool {
        false
    }

    /// Whether another call may be begun now, as far as memory goes.
    fn has_room(&self) -> bool {
        true
    }

    /// The server's batches, where it has some.
    fn batches(&self) -> Option<&dyn BatchServer> {
        None
    }

    /// What was learnt about the server since this backend was made: parameters that it does not
    /// take.
    fn adaptations(&self) -> Vec<Adaptation> {
        Vec::new()
    }
}
