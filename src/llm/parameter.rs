//! The parts of a request that some servers do not take.

use std::fmt;

use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

/// A part of a request that can be left out, or said in another way.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Parameter {
    /// `max_tokens`, or `max_completion_tokens` where the server wants that name.
    MaxTokens,
    /// The seed of the sampling.
    Seed,
    /// The role `system`; without it that message goes before the first user message.
    SystemRole,
    /// The JSON schema of the reply; the prompt still asks for JSON.
    ResponseFormat,
    /// `strict` inside `response_format`.
    Strict,
    /// Nucleus sampling.
    TopP,
    /// The temperature.
    Temperature,
    /// The frequency penalty.
    FrequencyPenalty,
    /// The presence penalty.
    PresencePenalty,
    /// llama.cpp's name of the repeat penalty.
    RepeatPenalty,
    /// vLLM's name of the repeat penalty.
    RepetitionPenalty,
    /// The strings that end the reply.
    Stop,
    /// `stream_options`, which asks for the token counts of a stream.
    StreamOptions,
}

impl Parameter {
    /// Every parameter.
    pub const ALL: [Self; 13] = [
        Self::MaxTokens,
        Self::Seed,
        Self::SystemRole,
        Self::ResponseFormat,
        Self::Strict,
        Self::TopP,
        Self::Temperature,
        Self::FrequencyPenalty,
        Self::PresencePenalty,
        Self::RepeatPenalty,
        Self::RepetitionPenalty,
        Self::Stop,
        Self::StreamOptions,
    ];

    /// Its name in `llm.omit`.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// The setting to look at when the server does not take it in any form.
    pub(super) fn setting(self) -> &'static str {
        match self {
            Self::MaxTokens => "settings.max_tokens (llm.max_completion_tokens changes its name)",
            Self::TopP => "settings.top_p",
            Self::Temperature => "settings.temperature",
            Self::FrequencyPenalty => "settings.frequency_penalty",
            Self::PresencePenalty => "settings.presence_penalty",
            Self::RepeatPenalty | Self::RepetitionPenalty => "settings.repeat_penalty",
            Self::Stop => "settings.stop",
            other => other.name(),
        }
    }
}

impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of parameters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Parameters(pub(super) u32);

impl Parameters {
    pub(super) fn has(self, parameter: Parameter) -> bool {
        self.0 & Self::bit(parameter) != 0
    }

    pub(super) fn bit(parameter: Parameter) -> u32 {
        1 << parameter as u32
    }
}

impl FromIterator<Parameter> for Parameters {
    fn from_iter<I: IntoIterator<Item = Parameter>>(parameters: I) -> Self {
        Self(parameters.into_iter().map(Self::bit).fold(0, |set, bit| set | bit))
    }
}

/// What was learnt about a server from one of its refusals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adaptation {
    /// The parameter that is left out, or said in another way, from then on.
    pub parameter: Parameter,
    /// Start of the refusal.
    pub said: String,
}

impl fmt::Display for Adaptation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parameter {
            Parameter::MaxTokens => f.write_str("the limit of tokens goes under its other name")?,
            Parameter::SystemRole => {
                f.write_str("the system message goes before the first user message")?;
            }
            other => write!(f, "{other} is left out")?,
        }
        write!(f, ", because the server said: {}", self.said)
    }
}
