//! Reads what servers answer with. Compatible servers leave out fields that the official one always
//! sends, send others in other forms, and invent values where it has a closed list. So nothing is
//! parsed but what is needed, and each field is taken in any form that means the same.

use serde_json::Value;

use crate::llm::chat::{FinishReason, TokenLogprob};
use crate::llm::spent::Usage;

/// A piece of a reply: the whole of it, or what one event of a stream brings.
#[derive(Debug, Default)]
pub(super) struct Piece {
    pub(super) text: String,
    /// Reasoning that the server has told from the text already.
    pub(super) reasoning: String,
    /// Why the model stopped; none when the server does not say, or not yet.
    pub(super) finish: Option<FinishReason>,
    pub(super) usage: Option<Usage>,
    pub(super) model: Option<String>,
    /// It holds a choice, empty or not.
    pub(super) has_choice: bool,
}

/// The JSON values of a body, one after the other; usually one. What is nearly JSON is read too:
/// `NaN`, raw control characters in strings, half a surrogate pair.
///
/// # Errors
/// The first value that is no JSON.
pub(super) fn values(body: &str) -> Result<Vec<Value>, serde_json::Error> {
    let body = body.trim_start_matches('\u{feff}');
    let read = |text: &str| -> Result<Vec<Value>, serde_json::Error> {
        serde_json::Deserializer::from_str(text).into_iter::<Value>().collect()
    };
    read(body).or_else(|error| read(&mended(body)).map_err(|_| error))
}

/// A list of one stands for what it holds: so Gemini sends its errors.
pub(super) fn unlisted(value: &Value) -> &Value {
    match value {
        Value::Array(list) if list.len() == 1 => &list[0],
        other => other,
    }
}

/// Whether a body of status 200, or an event of a stream, tells of an error.
pub(super) fn is_error(value: &Value) -> bool {
    let named = |name: &str, text: &str| value.get(name).and_then(Value::as_str) == Some(text);
    let told = value.get("error").is_some_and(|error| match error {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::Bool(true) | Value::Array(_) => true,
    });
    let has_choices = value.get("choices").and_then(Value::as_array).is_some_and(|c| !c.is_empty());
    let apart = ["detail", "errors", "error_code", "error_msg", "base_resp", "message", "msg"];
    told || named("object", "error")
        || named("type", "error")
        || (!has_choices && apart.iter().any(|name| value.get(name).is_some_and(is_something)))
}

fn is_something(value: &Value) -> bool {
    !matches!(value, Value::Null) && value.as_str() != Some("")
}

impl Piece {
    /// What `value` brings, whatever of it is missing.
    pub(super) fn read(value: &Value) -> Self {
        let mut piece = Self {
            usage: value.get("usage").and_then(usage),
            model: value.get("model").and_then(Value::as_str).map(str::to_owned),
            ..Self::default()
        };
        let Some(choice) = first_choice(value) else { return piece };
        piece.has_choice = true;
        piece.finish = choice.get("finish_reason").and_then(finish_reason);
        if choice.get("error").is_some_and(|error| error.is_object() || error.is_string()) {
            piece.finish = Some(FinishReason::Failed);
        }
        let said = ["message", "delta"]
            .iter()
            .find_map(|name| choice.get(name).filter(|said| said.is_object() || said.is_string()));
        match said {
            Some(Value::String(text)) => piece.text.push_str(text),
            Some(message) => piece.read_message(message),
            None => {}
        }
        if piece.text.is_empty()
            && let Some(text) = choice.get("text").and_then(Value::as_str)
        {
            piece.text.push_str(text);
        }
        piece
    }

    fn read_message(&mut self, message: &Value) {
        for name in ["reasoning_content", "reasoning", "thinking"] {
            let before = self.reasoning.len();
            if let Some(reasoning) = message.get(name) {
                gather(reasoning, &mut self.reasoning);
            }
            if self.reasoning.len() > before {
                // Some servers say it under two names.
                break;
            }
        }
        match message.get("content") {
            Some(Value::Array(parts)) => parts.iter().for_each(|part| self.read_part(part)),
            Some(part @ Value::Object(fields)) => {
                let before = self.text.len() + self.reasoning.len();
                match fields.get("parts").and_then(Value::as_array) {
                    Some(parts) => parts.iter().for_each(|part| self.read_part(part)),
                    None => self.read_part(part),
                }
                if self.text.len() + self.reasoning.len() == before && !fields.is_empty() {
                    // The object itself is what was asked for.
                    self.text = part.to_string();
                }
            }
            Some(Value::String(text)) => self.text.push_str(text),
            Some(number @ (Value::Number(_) | Value::Bool(_))) => {
                self.text.push_str(&number.to_string());
            }
            Some(Value::Null) | None => {}
        }
        // The official server puts a refusal here and leaves the content out.
        if self.text.is_empty()
            && let Some(refusal) = message.get("refusal").and_then(Value::as_str)
        {
            self.text.push_str(refusal);
        }
    }

    fn read_part(&mut self, part: &Value) {
        if let Some(text) = part.as_str() {
            self.text.push_str(text);
            return;
        }
        let kind = part.get("type").and_then(Value::as_str).unwrap_or("text");
        if ["thinking", "reasoning", "thought"].contains(&kind) {
            for name in ["thinking", "reasoning", "text", "content", "summary"] {
                part.get(name).into_iter().for_each(|said| gather(said, &mut self.reasoning));
            }
        } else if ["text", "output_text", "refusal"].contains(&kind) {
            for name in ["text", "content", "refusal"] {
                match part.get(name) {
                    Some(Value::String(text)) => self.text.push_str(text),
                    Some(Value::Object(text)) => {
                        let value = text.get("value").and_then(Value::as_str).unwrap_or_default();
                        self.text.push_str(value);
                    }
                    _ => {}
                }
            }
        }
    }
}

/// The tokens of the conversation, as vLLM tells them: a list with an object for each token, by the
/// token's number; the first token has none. Where it tells of other tokens, too, the one that stands
/// there is the least likely of them.
pub(super) fn prompt_logprobs(value: &Value) -> Vec<TokenLogprob> {
    let told = value.get("prompt_logprobs").and_then(Value::as_array);
    let token = |told: &Value| {
        let logprob = |one: &Value| one.get("logprob").and_then(Value::as_f64);
        let tokens = told.as_object()?.values();
        let token = tokens.min_by(|one, other| {
            logprob(one).partial_cmp(&logprob(other)).unwrap_or(std::cmp::Ordering::Equal)
        })?;
        let text = token.get("decoded_token").and_then(Value::as_str)?.to_owned();
        Some(TokenLogprob { text, logprob: logprob(token)? })
    };
    told.into_iter().flatten().filter_map(token).collect()
}

/// The choice numbered 0, or the first.
fn first_choice(value: &Value) -> Option<&Value> {
    match value.get("choices")? {
        Value::Array(choices) => {
            let zero = |choice: &&Value| choice.get("index").and_then(Value::as_u64) == Some(0);
            choices
                .iter()
                .find(zero)
                .or_else(|| choices.first())
                .filter(|choice| choice.is_object())
        }
        choice @ Value::Object(_) => Some(choice),
        _ => None,
    }
}

/// All text inside `value`, whatever holds it.
fn gather(value: &Value, text: &mut String) {
    match value {
        Value::String(said) => text.push_str(said),
        Value::Array(list) => list.iter().for_each(|one| gather(one, text)),
        Value::Object(fields) => ["text", "content", "thinking", "summary"]
            .iter()
            .filter_map(|name| fields.get(*name))
            .for_each(|one| gather(one, text)),
        _ => {}
    }
}

fn usage(value: &Value) -> Option<Usage> {
    let count = |names: [&str; 2]| {
        names.iter().find_map(|name| value.get(name).filter(|count| !count.is_null())).map(whole)
    };
    let prompt = count(["prompt_tokens", "input_tokens"]);
    let completion = count(["completion_tokens", "output_tokens"]);
    let usage = Usage {
        prompt_tokens: prompt.unwrap_or_default(),
        completion_tokens: completion.unwrap_or_default(),
    };
    (prompt.is_some() || completion.is_some()).then_some(usage)
}

/// A count in any form; 0 when it is none.
fn whole(value: &Value) -> u64 {
    let float = match value {
        Value::String(text) => text.trim().parse().unwrap_or_default(),
        other => other.as_f64().unwrap_or_default(),
    };
    // Saturates, and takes NaN for 0. No reply has as many tokens as the bound says, and sums of
    // such counts can be kept.
    value.as_u64().unwrap_or(float as u64).min(1 << 40)
}

/// What a server's word for the end of a reply means; none when it says nothing. Only words that
/// are known to mean a complete reply count as one.
pub(super) fn finish_reason(value: &Value) -> Option<FinishReason> {
    let word = match value {
        Value::Null => return None,
        Value::String(word) => word.as_str(),
        // SGLang's native form: `{"type": "stop", "matched": 2}`.
        Value::Object(fields) => fields.get("type").and_then(Value::as_str).unwrap_or("?"),
        _ => "?",
    };
    let word = word.trim().to_lowercase().replace(['-', ' '], "_");
    let word = word.strip_prefix("finish_reason_").unwrap_or(&word);
    let has = |parts: &[&str]| parts.iter().any(|part| word.contains(part));
    Some(match word {
        "" | "null" | "none" | "unspecified" => return None,
        "stop" | "eos" | "eos_token" | "end_turn" | "stop_sequence" | "end_of_text"
        | "end_of_turn" | "stop_token" | "complete" | "completed" => FinishReason::Stop,
        "limit" | "truncated" => FinishReason::Length,
        _ if has(&["filter", "safety", "recitation", "blocklist", "prohibited", "spii"])
            || has(&[
                "sensitive",
                "refusal",
                "moderat",
                "guardrail",
                "content_policy",
                "toxic",
            ]) =>
        {
            FinishReason::ContentFilter
        }
        _ if has(&["length", "max_tok", "max_output", "max_new", "max_compl", "token_limit"])
            || has(&["context_window", "context_limit", "max_context"]) =>
        {
            FinishReason::Length
        }
        _ if has(&["error", "abort", "cancel", "fail", "timeout", "insufficient", "malformed"]) => {
            FinishReason::Failed
        }
        _ => FinishReason::Unknown,
    })
}

/// Replaces what JSON does not know by what it does: bare `NaN` and `Infinity` by `null`; raw
/// control characters in strings, and halves of surrogate pairs, by their escapes and U+FFFD.
fn mended(body: &str) -> String {
    const WORDS: [&str; 6] = ["-Infinity", "Infinity", "-NaN", "NaN", "-nan", "nan"];
    let mut text = String::with_capacity(body.len());
    let (mut rest, mut inside) = (body, false);
    while let Some(c) = rest.chars().next() {
        let mut taken = c.len_utf8();
        let word = WORDS.iter().find(|word| !inside && rest.starts_with(**word));
        match c {
            _ if word.is_some() => {
                taken = word.map_or(1, |word| word.len());
                text.push_str("null");
            }
            '\\' if inside => {
                taken = escape(rest, &mut text);
            }
            '"' => {
                inside = !inside;
                text.push(c);
            }
            _ if inside && c.is_control() && c.is_ascii() => {
                text.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            _ => text.push(c),
        }
        rest = &rest[taken..];
    }
    text
}

/// Copies the escape that `rest` begins with, half a surrogate pair as U+FFFD; returns its length.
fn escape(rest: &str, text: &mut String) -> usize {
    let unit = |at: usize| {
        let digits = rest.get(at..at + 6)?.strip_prefix("\\u")?;
        u32::from_str_radix(digits, 16).ok()
    };
    let length = match (unit(0), unit(6)) {
        (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
        (Some(0xd800..=0xdfff), _) => {
            text.push_str("\\ufffd");
            return 6;
        }
        (Some(_), _) => 6,
        (None, _) => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
    };
    text.push_str(&rest[..length]);
    length
}

#[cfg(test)]
#[path = "reply_tests.rs"]
mod tests;
