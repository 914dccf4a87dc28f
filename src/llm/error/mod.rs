//! What can go wrong with a language model.

mod fault;

use std::fmt;

pub use self::fault::{CODES, LlmFault};
use crate::ErrorKind;
use crate::base::failure::Failure;

/// Characters of a server's answer that an error carries.
const EXCERPT_CHARS: usize = 300;

/// A failed call: the fault of its last attempt and how many attempts there were.
#[derive(Debug, Clone, PartialEq)]
pub struct LlmError {
    /// Why the last attempt failed.
    pub fault: LlmFault,
    /// Attempts that reached for the server; 0 when the call never got so far.
    pub attempts: u32,
}

impl LlmError {
    /// Whether the call was not made since it could have spent more than the settings allow.
    pub fn is_spending_cap(&self) -> bool {
        matches!(self.fault, LlmFault::SpendingCap { .. })
    }

    /// See [`LlmFault::is_retryable`].
    pub fn is_retryable(&self) -> bool {
        self.fault.is_retryable()
    }
}

impl Failure for LlmError {
    fn kind(&self) -> ErrorKind {
        self.fault.kind()
    }

    fn code(&self) -> &'static str {
        self.fault.code()
    }
}

impl From<LlmFault> for LlmError {
    fn from(fault: LlmFault) -> Self {
        Self { fault, attempts: 0 }
    }
}

impl fmt::Display for LlmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.fault)?;
        match self.attempts {
            0 | 1 => Ok(()),
            attempts => write!(f, " (after {attempts} attempts)"),
        }
    }
}

impl std::error::Error for LlmError {}

/// The start of `text` on one line, fit for an error message.
pub(super) fn excerpt(text: &str) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let mut start: String = text.trim().chars().take(EXCERPT_CHARS).map(clean).collect();
    if text.trim().chars().nth(EXCERPT_CHARS).is_some() {
        start.push('…');
    }
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpts_are_short_and_on_one_line() {
        assert_eq!(excerpt(" a\nb\u{1b}c "), "a b c");
        let long = excerpt(&"ä".repeat(1000));
        assert_eq!(long.chars().count(), EXCERPT_CHARS + 1);
    }

    #[test]
    fn messages_say_what_to_do() {
        let missing = LlmFault::Missing {
            what: "the program llama-server",
            looked: vec!["runtime/llama/bin/llama-server".into()],
            setting: "PAIRWRIGHT_LLAMA_SERVER",
        };
        assert!(missing.to_string().contains("make setup"), "{missing}");
        let error = LlmError { fault: LlmFault::Cancelled, attempts: 3 };
        assert_eq!(error.to_string(), "the LLM call was cancelled (after 3 attempts)");
        let auth =
            LlmFault::Auth { status: 401, key_env: Some("MY_KEY".into()), excerpt: "no".into() };
        assert!(auth.to_string().contains("the key from MY_KEY (HTTP 401)"), "{auth}");
    }
}
