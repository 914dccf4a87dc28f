//! What a refusal means, by what it says; by its status only where it says nothing.
//!
//! Servers put their reasons into bodies of many shapes (an `error` object or text, a `detail`, a
//! list, an error in an error), but under few names. So codes and messages are gathered by name
//! from wherever they stand, and judged by word lists.

use std::time::{Duration, SystemTime};

use reqwest::header::HeaderMap;
use serde_json::Value;

use super::reply;
use super::words::{self, Words};
use crate::llm::parameter::Parameter;
use crate::llm::retry::parse_retry_after;

/// Levels of a body that are looked into.
const DEPTH: usize = 8;

/// What a refusal is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    ContentPolicy,
    Quota,
    Rate,
    Context,
    Parameter(Parameter),
    Auth,
    NotFound,
    Server,
    Unknown,
}

/// What is wrong with the photo of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AboutPhoto {
    /// The model, or its server, takes none.
    NotTaken,
    TooLarge,
}

/// What a refusal says.
#[derive(Debug, Default)]
pub(super) struct Refusal {
    /// Codes, types and reasons, in lower case.
    codes: Vec<String>,
    /// All messages, in lower case.
    message: String,
    /// Parameters that it names apart from its message.
    named: Vec<String>,
    /// A status inside the body.
    status: Option<u16>,
    retry_after: Option<Duration>,
}

impl Refusal {
    /// Reads a body of any shape; one that is no JSON is a message, and a page says nothing.
    pub(super) fn read(body: &str) -> Self {
        let mut refusal = Self::default();
        match reply::values(body).ok().and_then(|values| values.into_iter().next()) {
            Some(Value::String(text)) => refusal.message = text.to_lowercase(),
            Some(value) => refusal.gather(reply::unlisted(&value), 0),
            None if body.trim_start().starts_with('<') => {}
            None => refusal.message = body.to_lowercase(),
        }
        refusal
    }

    fn gather(&mut self, value: &Value, depth: usize) {
        if depth > DEPTH {
            return;
        }
        match value {
            Value::Array(list) => list.iter().for_each(|one| self.gather(one, depth + 1)),
            Value::Object(fields) => {
                for (name, value) in fields {
                    self.take(&name.to_lowercase(), value);
                    self.gather(value, depth + 1);
                }
            }
            _ => {}
        }
    }

    fn take(&mut self, name: &str, value: &Value) {
        let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
        match name {
            "code" | "type" | "status" | "statuscode" | "status_code" | "error_type" | "reason"
            | "error_code" | "__type" | "quotaid" | "quotametric" | "reasons" => {
                if let Some(number) = number {
                    let status = u16::try_from(number).ok();
                    let status = status.filter(|status| (400..=599).contains(status));
                    self.status = self.status.or(status);
                }
                match value {
                    Value::String(text) => self.codes.push(text.to_lowercase()),
                    Value::Number(number) => self.codes.push(number.to_string()),
                    Value::Array(_) if name == "reasons" => self.codes.push("flagged".to_owned()),
                    _ => {}
                }
            }
            "message" | "msg" | "detail" | "error" | "raw" | "title" | "error_description"
            | "error_msg" | "status_msg" | "errors" => {
                if let Some(text) = value.as_str() {
                    self.message.push_str(&text.to_lowercase());
                    self.message.push('\n');
                }
            }
            "flagged_input" => self.codes.push("flagged".to_owned()),
            "param" => self.named.extend(value.as_str().map(str::to_lowercase)),
            "loc" => self.named.extend(texts(value).map(str::to_lowercase)),
            "retrydelay" | "retry_after" | "retry_after_ms" => {
                let seconds = match (value, name) {
                    (Value::String(text), "retry_after_ms") => {
                        text.trim().parse().ok().and_then(|ms: f64| seconds(ms / 1e3))
                    }
                    (Value::String(text), _) => parse_retry_after(text, SystemTime::now()),
                    (value, "retry_after_ms") => value.as_f64().and_then(|ms| seconds(ms / 1e3)),
                    (value, _) => value.as_f64().and_then(seconds),
                };
                self.retry_after = self.retry_after.or(seconds);
            }
            _ => {}
        }
    }

    /// The status where the answer's own says nothing (an error inside a good reply): what the
    /// body gives, or what its words mean.
    pub(super) fn own_status(&self) -> u16 {
        let caller = ["invalid_request_error", "badrequesterror", "invalid_argument", "validation"];
        match self.status {
            Some(status) => status,
            None if self.is(&caller) => 400,
            None => 500,
        }
    }

    /// How long the server asks to be left alone, by the headers or else by the body.
    pub(super) fn retry_after(&self, headers: &HeaderMap) -> Option<Duration> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let millis = text("retry-after-ms").and_then(|ms| ms.trim().parse::<f64>().ok());
        millis
            .and_then(|ms| seconds(ms / 1e3))
            .or_else(|| parse_retry_after(text("retry-after")?, SystemTime::now()))
            .or(self.retry_after)
            .or_else(|| {
                let after = self.message.split("try again in ").nth(1)?;
                let end =
                    after.find(|c: char| c.is_whitespace() || c == ',').unwrap_or(after.len());
                parse_retry_after(after[..end].trim_end_matches('.'), SystemTime::now())
            })
    }

    /// What the refusal is about.
    pub(super) fn reason(&self, status: u16) -> Reason {
        if (300..400).contains(&status) {
            return Reason::NotFound;
        }
        // A server that failed may say anything; only what surely is about the call counts.
        let failed = status >= 500;
        if self.matches(&words::ACCOUNT) {
            return if self.matches(&words::QUOTA) { Reason::Quota } else { Reason::Auth };
        }
        if !failed && self.matches(&words::POLICY) {
            return Reason::ContentPolicy;
        }
        if status == 402 || self.is(words::QUOTA.codes) {
            return Reason::Quota;
        }
        let per_minute = self.codes.iter().any(|code| code.contains("perminute"));
        if !failed && (per_minute || self.matches(&words::RATE)) {
            return Reason::Rate;
        }
        if !failed && self.says(words::QUOTA.phrases) {
            return Reason::Quota;
        }
        if self.matches(&words::CONTEXT) {
            return Reason::Context;
        }
        if !matches!(status, 401 | 407 | 429)
            && let Some(parameter) = self.parameter()
        {
            return Reason::Parameter(parameter);
        }
        if !failed && status != 429 {
            let spoken = [
                (&words::AUTH, Reason::Auth),
                (&words::NOT_FOUND, Reason::NotFound),
                (&words::BUSY, Reason::Server),
            ];
            if let Some((_, reason)) = spoken.into_iter().find(|(words, _)| self.matches(words)) {
                return reason;
            }
        }
        Self::by_status(status)
    }

    /// What a refusal of a call with a photo says of the photo, where it says anything. Servers
    /// that fail on a photo they cannot take say so in the same words.
    pub(super) fn about_photo(&self, status: u16) -> Option<AboutPhoto> {
        if self.matches(&words::NO_SIGHT) {
            return Some(AboutPhoto::NotTaken);
        }
        let large =
            status == 413 || self.says(words::PHOTO_SIZE) || self.is(&["request_too_large"]);
        large.then_some(AboutPhoto::TooLarge)
    }

    fn by_status(status: u16) -> Reason {
        match status {
            401 | 403 | 407 => Reason::Auth,
            404 | 405 | 410 | 421 => Reason::NotFound,
            413 | 414 | 431 => Reason::Context,
            429 => Reason::Rate,
            408 | 409 | 423..=425 | 498 | 499 | 500.. => Reason::Server,
            _ => Reason::Unknown,
        }
    }

    fn is(&self, codes: &[&str]) -> bool {
        self.codes.iter().any(|code| codes.contains(&code.as_str()))
    }

    fn says(&self, phrases: &[&str]) -> bool {
        phrases.iter().any(|phrase| self.message.contains(phrase))
    }

    fn matches(&self, words: &Words) -> bool {
        self.is(words.codes) || self.says(words.phrases)
    }

    /// The parameter that the server does not take, as far as it says.
    fn parameter(&self) -> Option<Parameter> {
        if self.says(words::SYSTEM_ROLE)
            || self.named.iter().any(|name| name.starts_with("messages") && name.ends_with("role"))
        {
            return Some(Parameter::SystemRole);
        }
        let refuses = self.says(words::REFUSES) || self.is(words::REFUSES_CODES);
        if !refuses {
            return None;
        }
        if self.named.iter().any(|name| name.split('.').any(|part| part == "strict")) {
            return Some(Parameter::Strict);
        }
        let named = self.named.iter().find_map(|name| {
            let first = name.split(['.', '[']).next().unwrap_or(name);
            words::PARAMETERS.iter().find(|(word, _)| *word == first)
        });
        if let Some((_, parameter)) = named {
            return Some(*parameter);
        }
        if self.says(&["temperature and top_p", "`temperature` and `top_p`"]) {
            return Some(Parameter::TopP);
        }
        if self.says(&["parse grammar"]) {
            return Some(Parameter::ResponseFormat);
        }
        // The first that the message names: what comes later are the ones to use instead.
        let spoken = words::PARAMETERS.iter().filter_map(|(word, parameter)| {
            whole_word(&self.message, word).map(|at| (at, *parameter))
        });
        spoken.min_by_key(|(at, _)| *at).map(|(_, parameter)| parameter)
    }
}

/// Where `word` stands in `text` with no letter, digit or underscore beside it. A word of everyday
/// language must stand in quotes.
fn whole_word(text: &str, word: &str) -> Option<usize> {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    let quote = |c: Option<char>| c.is_some_and(|c| ['\'', '"', '`', '.', ':'].contains(&c));
    text.match_indices(word).map(|(at, _)| at).find(|at| {
        let before = text[..*at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        let apart = !before.is_some_and(part) && !after.is_some_and(part);
        apart && (!words::EVERYDAY.contains(&word) || (quote(before) && quote(after)))
    })
}

/// The texts of a list, or one text.
fn texts(value: &Value) -> impl Iterator<Item = &str> {
    let list = value.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().chain([value]).filter_map(Value::as_str)
}

fn seconds(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok()
}

/// A body fit to be read in one line: a page without its tags.
pub(super) fn readable(body: &str) -> String {
    let body = body.trim_start_matches('\u{feff}').trim();
    if !body.starts_with('<') {
        return body.to_owned();
    }
    let (mut text, mut rest) = (String::new(), body);
    while let Some((before, tag)) = rest.split_once('<') {
        text.push_str(before);
        let is =
            |name: &str| tag.get(..name.len()).is_some_and(|tag| tag.eq_ignore_ascii_case(name));
        let skipped = ["script", "style"].into_iter().find(|name| is(name));
        // What stands inside these is no text.
        let end = skipped.and_then(|name| tag.to_ascii_lowercase().find(&format!("</{name}")));
        rest = tag[end.unwrap_or(0)..].split_once('>').map_or("", |(_, after)| after);
        text.push(' ');
    }
    text.push_str(rest);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
#[path = "refusal_tests.rs"]
mod tests;
