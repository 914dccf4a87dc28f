//! When a language model is held for gone: one rule for every kind of work, and for the service.

use crate::llm::{LlmError, LlmFault};

/// Failures in a row, for each call that may be under way, that mean more than bad luck.
const ROUNDS: usize = 2;

/// As few calls under way as one must not be enough: a single slow moment would look like an end.
const FEWEST_PLACES: usize = 2;

/// Whose fault a failed call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// The caller's: it left, or its settings are wrong. Says nothing about prompt or server.
    Caller,
    /// The prompt's, as the server says: it may take others.
    Prompt,
    /// Nobody's as yet: the server refuses the call and does not say why in words that are known.
    /// It may be this prompt, and it may be that it takes no call at all.
    Suspect,
    /// The server's, or the way to it: other calls may fail alike, and this one may pass later.
    Server,
}

impl Whose {
    /// Whose fault `error` is.
    pub fn fault(error: &LlmError) -> Self {
        match error.fault {
            LlmFault::Cancelled
            | LlmFault::Config { .. }
            | LlmFault::Unsupported { .. }
            | LlmFault::CannotSee { .. }
            | LlmFault::Blind { .. }
            | LlmFault::SpendingCap { .. }
            | LlmFault::Ledger { .. } => Self::Caller,
            // It is not made again before somebody starts the work anew.
            LlmFault::Batch { ref state, .. } if state == "cancelled" => Self::Caller,
            LlmFault::ContextTooLong { .. }
            | LlmFault::ContentPolicy { .. }
            | LlmFault::PhotoTooLarge { .. } => Self::Prompt,
            LlmFault::BadRequest { .. } => Self::Suspect,
            _ => Self::Server,
        }
    }
}

/// Counts failures until they mean that the backend is gone.
#[derive(Debug, Clone, Copy)]
pub struct Breaker {
    limit: usize,
    in_a_row: usize,
}

impl Breaker {
    /// A breaker for a backend that has `places` calls under way at most.
    pub fn new(places: usize) -> Self {
        Self { limit: ROUNDS * places.max(FEWEST_PLACES), in_a_row: 0 }
    }

    /// A call was answered, or a new count begins.
    pub fn reset(&mut self) {
        self.in_a_row = 0;
    }

    /// A call failed. Says whether the backend is to be held for gone: at once for a fault of the
    /// server that does not pass by itself (a refused key, an unknown model), else when every place
    /// failed twice without one success between. What is not the server's fault does not count.
    pub fn fail(&mut self, error: &LlmError) -> bool {
        if Whose::fault(error) != Whose::Server {
            return false;
        }
        self.in_a_row += 1;
        !error.is_retryable() || self.in_a_row >= self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(fault: LlmFault) -> LlmError {
        LlmError { fault, attempts: 1 }
    }

    fn unlucky() -> LlmError {
        error(LlmFault::Unreachable { url: "http://x".into(), cause: "gone".into() })
    }

    fn fails(breaker: &mut Breaker, times: usize) -> usize {
        (0..times).filter(|_| breaker.fail(&unlucky())).count()
    }

    #[test]
    fn opens_when_every_place_failed_twice_and_never_for_one_unlucky_call() {
        for (places, limit) in [(1, 4), (2, 4), (16, 32)] {
            let mut breaker = Breaker::new(places);
            assert_eq!(fails(&mut breaker, limit - 1), 0, "{places} places");
            assert!(breaker.fail(&unlucky()), "{places} places");
            breaker.reset();
            assert_eq!(fails(&mut breaker, limit - 1), 0, "{places} places, anew");
        }
    }

    #[test]
    fn what_does_not_pass_by_itself_opens_at_once() {
        let auth = LlmFault::Auth { status: 401, key_env: None, excerpt: String::new() };
        let quota = LlmFault::QuotaExhausted { status: 402, excerpt: String::new() };
        for fault in [auth, quota] {
            assert!(Breaker::new(64).fail(&error(fault)));
        }
    }

    #[test]
    fn prompts_and_callers_never_count() {
        let long = error(LlmFault::ContextTooLong { excerpt: String::new() });
        let bad = error(LlmFault::BadRequest { status: 422, excerpt: String::new() });
        let policy = error(LlmFault::ContentPolicy { status: 403, excerpt: String::new() });
        let setting = LlmFault::Config { field: "top_p".into(), reason: "is 2".into() };
        let mut breaker = Breaker::new(1);
        let quiet = [long, bad, policy, error(LlmFault::Cancelled), error(setting)];
        for error in quiet.iter().cycle().take(40) {
            assert!(!breaker.fail(error), "{error}");
        }
        assert_eq!(fails(&mut breaker, 3), 0, "nothing was counted");
    }
}
