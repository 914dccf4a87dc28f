//! The JSON of a chat completion request.

use serde::Serialize;
use serde_json::Value;

use super::dialect::Spelling;
use crate::llm::chat::{ChatRequest, Message, Role};
use crate::llm::error::LlmFault;
use crate::llm::parameter::Parameter;

/// A chat completion request. The order of its fields is that of the bytes on the wire.
#[derive(Serialize)]
pub(super) struct WireRequest<'a> {
    messages: Vec<WireMessage>,
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frequency_penalty: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    presence_penalty: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<ResponseFormat<'a>>,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f32>,
    /// llama.cpp's name for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    repeat_penalty: Option<f32>,
    /// vLLM's name for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    repetition_penalty: Option<f32>,
    #[serde(flatten)]
    likelihood: Option<Likelihood>,
}

/// Has vLLM tell how likely the conversation is whose last message is the model's.
#[derive(Serialize)]
struct Likelihood {
    /// How many other tokens are told of beside each.
    prompt_logprobs: u8,
    continue_final_message: bool,
    add_generation_prompt: bool,
}

#[derive(Serialize)]
struct WireMessage {
    role: Role,
    content: Content,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Part {
    ImageUrl { image_url: ImageUrl },
    Text { text: String },
}

#[derive(Serialize)]
struct ImageUrl {
    url: String,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ResponseFormat<'a> {
    JsonSchema { json_schema: JsonSchema<'a> },
}

#[derive(Serialize)]
struct JsonSchema<'a> {
    name: &'static str,
    schema: &'a Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

impl<'a> WireRequest<'a> {
    /// # Errors
    /// `Config` when a message that is not the user's carries a picture.
    pub(super) fn new(
        request: &'a ChatRequest,
        model: &'a str,
        spelling: Spelling,
        stream: bool,
    ) -> Result<Self, LlmFault> {
        let settings = &request.settings;
        let has = |parameter| spelling.has(parameter);
        let limit = has(Parameter::MaxTokens).then_some(settings.max_tokens);
        let newer = spelling.is_newer();
        let schema = request.json_schema.as_ref().filter(|_| has(Parameter::ResponseFormat));
        let strict = has(Parameter::Strict).then_some(true);
        let stop = settings.stop.as_slice();
        let repeat = |name| settings.repeat_penalty.filter(|_| has(name));
        Ok(Self {
            messages: messages(&request.messages, has(Parameter::SystemRole))?,
            model,
            max_completion_tokens: limit.filter(|_| newer),
            frequency_penalty: settings
                .frequency_penalty
                .filter(|_| has(Parameter::FrequencyPenalty)),
            presence_penalty: settings.presence_penalty.filter(|_| has(Parameter::PresencePenalty)),
            response_format: schema.map(|schema| ResponseFormat::JsonSchema {
                json_schema: JsonSchema { name: "reply", schema, strict },
            }),
            stream,
            stop: (has(Parameter::Stop) && !stop.is_empty()).then_some(stop),
            max_tokens: limit.filter(|_| !newer),
            seed: has(Parameter::Seed).then(|| fold_seed(request.seed)),
            stream_options: (stream && has(Parameter::StreamOptions))
                .then_some(StreamOptions { include_usage: true }),
            temperature: has(Parameter::Temperature).then_some(settings.temperature),
            top_p: has(Parameter::TopP).then_some(settings.top_p),
            repeat_penalty: repeat(Parameter::RepeatPenalty),
            repetition_penalty: repeat(Parameter::RepetitionPenalty),
            likelihood: request.prompt_logprobs.then_some(Likelihood {
                prompt_logprobs: 0,
                continue_final_message: true,
                add_generation_prompt: false,
            }),
        })
    }

    /// Whether the request says `parameter`, so that a server may refuse it for that.
    pub(super) fn says(&self, parameter: Parameter) -> bool {
        match parameter {
            Parameter::MaxTokens => {
                self.max_tokens.is_some() || self.max_completion_tokens.is_some()
            }
            Parameter::Seed => self.seed.is_some(),
            Parameter::SystemRole => {
                self.messages.iter().any(|message| message.role == Role::System)
            }
            Parameter::ResponseFormat => self.response_format.is_some(),
            Parameter::Strict => {
                let format = self.response_format.as_ref();
                format.is_some_and(|ResponseFormat::JsonSchema { json_schema }| {
                    json_schema.strict.is_some()
                })
            }
            Parameter::TopP => self.top_p.is_some(),
            Parameter::Temperature => self.temperature.is_some(),
            Parameter::FrequencyPenalty => self.frequency_penalty.is_some(),
            Parameter::PresencePenalty => self.presence_penalty.is_some(),
            Parameter::RepeatPenalty => self.repeat_penalty.is_some(),
            Parameter::RepetitionPenalty => self.repetition_penalty.is_some(),
            Parameter::Stop => self.stop.is_some(),
            Parameter::StreamOptions => self.stream_options.is_some(),
        }
    }
}

/// Folds a seed into 31 bits: servers read it as i64, u32 or i32, and llama.cpp takes 2^32 - 1 for
/// "draw one yourself".
fn fold_seed(seed: u64) -> i64 {
    let folded = (seed ^ (seed >> 32)) & 0x7fff_ffff;
    i64::try_from(folded).unwrap_or_default()
}

/// The messages as they are sent; without the role `system`, what it says goes before the first
/// message of the user.
fn messages(messages: &[Message], system: bool) -> Result<Vec<WireMessage>, LlmFault> {
    if messages.iter().any(|message| message.role != Role::User && !message.images.is_empty()) {
        return Err(LlmFault::config("messages", "only user messages may carry images"));
    }
    let of_system = |message: &&Message| message.role == Role::System;
    let folded: Vec<&str> =
        messages.iter().filter(of_system).map(|message| message.text.as_str()).collect();
    if system || folded.is_empty() {
        return Ok(messages.iter().map(|message| wire_message(message, &message.text)).collect());
    }
    let mut frame = Some(folded.join("\n\n"));
    let mut sent: Vec<WireMessage> = Vec::new();
    for message in messages.iter().filter(|message| message.role != Role::System) {
        let frame = if message.role == Role::User { frame.take() } else { None };
        let text = match frame {
            Some(frame) => format!("{frame}\n\n{}", message.text),
            None => message.text.clone(),
        };
        sent.push(wire_message(message, &text));
    }
    if let Some(frame) = frame {
        sent.insert(0, WireMessage { role: Role::User, content: Content::Text(frame) });
    }
    Ok(sent)
}

/// Pictures come first, then the text that speaks of them.
fn wire_message(message: &Message, text: &str) -> WireMessage {
    let text = text.to_owned();
    let content = if message.images.is_empty() {
        Content::Text(text)
    } else {
        let images = message
            .images
            .iter()
            .map(|image| Part::ImageUrl { image_url: ImageUrl { url: image.data_url() } });
        Content::Parts(images.chain([Part::Text { text }]).collect())
    };
    WireMessage { role: message.role, content }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::chat::ImageAttachment;
    use crate::llm::config::LlmConfig;
    use crate::llm::openai::dialect::Dialect;
    use crate::llm::settings::SamplingSettings;

    fn bytes(request: &ChatRequest, config: &LlmConfig, stream: bool) -> String {
        let wire = WireRequest::new(request, "m", Dialect::new(config).now(), stream);
        serde_json::to_string(&wire.expect("valid request")).expect("serialisable")
    }

    fn sent(request: &ChatRequest, stream: bool) -> Value {
        serde_json::from_str(&bytes(request, &LlmConfig::default(), stream)).expect("JSON")
    }

    fn everything() -> ChatRequest {
        let image = ImageAttachment { mime: "image/png".into(), bytes: vec![1, 2, 3] };
        let question = Message { images: vec![image], ..Message::user("What is it?") };
        let settings = SamplingSettings { stop: vec!["\n\n".into()], ..Default::default() };
        ChatRequest::new(vec![Message::system("Be brief."), question], settings, 1)
            .with_json_schema(serde_json::json!({"type": "object"}))
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
        insta::assert_json_snapshot!(sent(&everything(), true));
    }

    /// Caches of servers and gateways go by the bytes.
    #[test]
    fn the_bytes_on_the_wire_are_those_of_earlier_releases() {
        let mut request = everything();
        request.messages.push(Message::assistant("A \u{1F600} \"q\""));
        request.messages.push(Message::user("more"));
        request.settings.repeat_penalty = Some(1.12);
        request.settings.frequency_penalty = Some(0.5);
        request.settings.presence_penalty = Some(-0.5);
        let messages = r#""messages":[{"role":"system","content":"Be brief."},{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AQID"}},{"type":"text","text":"What is it?"}]},{"role":"assistant","content":"A 😀 \"q\""},{"role":"user","content":"more"}],"model":"m""#;
        let penalties = r#""frequency_penalty":0.5,"presence_penalty":-0.5,"response_format":{"type":"json_schema","json_schema":{"name":"reply","schema":{"type":"object"},"strict":true}}"#;
        let end =
            r#""temperature":0.7,"top_p":0.9,"repeat_penalty":1.12,"repetition_penalty":1.12}"#;
        assert_eq!(
            bytes(&request, &LlmConfig::default(), true),
            format!(
                r#"{{{messages},{penalties},"stream":true,"stop":["\n\n"],"max_tokens":512,"seed":1,"stream_options":{{"include_usage":true}},{end}"#
            )
        );
        let newer = LlmConfig { max_completion_tokens: true, ..LlmConfig::default() };
        assert_eq!(
            bytes(&request, &newer, false),
            format!(
                r#"{{{messages},"max_completion_tokens":512,{penalties},"stream":false,"stop":["\n\n"],"seed":1,{end}"#
            )
        );
    }

    #[test]
    fn every_parameter_can_be_left_out() {
        let mut request = everything();
        request.settings.repeat_penalty = Some(1.12);
        request.settings.frequency_penalty = Some(0.5);
        request.settings.presence_penalty = Some(0.5);
        let without = LlmConfig { omit: Parameter::ALL.to_vec(), ..LlmConfig::default() };
        let left: Value = serde_json::from_str(&bytes(&request, &without, true)).expect("JSON");
        let names: Vec<_> = left.as_object().expect("an object").keys().collect();
        assert_eq!(names, ["messages", "model", "stream"]);
        assert_eq!(left["messages"].as_array().map(Vec::len), Some(1));
        assert_eq!(left["messages"][0]["role"], "user");
        assert_eq!(left["messages"][0]["content"][1]["text"], "Be brief.\n\nWhat is it?");
        let spelling = Dialect::new(&LlmConfig::default()).now();
        let all = WireRequest::new(&request, "m", spelling, true).expect("valid");
        let none = WireRequest::new(&request, "m", Dialect::new(&without).now(), true);
        let none = none.expect("valid");
        for parameter in Parameter::ALL {
            assert!(all.says(parameter) && !none.says(parameter), "{parameter}");
        }
    }

    #[test]
    fn images_outside_user_messages_are_refused() {
        let image = ImageAttachment { mime: "image/png".into(), bytes: vec![1] };
        let wrong = Message { images: vec![image], ..Message::system("x") };
        assert!(messages(&[wrong], true).is_err());
    }

    #[test]
    fn seeds_fold_into_31_bits_and_stay_apart() {
        assert_eq!(fold_seed(7), 7);
        assert!((0..=i64::from(i32::MAX)).contains(&fold_seed(u64::MAX)));
        assert_ne!(fold_seed(1 << 32), fold_seed(2 << 32), "high bits count");
    }
}
