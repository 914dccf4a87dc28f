//! Writes the answer for one pair: prompt, call, filters, and again where a filter refuses.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::filter::{Filters, Refused, SampleView, Verdict};
use super::prompt::BuiltIn;
use super::{AnswerError, PromptSet};
use crate::base::hash;
use crate::base::key::Key;
use crate::dataset::record::{AnswerRow, Pair};
use crate::llm::{
    ChatModel, ChatReply, ChatRequest, FinishReason, ImageAttachment, LlmError, LlmTarget,
    PromptSource, SamplingSettings, See, unfinished,
};

/// How answers are asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AnswerConfig {
    /// `capable` or `small`, the built-in sets, or a folder with `answer.system.txt` and
    /// `answer.user.txt`. Unset: `small` with a local server, else `capable`.
    pub prompts: Option<PromptSource>,
    /// In-context examples, JSON lines; those of the prompts' folder or set when absent.
    pub examples: Option<std::path::PathBuf>,
    /// What the model gets to know of a photo. A photo needs a server with a model that sees.
    pub see: See,
    /// Examples shown in each prompt, 0 to 8; none where the photo alone is shown. Unset: 2, and 0
    /// with a local server, whose small
    /// model copies examples instead of learning from them (docs/small-llm.md).
    pub examples_per_prompt: Option<usize>,
    /// Answers tried per pair until one passes the filters, 1 to 10.
    pub attempts: u32,
    /// How the model samples. Unset: the defaults, and with a local server those measured best
    /// for the small model `make setup` fetches.
    pub settings: Option<SamplingSettings>,
}

impl Default for AnswerConfig {
    fn default() -> Self {
        Self {
            prompts: None,
            examples: None,
            see: See::default(),
            examples_per_prompt: None,
            attempts: 2,
            settings: None,
        }
    }
}

impl AnswerConfig {
    /// The prompts of a new run, unset resolved for the backend.
    ///
    /// # Errors
    /// As [`PromptSet::read`].
    pub fn resolved_prompts(&self, target: &LlmTarget) -> Result<PromptSet, AnswerError> {
        self.prompts_seeing(target, self.see)
    }

    /// The same, for a model that gets to know `see` of a photo.
    ///
    /// # Errors
    /// As [`PromptSet::read`].
    pub fn prompts_seeing(&self, target: &LlmTarget, see: See) -> Result<PromptSet, AnswerError> {
        let (set, folder) = PromptSource::resolve(self.prompts.as_ref(), target);
        let (examples, shown) = (self.examples.as_deref(), self.resolved_examples(target));
        PromptSet::read(&BuiltIn::seeing(set, see), folder, examples, shown)
    }

    /// Examples per prompt, unset resolved for the backend.
    pub fn resolved_examples(&self, target: &LlmTarget) -> usize {
        self.examples_per_prompt.unwrap_or(match target {
            LlmTarget::Local { .. } => 0,
            LlmTarget::OpenAi { .. } => 2,
        })
    }

    /// Sampling settings, unset resolved for the backend.
    pub fn resolved_settings(&self, target: &LlmTarget) -> SamplingSettings {
        self.settings.clone().unwrap_or_else(|| match target {
            LlmTarget::Local { .. } => small_model_settings(),
            LlmTarget::OpenAi { .. } => SamplingSettings::default(),
        })
    }
}

/// The settings measured best for SmolLM2-135M-Instruct (docs/small-llm.md): without the stop at
/// a blank line and the repeat penalty it loops.
fn small_model_settings() -> SamplingSettings {
    SamplingSettings {
        temperature: 0.2,
        top_p: 0.9,
        max_tokens: 200,
        stop: vec!["\n\n".into()],
        repeat_penalty: Some(1.12),
        ..SamplingSettings::default()
    }
}

/// Everything one answer depends on.
pub struct Generator {
    pub model: Arc<dyn ChatModel>,
    pub prompts: Arc<PromptSet>,
    pub filters: Arc<Filters>,
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
        let usual = See::Description.name();
        let key = Key::new("answer", 2)
            .field("prompts", prompts.hash.as_str())
            .unless("see", prompts.see.name(), usual)
            .optional("described", prompts.described.as_deref());
        settings.add_to(key.field("model", model)).field("seed", seed).done()
    }

    /// Makes one attempt at one pair; `last` is the attempt before it, which was refused, and `photo`
    /// is shown where the prompts speak of one.
    ///
    /// # Errors
    /// The LLM's, after its retries.
    pub async fn attempt(
        &self,
        pair: &Pair,
        attempt: u32,
        last: Option<&AnswerRow>,
        photo: Option<ImageAttachment>,
        cancel: &CancellationToken,
    ) -> Result<AnswerRow, LlmError> {
        let request = self.request(pair, attempt, last, photo);
        let reply = self.model.chat(&request, cancel).await?;
        Ok(self.judge(pair, attempt, &request, reply))
    }

    /// As [`Generator::attempt`], and sends each piece of text to `pieces` as it arrives.
    ///
    /// # Errors
    /// As [`ChatModel::chat_stream`].
    pub async fn attempt_streamed(
        &self,
        pair: &Pair,
        attempt: u32,
        last: Option<&AnswerRow>,
        photo: Option<ImageAttachment>,
        cancel: &CancellationToken,
        pieces: mpsc::Sender<String>,
    ) -> Result<AnswerRow, LlmError> {
        let request = self.request(pair, attempt, last, photo);
        let reply = self.model.chat_stream(&request, cancel, pieces).await?;
        Ok(self.judge(pair, attempt, &request, reply))
    }

    /// The call that attempt number `attempt` (from 1) at a pair makes. It tells why `last`, the
    /// attempt before it, was refused, where the prompts do. `photo` goes with the turn that holds the
    /// instruction.
    pub fn request(
        &self,
        pair: &Pair,
        attempt: u32,
        last: Option<&AnswerRow>,
        photo: Option<ImageAttachment>,
    ) -> ChatRequest {
        let shown = self.seed("examples", pair, attempt);
        let mut messages =
            self.prompts.build(&pair.description, &pair.captions, &pair.instruction, shown);
        if let Some(message) = messages.last_mut() {
            message.images.extend(photo);
        }
        if let Some(last) = last {
            messages.extend(self.prompts.after_refusal(&last.text, last.verdict.reason()));
        }
        // Servers take 32-bit seeds, and llama.cpp reads the largest as "random".
        let seed = self.seed("answer", pair, attempt) & 0x7fff_ffff;
        ChatRequest::new(messages, self.settings.clone(), seed)
    }

    fn seed(&self, what: &str, pair: &Pair, attempt: u32) -> u64 {
        hash::seed(self.seed, &[what, &pair.key, &attempt.to_string()])
    }

    /// What is said of a reply, and the row to keep.
    pub fn judge(
        &self,
        pair: &Pair,
        attempt: u32,
        request: &ChatRequest,
        reply: ChatReply,
    ) -> AnswerRow {
        let text = reply.text.trim().to_owned();
        let finish = reply.finish.name();
        let verdict = verdict(
            &self.prompts,
            &self.filters,
            &SampleView {
                text: &text,
                truncated: reply.finish == FinishReason::Length,
                instruction: &pair.instruction,
                description: &pair.description,
                prompt_texts: &self.prompts.texts(),
                pair: Some(pair),
                ..SampleView::default()
            },
            finish,
            reply.reasoned,
        );
        let filters = passed(&self.filters, &text, &verdict);
        AnswerRow {
            answer_key: hash::key(&[&pair.key, &self.conf, &attempt.to_string()]),
            pair_key: pair.key.clone(),
            attempt,
            text,
            finish: finish.to_owned(),
            llm: reply.model,
            seed: request.seed,
            examples: self.prompts.shown(self.seed("examples", pair, attempt)),
            prompt_tokens: reply.usage.prompt_tokens,
            completion_tokens: reply.usage.completion_tokens,
            reasoning: reply.reasoning,
            filters,
            verdict,
        }
    }
}

/// What is said of a reply: whether it is an answer at all ([`no_answer`]), whether the LLM
/// declines, or else what the filters say. `finish` is what [`FinishReason::name`] gave.
pub fn verdict(
    prompts: &PromptSet,
    filters: &Filters,
    sample: &SampleView<'_>,
    finish: &str,
    has_reasoning: bool,
) -> Verdict {
    if let Some(refused) = no_answer(sample.text, finish, has_reasoning) {
        return Verdict::Reject(refused);
    }
    match prompts.declined(sample.text) {
        Some(why) => Verdict::Reject(Refused {
            code: Verdict::INAPPLICABLE.into(),
            reason: format!("the LLM declines: {why}"),
        }),
        None => filters.check(sample),
    }
}

/// The filters an answer passed, for its lineage: all that could judge it, or none worth telling.
pub fn passed(filters: &Filters, text: &str, verdict: &Verdict) -> Vec<String> {
    match verdict {
        Verdict::Pass => filters.judging(text),
        Verdict::Reject(_) => Vec::new(),
    }
}

/// Why a reply is no answer whatever the filters say of its text: the server did not end it as a
/// complete one, or it is reasoning alone. `finish` is what [`FinishReason::name`] gave.
pub fn no_answer(text: &str, finish: &str, has_reasoning: bool) -> Option<Refused> {
    let silent = text.trim().is_empty();
    let (code, reason) = match (unfinished(finish), finish) {
        (Some(code), "content_filter") => (code, "the LLM server's content filter cut the answer"),
        (Some(code), "failed") => (code, "the LLM server failed in the middle of the answer"),
        (Some(code), _) => (code, "the LLM server does not say that the answer is complete"),
        (None, "length") if silent => (
            "truncated",
            "the reply's tokens were used up, by reasoning or blanks, before an answer began: \
             raise answer.settings.max_tokens",
        ),
        (None, _) if silent && has_reasoning => {
            ("empty", "the reply is reasoning alone, without an answer")
        }
        _ => return None,
    };
    Some(Refused { code: code.to_owned(), reason: reason.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_complete_is_no_answer() {
        let code = |text, finish: FinishReason, reasoning| {
            no_answer(text, finish.name(), reasoning).map(|refused| refused.code)
        };
        assert_eq!(code("A bus.", FinishReason::Stop, true), None);
        assert_eq!(code("A bus", FinishReason::Length, false), None, "the filter's to judge");
        assert_eq!(
            code("A", FinishReason::ContentFilter, false).as_deref(),
            Some("content_filter")
        );
        assert_eq!(code("A", FinishReason::Failed, false).as_deref(), Some("unfinished"));
        assert_eq!(code("A", FinishReason::Unknown, false).as_deref(), Some("unfinished"));
        assert_eq!(code(" ", FinishReason::Length, false).as_deref(), Some("truncated"));
        assert_eq!(code("", FinishReason::Stop, true).as_deref(), Some("empty"));
        assert_eq!(code("", FinishReason::Stop, false), None, "the filter's to judge");
        assert_eq!(no_answer("A", "other", false), None, "as older releases stored it");
        let ate = no_answer("", "length", true).expect("refused");
        assert!(ate.reason.contains("raise answer.settings.max_tokens"), "{}", ate.reason);
    }
}
