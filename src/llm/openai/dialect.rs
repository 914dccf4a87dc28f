//! What a server takes, learnt from its refusals and shared by all calls.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU8, AtomicU32};
use std::sync::{Mutex, PoisonError};

use crate::llm::config::LlmConfig;
use crate::llm::error::LlmFault;
use crate::llm::parameter::{Adaptation, Parameter, Parameters};

/// What is known of the mark that begins the reasoning, beyond 0 for nothing. The larger counts.
const MARKED: u8 = 1;
const LEFT_OUT: u8 = 2;

/// How requests to one server are written.
#[derive(Debug, Default)]
pub(super) struct Dialect {
    adapt: bool,
    newer: bool,
    omit: Parameters,
    changed: AtomicU32,
    learnt: Mutex<Vec<Adaptation>>,
    opening: AtomicU8,
}

/// How one request is written.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Spelling {
    /// Set by the configuration.
    omit: Parameters,
    /// Learnt.
    changed: Parameters,
    newer: bool,
}

impl Spelling {
    /// Whether the parameter is written at all, where the call has it.
    pub(super) fn has(self, parameter: Parameter) -> bool {
        let renamed = parameter == Parameter::MaxTokens;
        !self.omit.has(parameter) && (renamed || !self.changed.has(parameter))
    }

    /// Whether the limit of tokens is called `max_completion_tokens`.
    pub(super) fn is_newer(self) -> bool {
        self.newer != self.changed.has(Parameter::MaxTokens)
    }
}

impl Dialect {
    pub(super) fn new(config: &LlmConfig) -> Self {
        Self {
            adapt: config.adapt,
            newer: config.max_completion_tokens,
            omit: config.omit.iter().copied().collect(),
            ..Self::default()
        }
    }

    pub(super) fn now(&self) -> Spelling {
        let changed = Parameters(self.changed.load(Relaxed));
        Spelling { omit: self.omit, changed, newer: self.newer }
    }

    /// As calls were written before anything was learnt.
    pub(super) fn at_first(&self) -> Spelling {
        Spelling { omit: self.omit, changed: Parameters::default(), newer: self.newer }
    }

    /// Takes note that a call written as `used` was refused for `parameter`; the call may be made
    /// again at once, as [`Dialect::now`] writes it then.
    ///
    /// # Errors
    /// `Unsupported` when there is no other way to write it, or none may be looked for.
    pub(super) fn learn(
        &self,
        parameter: Parameter,
        used: Spelling,
        excerpt: String,
    ) -> Result<(), LlmFault> {
        if !self.adapt || used.changed.has(parameter) {
            return Err(LlmFault::Unsupported {
                parameter: parameter.setting().to_owned(),
                excerpt,
            });
        }
        let bit = Parameters::bit(parameter);
        if self.changed.fetch_or(bit, Relaxed) & bit == 0 {
            let adaptation = Adaptation { parameter, said: excerpt };
            tracing::warn!("the LLM server does not take every parameter: {adaptation}");
            self.learnt.lock().unwrap_or_else(PoisonError::into_inner).push(adaptation);
        }
        Ok(())
    }

    pub(super) fn adaptations(&self) -> Vec<Adaptation> {
        self.learnt.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the server marks where reasoning begins, so that text can be shown as it comes. Not
    /// known before a reply has ended; one whose prompt ends in that mark leaves it out.
    pub(super) fn is_marked(&self) -> bool {
        self.opening.load(Relaxed) == MARKED
    }

    /// Takes note of a complete reply; once left out counts for ever.
    pub(super) fn saw_opening(&self, left_out: bool) {
        self.opening.fetch_max(if left_out { LEFT_OUT } else { MARKED }, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_left_out_once_it_was_refused() {
        let dialect = Dialect::new(&LlmConfig::default());
        let used = dialect.now();
        assert!(used.has(Parameter::Seed));
        dialect.learn(Parameter::Seed, used, "no seed".into()).expect("another way");
        // A call under way was refused for the same reason.
        dialect.learn(Parameter::Seed, used, "no seed".into()).expect("another way");
        assert!(!dialect.now().has(Parameter::Seed));
        assert_eq!(dialect.adaptations().len(), 1);
        let error = dialect.learn(Parameter::Seed, dialect.now(), "no".into()).expect_err("none");
        assert!(error.to_string().contains("seed"), "{error}");
    }

    #[test]
    fn the_limit_of_tokens_changes_its_name_once() {
        for newer in [false, true] {
            let config = LlmConfig { max_completion_tokens: newer, ..LlmConfig::default() };
            let dialect = Dialect::new(&config);
            assert_eq!(dialect.now().is_newer(), newer);
            dialect.learn(Parameter::MaxTokens, dialect.now(), String::new()).expect("renamed");
            let now = dialect.now();
            assert!(now.has(Parameter::MaxTokens) && now.is_newer() != newer);
            let error = dialect.learn(Parameter::MaxTokens, now, String::new()).expect_err("none");
            assert!(error.to_string().contains("llm.max_completion_tokens"), "{error}");
        }
    }

    #[test]
    fn nothing_is_learnt_where_that_is_switched_off() {
        let config =
            LlmConfig { adapt: false, omit: vec![Parameter::Stop], ..LlmConfig::default() };
        let dialect = Dialect::new(&config);
        assert!(!dialect.now().has(Parameter::Stop));
        dialect.learn(Parameter::TopP, dialect.now(), String::new()).expect_err("off");
    }
}
