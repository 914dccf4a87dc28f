//! The JSON that goes over the wire, and its translation from and to our own types.
//!
//! Requests are the client crate's own types plus the fields that servers add to the protocol.
//! Replies are read by the small, lenient types below: compatible servers leave out fields that
//! the official one always sends, and invent values where it has a closed list.

use async_openai::types::chat::{
    ChatCompletionRequestAssistantMessage, ChatCompletionRequestMessage,
    ChatCompletionRequestMessageContentPartImage, ChatCompletionRequestMessageContentPartText,
    ChatCompletionRequestSystemMessage, ChatCompletionRequestUserMessage,
    ChatCompletionRequestUserMessageContent, ChatCompletionRequestUserMessageContentPart,
    ChatCompletionStreamOptions, CreateChatCompletionRequest, ImageUrl, ResponseFormat,
    ResponseFormatJsonSchema, StopConfiguration,
};
use serde::{Deserialize, Serialize};

use crate::llm::chat::{ChatRequest, FinishReason, Message, Role, Usage};
use crate::llm::error::LlmFault;

/// A chat completion request.
#[derive(Serialize)]
pub(super) struct WireRequest {
    #[serde(flatten)]
    base: CreateChatCompletionRequest,
    /// llama.cpp's name for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    repeat_penalty: Option<f32>,
    /// vLLM's name for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    repetition_penalty: Option<f32>,
}

/// What the request needs to know beyond the call itself.
pub(super) struct Dialect<'a> {
    pub(super) model: &'a str,
    pub(super) max_completion_tokens: bool,
    pub(super) stream: bool,
}

impl WireRequest {
    #[expect(deprecated, reason = "compatible servers know max_tokens and seed by these names")]
    pub(super) fn new(request: &ChatRequest, dialect: &Dialect<'_>) -> Result<Self, LlmFault> {
        let settings = &request.settings;
        let limit = Some(settings.max_tokens);
        let newer = dialect.max_completion_tokens;
        let base = CreateChatCompletionRequest {
            messages: request.messages.iter().map(message).collect::<Result<_, _>>()?,
            model: dialect.model.to_owned(),
            temperature: Some(settings.temperature),
            top_p: Some(settings.top_p),
            max_tokens: limit.filter(|_| !newer),
            max_completion_tokens: limit.filter(|_| newer),
            stop: (!settings.stop.is_empty())
                .then(|| StopConfiguration::StringArray(settings.stop.clone())),
            frequency_penalty: settings.frequency_penalty,
            presence_penalty: settings.presence_penalty,
            seed: Some(fold_seed(request.seed)),
            response_format: request.json_schema.as_ref().map(response_format),
            stream: Some(dialect.stream),
            stream_options: dialect.stream.then_some(ChatCompletionStreamOptions {
                include_usage: Some(true),
                include_obfuscation: None,
            }),
            ..Default::default()
        };
        Ok(Self {
            base,
            repeat_penalty: settings.repeat_penalty,
            repetition_penalty: settings.repeat_penalty,
        })
    }
}

/// Folds a seed into 31 bits: servers read it as i64, u32 or i32, and llama.cpp takes 2^32 - 1 for
/// "draw one yourself".
fn fold_seed(seed: u64) -> i64 {
    let folded = (seed ^ (seed >> 32)) & 0x7fff_ffff;
    i64::try_from(folded).unwrap_or_default()
}

fn response_format(schema: &serde_json::Value) -> ResponseFormat {
    ResponseFormat::JsonSchema {
        json_schema: ResponseFormatJsonSchema {
            description: None,
            name: "reply".to_owned(),
            schema: schema.clone(),
            strict: Some(true),
        },
    }
}

fn message(message: &Message) -> Result<ChatCompletionRequestMessage, LlmFault> {
    if message.role != Role::User && !message.images.is_empty() {
        return Err(LlmFault::config("messages", "only user messages may carry images"));
    }
    let text = message.text.clone();
    Ok(match message.role {
        Role::System => ChatCompletionRequestSystemMessage::from(text).into(),
        Role::Assistant => ChatCompletionRequestAssistantMessage::from(text).into(),
        Role::User if message.images.is_empty() => {
            ChatCompletionRequestUserMessage::from(text).into()
        }
        Role::User => ChatCompletionRequestUserMessage {
            content: ChatCompletionRequestUserMessageContent::Array(parts(message)),
            name: None,
        }
        .into(),
    })
}

/// Pictures first, then the text that speaks of them.
fn parts(message: &Message) -> Vec<ChatCompletionRequestUserMessageContentPart> {
    let image = |url| ChatCompletionRequestMessageContentPartImage {
        image_url: ImageUrl { url, detail: None },
        prompt_cache_breakpoint: None,
    };
    let text = ChatCompletionRequestMessageContentPartText {
        text: message.text.clone(),
        prompt_cache_breakpoint: None,
    };
    let images = message.images.iter().map(|attachment| image(attachment.data_url()).into());
    images.chain([text.into()]).collect()
}

/// A whole reply.
#[derive(Deserialize)]
pub(super) struct WireReply {
    pub(super) model: Option<String>,
    pub(super) choices: Vec<WireChoice>,
    pub(super) usage: Option<WireUsage>,
}

#[derive(Deserialize)]
pub(super) struct WireChoice {
    pub(super) message: WireText,
    pub(super) finish_reason: Option<String>,
}

/// A message, or the piece of one that a stream brings.
#[derive(Deserialize, Default)]
pub(super) struct WireText {
    content: Option<String>,
    /// The official server puts a refusal here and leaves the content out.
    refusal: Option<String>,
}

impl WireText {
    pub(super) fn into_text(self) -> String {
        self.content.or(self.refusal).unwrap_or_default()
    }
}

/// One event of a stream.
#[derive(Deserialize)]
pub(super) struct WireChunk {
    pub(super) model: Option<String>,
    #[serde(default)]
    pub(super) choices: Vec<WireChunkChoice>,
    pub(super) usage: Option<WireUsage>,
    /// Servers report a failure in mid-stream as an event, the status being sent already.
    pub(super) error: Option<serde_json::Value>,
}

#[derive(Deserialize)]
pub(super) struct WireChunkChoice {
    #[serde(default)]
    pub(super) delta: WireText,
    pub(super) finish_reason: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct WireUsage {
    prompt_tokens: u64,
    completion_tokens: u64,
}

impl From<WireUsage> for Usage {
    fn from(usage: WireUsage) -> Self {
        let WireUsage { prompt_tokens, completion_tokens } = usage;
        Self { prompt_tokens, completion_tokens }
    }
}

/// The list of models.
#[derive(Deserialize)]
pub(super) struct WireModels {
    pub(super) data: Vec<WireModel>,
}

#[derive(Deserialize)]
pub(super) struct WireModel {
    pub(super) id: String,
}

pub(super) fn finish_reason(reason: Option<&str>) -> FinishReason {
    match reason {
        Some("stop") => FinishReason::Stop,
        Some("length") => FinishReason::Length,
        Some("content_filter") => FinishReason::ContentFilter,
        _ => FinishReason::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::chat::ImageAttachment;
    use crate::llm::settings::SamplingSettings;

    fn sent(request: &ChatRequest, stream: bool) -> serde_json::Value {
        let dialect = Dialect { model: "m", max_completion_tokens: false, stream };
        let wire = WireRequest::new(request, &dialect).expect("valid request");
        let text = serde_json::to_string(&wire).expect("serialisable");
        serde_json::from_str(&text).expect("JSON")
    }

    #[test]
    fn extensions_are_sent_only_when_set() {
        let mut request =
            ChatRequest::new(vec![Message::user("hi")], SamplingSettings::default(), 7);
        let plain = sent(&request, false);
        assert!(plain.get("repeat_penalty").is_none() && plain.get("stop").is_none(), "{plain}");
        request.settings.repeat_penalty = Some(1.1);
        let extended = sent(&request, false);
        assert_eq!(extended["repeat_penalty"], 1.1, "f32 must not grow digits on the wire");
        assert_eq!(extended["repetition_penalty"], 1.1);
        assert_eq!(extended["max_tokens"], 512);
    }

    #[test]
    fn a_call_with_everything() {
        let image = ImageAttachment { mime: "image/png".into(), bytes: vec![1, 2, 3] };
        let question = Message { images: vec![image], ..Message::user("What is it?") };
        let settings = SamplingSettings { stop: vec!["\n\n".into()], ..Default::default() };
        let request = ChatRequest::new(vec![Message::system("Be brief."), question], settings, 1)
            .with_json_schema(serde_json::json!({"type": "object"}));
        insta::assert_json_snapshot!(sent(&request, true));
    }

    #[test]
    fn images_outside_user_messages_are_refused() {
        let image = ImageAttachment { mime: "image/png".into(), bytes: vec![1] };
        let wrong = Message { images: vec![image], ..Message::system("x") };
        assert!(message(&wrong).is_err());
    }

    #[test]
    fn seeds_fold_into_31_bits_and_stay_apart() {
        assert_eq!(fold_seed(7), 7);
        assert!((0..=i64::from(i32::MAX)).contains(&fold_seed(u64::MAX)));
        assert_ne!(fold_seed(1 << 32), fold_seed(2 << 32), "high bits count");
    }

    #[test]
    fn lean_and_odd_replies_are_read() {
        let reply: WireReply = serde_json::from_str(
            r#"{"choices":[{"message":{"content":null},"finish_reason":"eos"}]}"#,
        )
        .expect("readable");
        let choice = reply.choices.into_iter().next().expect("one choice");
        assert_eq!(finish_reason(choice.finish_reason.as_deref()), FinishReason::Other);
        assert_eq!(choice.message.into_text(), "");
    }
}
