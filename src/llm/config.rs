//! The settings of one model role, as a file or flags give them.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::LlmFault;
use super::parameter::Parameter;
use super::retry::RetryPolicy;
use super::spent::Prices;
use crate::base::check::{Checks, Settings};

/// Which server answers. Written `local`, `local:/path/model.gguf` or
/// `openai:http://host:8000/v1`, in flags and files alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum LlmTarget {
    /// A llama.cpp server that Pairwright runs itself.
    Local {
        /// The model file; none takes the one that `make setup` fetched.
        gguf: Option<PathBuf>,
    },
    /// Any OpenAI-compatible chat completions server.
    OpenAi {
        /// Base URL, usually ending in `/v1`; no trailing slash.
        base_url: String,
    },
}

/// The settings of one backend.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LlmConfig {
    /// Which server.
    pub target: LlmTarget,
    /// Model name to ask for. None takes the server's only model, and is an error when it has
    /// several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Environment variable that holds the API key; none sends no key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key_env: Option<String>,
    /// Calls that may be at the server at once, 1 to 4096. A local server takes `local.slots`.
    pub max_in_flight: usize,
    /// Seconds for one attempt, above 0 and up to 86400.
    pub deadline_s: f64,
    /// Attempts in all, 1 to 100.
    pub max_attempts: u32,
    /// Seconds: upper end of the first wait before asking again, above 0 and up to 600.
    pub backoff_base_s: f64,
    /// Seconds: upper end of any such wait, above 0 and up to 3600.
    pub backoff_cap_s: f64,
    /// Seconds: longest Retry-After honoured in full, 0 to 3600.
    pub retry_after_cap_s: f64,
    /// Say `max_completion_tokens` instead of `max_tokens`, which newer cloud models demand.
    pub max_completion_tokens: bool,
    /// Learn from the server's refusals which parameters it does not take, and go on without.
    pub adapt: bool,
    /// Longer side in pixels of a photo that is sent to a model, 64 to 8192; larger ones are made
    /// smaller.
    pub photo_max_side: u32,
    /// Bytes of such a photo, as JPEG, 8192 to 33554432.
    pub photo_max_bytes: usize,
    /// Ask a model that is to see photos for what is on a known picture, before anything else.
    pub probe: bool,
    /// Parameters that are never sent.
    pub omit: Vec<Parameter>,
    /// Keep what the model reasoned beside its reply. It is never part of the reply.
    pub keep_reasoning: bool,
    /// Tokens, of prompts and replies together, that one folder of work may spend by these
    /// settings, 1 or more; none sets no bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens_total: Option<u64>,
    /// What one folder of work may spend by these settings, above 0, in the currency of the
    /// prices, which must be set; none sets no bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_cost: Option<f64>,
    /// Price of a million prompt tokens, 0 to 1e6, in any currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price_per_million_prompt_tokens: Option<f64>,
    /// Price of a million tokens of replies, reasoning included, 0 to 1e6.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price_per_million_completion_tokens: Option<f64>,
    /// Send the calls of runs by the file to the server's batch API, whose answers come hours later
    /// and cost less.
    pub batch: bool,
    /// Calls in one batch, 1 to 50000.
    pub batch_max_requests: usize,
    /// Bytes of one batch's file, 1e6 to 2e8.
    pub batch_max_bytes: usize,
    /// Batches that may be at the server at once, 1 to 64.
    pub batch_max_open: usize,
    /// Seconds without a new call after which the calls gathered so far are sent, 0.001 to 3600.
    pub batch_gather_s: f64,
    /// Seconds: the longest wait between two questions how far a batch is, 0.001 to 3600.
    pub batch_poll_s: f64,
    /// What a token costs by the batch, as a part of its price, 0 to 1.
    pub batch_price_factor: f64,
    /// The managed server's own settings.
    pub local: LocalConfig,
}

/// Settings of the managed llama.cpp server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LocalConfig {
    /// The program; none looks at `PAIRWRIGHT_LLAMA_SERVER`, then at `runtime/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<PathBuf>,
    /// Threads that compute, 1 to 1024; none takes half the cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
    /// Replies written at the same time, 1 to 64.
    pub slots: usize,
    /// Tokens of conversation and reply that each slot holds, 256 to 1048576.
    pub context_per_slot: usize,
    /// Seconds from start to health, above 0 and up to 3600: large models load slowly.
    pub start_deadline_s: f64,
    /// Restarts within ten minutes before giving up, 0 to 100.
    pub max_restarts: usize,
    /// Folder for the server's log; none keeps only its last lines, in memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_dir: Option<PathBuf>,
}

impl Default for LlmConfig {
    fn default() -> Self {
        Self {
            target: LlmTarget::Local { gguf: None },
            model: None,
            api_key_env: None,
            max_in_flight: 8,
            deadline_s: 120.0,
            max_attempts: 5,
            backoff_base_s: 0.5,
            backoff_cap_s: 30.0,
            retry_after_cap_s: 120.0,
            max_completion_tokens: false,
            adapt: true,
            photo_max_side: 1024,
            photo_max_bytes: 1 << 20,
            probe: true,
            omit: Vec::new(),
            keep_reasoning: false,
            max_tokens_total: None,
            max_cost: None,
            price_per_million_prompt_tokens: None,
            price_per_million_completion_tokens: None,
            batch: false,
            batch_max_requests: 10_000,
            batch_max_bytes: 100_000_000,
            batch_max_open: 4,
            batch_gather_s: 10.0,
            batch_poll_s: 60.0,
            batch_price_factor: 0.5,
            local: LocalConfig::default(),
        }
    }
}

impl Default for LocalConfig {
    fn default() -> Self {
        Self {
            server: None,
            threads: None,
            slots: 4,
            context_per_slot: 2048,
            start_deadline_s: 120.0,
            max_restarts: 3,
            log_dir: None,
        }
    }
}

impl Settings for LlmConfig {
    fn check(&self, checks: &mut Checks) {
        checks.range("max_in_flight", self.max_in_flight, 1, 4096);
        checks.range("deadline_s", self.deadline_s, MOMENT, 86_400.0);
        checks.range("max_attempts", self.max_attempts, 1, 100);
        checks.range("backoff_base_s", self.backoff_base_s, MOMENT, 600.0);
        checks.range("backoff_cap_s", self.backoff_cap_s, MOMENT, 3600.0);
        checks.range("photo_max_side", self.photo_max_side, 64, 8192);
        checks.range("photo_max_bytes", self.photo_max_bytes, 8 << 10, 32 << 20);
        checks.range("retry_after_cap_s", self.retry_after_cap_s, 0.0, 3600.0);
        self.check_money(checks);
        for (field, text) in [("model", &self.model), ("api_key_env", &self.api_key_env)] {
            let empty = text.as_ref().is_some_and(|text| text.trim().is_empty());
            checks.require(!empty, field, "empty", "left out or not empty");
        }
        checks.section("local", &self.local);
    }
}

impl LlmConfig {
    fn check_money(&self, checks: &mut Checks) {
        checks.range("max_tokens_total", self.max_tokens_total, 1, 1 << 60);
        checks.range("max_cost", self.max_cost, MOMENT, 1e12);
        let prices =
            [self.price_per_million_prompt_tokens, self.price_per_million_completion_tokens];
        checks.range("price_per_million_prompt_tokens", prices[0], 0.0, 1e6);
        checks.range("price_per_million_completion_tokens", prices[1], 0.0, 1e6);
        let priced = prices.iter().all(Option::is_some);
        let wanted = "set together with both prices, price_per_million_prompt_tokens and \
            price_per_million_completion_tokens";
        checks.require(self.max_cost.is_none() || priced, "max_cost", "set alone", wanted);
        checks.range("batch_max_requests", self.batch_max_requests, 1, 50_000);
        checks.range("batch_max_bytes", self.batch_max_bytes, 1_000_000, 200_000_000);
        checks.range("batch_max_open", self.batch_max_open, 1, 64);
        checks.range("batch_gather_s", self.batch_gather_s, MOMENT, 3600.0);
        checks.range("batch_poll_s", self.batch_poll_s, MOMENT, 3600.0);
        checks.range("batch_price_factor", self.batch_price_factor, 0.0, 1.0);
        let takes = !self.batch || matches!(self.target, LlmTarget::OpenAi { .. });
        checks.require(takes, "batch", "true", "false where the target is local");
    }

    /// Calls worth having begun at once: by the batch, as many as the open batches hold.
    pub fn under_way(&self) -> usize {
        match self.batch {
            true => self.batch_max_requests.saturating_mul(self.batch_max_open),
            false => self.in_flight(),
        }
    }

    /// The prices, where both are set.
    pub fn prices(&self) -> Option<Prices> {
        let (prompt, completion) =
            self.price_per_million_prompt_tokens.zip(self.price_per_million_completion_tokens)?;
        Some(Prices { prompt, completion, batch_factor: self.batch_price_factor })
    }

    /// Checks every range.
    ///
    /// # Errors
    /// [`LlmFault::Config`] with the first setting out of its range.
    pub fn validate(&self) -> Result<(), LlmFault> {
        Ok(self.validate_as("")?)
    }

    /// Calls worth having under way: a local server has no more places than its slots.
    pub fn in_flight(&self) -> usize {
        match self.target {
            LlmTarget::Local { .. } => self.local.slots,
            LlmTarget::OpenAi { .. } => self.max_in_flight,
        }
    }

    /// Time for one attempt.
    pub(super) fn deadline(&self) -> Duration {
        Duration::from_secs_f64(self.deadline_s)
    }

    pub(super) fn retry_policy(&self) -> RetryPolicy {
        RetryPolicy {
            max_attempts: self.max_attempts,
            base: Duration::from_secs_f64(self.backoff_base_s),
            cap: Duration::from_secs_f64(self.backoff_cap_s),
            retry_after_cap: Duration::from_secs_f64(self.retry_after_cap_s),
        }
    }
}

impl Settings for LocalConfig {
    fn check(&self, checks: &mut Checks) {
        checks.range("threads", self.threads, 1, 1024);
        checks.range("slots", self.slots, 1, 64);
        checks.range("context_per_slot", self.context_per_slot, 256, 1 << 20);
        checks.range("start_deadline_s", self.start_deadline_s, MOMENT, 3600.0);
        checks.range("max_restarts", self.max_restarts, 0, 100);
    }
}

impl FromStr for LlmTarget {
    type Err = LlmFault;

    fn from_str(text: &str) -> Result<Self, LlmFault> {
        match text.split_once(':') {
            None if text == "local" => Ok(Self::Local { gguf: None }),
            Some(("local", path)) if !path.is_empty() => {
                Ok(Self::Local { gguf: Some(path.into()) })
            }
            Some(("openai", url)) => Ok(Self::OpenAi { base_url: base_url(url)? }),
            _ => Err(LlmFault::config(
                "target",
                format!(
                    "{text:?} is none of `local`, `local:/path/model.gguf`, \
                     `openai:http://host:8000/v1`"
                ),
            )),
        }
    }
}

impl LlmTarget {
    /// The kind of backend, on which defaults depend: `local` or `openai`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Local { .. } => "local",
            Self::OpenAi { .. } => "openai",
        }
    }
}

impl fmt::Display for LlmTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local { gguf: None } => f.write_str("local"),
            Self::Local { gguf: Some(path) } => write!(f, "local:{}", path.display()),
            Self::OpenAi { base_url } => write!(f, "openai:{base_url}"),
        }
    }
}

impl TryFrom<String> for LlmTarget {
    type Error = LlmFault;

    fn try_from(text: String) -> Result<Self, LlmFault> {
        text.parse()
    }
}

impl From<LlmTarget> for String {
    fn from(target: LlmTarget) -> Self {
        target.to_string()
    }
}

/// Checks a base URL and drops its trailing slashes. A password in it is refused, because URLs
/// are logged and stored.
fn base_url(text: &str) -> Result<String, LlmFault> {
    let wrong = |reason: String| LlmFault::config("target", reason);
    let url =
        reqwest::Url::parse(text).map_err(|error| wrong(format!("{text:?} is no URL: {error}")))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("keys do not belong in the URL; name a variable in api_key_env".into()));
    }
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(wrong(format!("{text:?} must begin with http:// or https:// and a host")));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong(format!("{text:?} must end with its path, such as /v1")));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// The shortest time that counts as one; "above 0" in messages.
const MOMENT: f64 = 0.001;

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
