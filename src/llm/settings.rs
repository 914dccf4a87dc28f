//! How replies are sampled.

use serde::{Deserialize, Serialize};

use super::error::LlmFault;
use crate::base::check::{Checks, Settings};
use crate::base::key::Key;

/// Sampling settings of one role; part of an answer's key, so every field matters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SamplingSettings {
    /// 0 (always the likeliest token) to 2.
    pub temperature: f32,
    /// Nucleus sampling, above 0 and up to 1 (off).
    pub top_p: f32,
    /// Longest reply in tokens, 1 to 131072.
    pub max_tokens: u32,
    /// Strings that end the reply; at most 4 (what cloud servers take), none empty.
    pub stop: Vec<String>,
    /// llama.cpp's `repeat_penalty` and vLLM's `repetition_penalty`, above 0 and up to 10, 1 = off.
    /// An extension that cloud servers refuse: sent only when set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeat_penalty: Option<f32>,
    /// -2 to 2; sent only when set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frequency_penalty: Option<f32>,
    /// -2 to 2; sent only when set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presence_penalty: Option<f32>,
}

impl Default for SamplingSettings {
    fn default() -> Self {
        Self {
            temperature: 0.7,
            top_p: 0.9,
            max_tokens: 512,
            stop: Vec::new(),
            repeat_penalty: None,
            frequency_penalty: None,
            presence_penalty: None,
        }
    }
}

impl Settings for SamplingSettings {
    fn check(&self, checks: &mut Checks) {
        checks.range("temperature", self.temperature, 0.0, 2.0);
        checks.above("top_p", self.top_p, 0.0, 1.0);
        checks.range("max_tokens", self.max_tokens, 1, 131_072);
        let many = self.stop.len();
        checks.require(many <= 4, "stop", format!("{many} strings"), "at most 4 strings");
        let empty = self.stop.iter().any(String::is_empty);
        checks.require(!empty, "stop", "holding an empty string", "strings that are not empty");
        checks.above("repeat_penalty", self.repeat_penalty, 0.0, 10.0);
        checks.range("frequency_penalty", self.frequency_penalty, -2.0, 2.0);
        checks.range("presence_penalty", self.presence_penalty, -2.0, 2.0);
    }
}

impl SamplingSettings {
    /// Adds every setting to the key of what is sampled.
    pub fn add_to(&self, key: Key) -> Key {
        let Self { temperature, top_p, max_tokens, stop, .. } = self;
        let Self { repeat_penalty, frequency_penalty, presence_penalty, .. } = self;
        key.field("temperature", *temperature)
            .field("top_p", *top_p)
            .field("max_tokens", *max_tokens)
            .list("stop", stop.iter().map(String::as_str))
            .optional("repeat_penalty", *repeat_penalty)
            .optional("frequency_penalty", *frequency_penalty)
            .optional("presence_penalty", *presence_penalty)
    }

    /// Checks every range.
    ///
    /// # Errors
    /// [`LlmFault::Config`] with the first field out of its range.
    pub fn validate(&self) -> Result<(), LlmFault> {
        Ok(self.validate_as("settings")?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(change: impl Fn(&mut SamplingSettings)) -> String {
        let mut settings = SamplingSettings::default();
        change(&mut settings);
        settings.validate().expect_err("out of range").to_string()
    }

    #[test]
    fn defaults_are_valid() {
        SamplingSettings::default().validate().expect("defaults are valid");
    }

    #[test]
    fn each_range_names_its_field_and_the_value_seen() {
        let said = refusal(|s| s.temperature = 2.5);
        assert!(
            said.contains("settings.temperature") && said.contains("0 to 2, not 2.5"),
            "{said}"
        );
        assert!(refusal(|s| s.temperature = f32::NAN).contains("NaN"));
        assert!(refusal(|s| s.top_p = 0.0).contains("settings.top_p"));
        assert!(refusal(|s| s.max_tokens = 0).contains("settings.max_tokens"));
        assert!(refusal(|s| s.stop = vec!["x".into(); 5]).contains("at most 4"));
        assert!(refusal(|s| s.stop = vec![String::new()]).contains("empty"));
        assert!(refusal(|s| s.repeat_penalty = Some(0.0)).contains("settings.repeat_penalty"));
        assert!(refusal(|s| s.presence_penalty = Some(-3.0)).contains("-2 to 2"));
    }

    #[test]
    fn an_unknown_field_is_refused() {
        let error = toml::from_str::<SamplingSettings>("temprature = 0.1").expect_err("a typo");
        assert!(error.to_string().contains("temprature"), "{error}");
    }
}
