//! An API key that no log can show.

use std::fmt;

use reqwest::header::HeaderValue;

use crate::llm::error::LlmFault;

/// A key and where it came from.
#[derive(Clone)]
pub(in crate::llm) struct ApiKey {
    secret: String,
    source: String,
}

impl ApiKey {
    /// Reads the key from the environment variable `name`.
    ///
    /// # Errors
    /// [`LlmFault::Config`] when the variable is unset or holds what no header can carry. The
    /// value is never part of the message.
    pub(in crate::llm) fn from_env(name: &str) -> Result<Self, LlmFault> {
        let wrong = |reason: &str| LlmFault::config("api_key_env", format!("{name} {reason}"));
        let secret = std::env::var(name).map_err(|_| wrong("is not set, or is not text"))?;
        Self::new(&secret, name).ok_or_else(|| wrong("is empty or holds a line break"))
    }

    /// A key made or found elsewhere; none when it is empty or no header can carry it.
    pub(in crate::llm) fn new(secret: &str, source: &str) -> Option<Self> {
        let secret = secret.trim();
        let sendable = HeaderValue::from_str(secret).is_ok() && !secret.is_empty();
        sendable.then(|| Self { secret: secret.to_owned(), source: source.to_owned() })
    }

    pub(in crate::llm) fn expose(&self) -> &str {
        &self.secret
    }

    /// What to call the key in messages: its variable.
    pub(in crate::llm) fn source(&self) -> &str {
        &self.source
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey(*** from {})", self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_is_not_shown() {
        let key = ApiKey::new(" s3cret\n", "MY_KEY").expect("sendable");
        assert_eq!(key.expose(), "s3cret");
        assert_eq!(format!("{key:?}"), "ApiKey(*** from MY_KEY)");
    }

    #[test]
    fn what_no_header_can_carry_is_refused() {
        assert!(ApiKey::new("", "K").is_none());
        assert!(ApiKey::new("a\nb", "K").is_none());
        let unset = ApiKey::from_env("PAIRWRIGHT_NO_SUCH_KEY").expect_err("unset");
        assert!(unset.to_string().contains("PAIRWRIGHT_NO_SUCH_KEY is not set"), "{unset}");
    }
}
