//! Writes the answer for one pair: prompt, call, filters, and again where a filter refuses.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::PromptSet;
use super::filter::{AnswerText, FilterChain};
use crate::dataset::store::{AnswerRow, PairToAnswer};
use crate::hash;
use crate::llm::{ChatModel, ChatReply, ChatRequest, FinishReason, LlmError, SamplingSettings};

/// How answers are asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AnswerConfig {
    /// Folder with `answer.system.txt` and `answer.user.txt`; built-in prompts when absent.
    pub prompts: Option<std::path::PathBuf>,
    /// In-context examples, JSON lines; built-in examples when absent.
    pub examples: Option<std::path::PathBuf>,
    /// Examples shown in each prompt, 0 to 8.
    pub examples_per_prompt: usize,
    /// Answers tried per pair until one passes the filters, 1 to 10.
    pub attempts: u32,
    pub settings: SamplingSettings,
}

impl Default for AnswerConfig {
    fn default() -> Self {
        Self {
            prompts: None,
            examples: None,
            examples_per_prompt: 2,
            attempts: 2,
            settings: SamplingSettings::default(),
        }
    }
}

/// Everything one answer depends on.
pub struct Generator {
    pub model: Arc<dyn ChatModel>,
    pub prompts: PromptSet,
    pub filters: FilterChain,
    pub settings: SamplingSettings,
    /// Seed of the run.
    pub seed: u64,
    /// Key over prompts, model, settings and seed.
    pub conf: String,
}

impl Generator {
    /// The key of everything an answer depends on beside its pair and attempt.
    pub fn conf_key(
        prompts: &PromptSet,
        model: &str,
        settings: &SamplingSettings,
        seed: u64,
    ) -> String {
        let settings = format!("{settings:?}");
        hash::key(&["answer", &prompts.hash, model, &settings, &seed.to_string()])
    }

    /// Makes one attempt at one pair.
    ///
    /// # Errors
    /// The LLM's, after its retries.
    pub async fn attempt(
        &self,
        pair: &PairToAnswer,
        attempt: u32,
        cancel: &CancellationToken,
    ) -> Result<AnswerRow, LlmError> {
        let number = attempt.to_string();
        let seed = |what| hash::seed(self.seed, &[what, &pair.pair_key, &number]);
        let prompt =
            self.prompts.build(&pair.description, &pair.instruction, seed("examples"));
        // Servers take 32-bit seeds, and llama.cpp reads the largest as "random".
        let seed = seed("answer") & 0x7fff_ffff;
        let request = ChatRequest::new(prompt.messages, self.settings.clone(), seed);
        let reply = self.model.chat(&request, cancel).await?;
        Ok(self.judge(pair, attempt, seed, prompt.examples, reply))
    }

    fn judge(
        &self,
        pair: &PairToAnswer,
        attempt: u32,
        seed: u64,
        examples: Vec<String>,
        reply: ChatReply,
    ) -> AnswerRow {
        let text = reply.text.trim().to_owned();
        let truncated = reply.finish == FinishReason::Length;
        let outcome = self.filters.check(&AnswerText {
            text: &text,
            truncated,
            instruction: &pair.instruction,
            description: &pair.description,
            system: &self.prompts.system,
        });
        AnswerRow {
            answer_key: hash::key(&[&pair.pair_key, &self.conf, &attempt.to_string()]),
            pair_key: pair.pair_key.clone(),
            attempt,
            text,
            finish: finish_name(reply.finish).to_owned(),
            llm: reply.model,
            seed,
            examples,
            prompt_tokens: reply.usage.prompt_tokens,
            completion_tokens: reply.usage.completion_tokens,
            verdict: outcome.verdict,
            filters: outcome.passed,
        }
    }
}

/// The name of a finish reason in the store and the report.
pub fn finish_name(finish: FinishReason) -> &'static str {
    match finish {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
        FinishReason::ContentFilter => "content_filter",
        FinishReason::Other => "other",
    }
}
