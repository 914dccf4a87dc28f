use std::time::{Duration, SystemTime};

use crate::ErrorKind;
use crate::base::failure::Failure;
use crate::llm::LlmError;

/// Whether the LLM answers, as far as is known.
#[derive(Debug, Clone, PartialEq)]
pub enum BackendState {
    /// Nobody has asked yet.
    Untried,
    /// The last that was heard of it was good.
    Up,
    /// It cannot be used. It is asked again and again until it answers.
    Down {
        /// What its last failure said.
        reason: LlmError,
        /// When it went down.
        since: SystemTime,
    },
}

/// A call that was not made because the LLM is known to be gone.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("the LLM backend cannot be used now: {reason}")]
pub struct BackendDown {
    /// What its last failure said.
    pub reason: LlmError,
    /// When it went down.
    pub since: SystemTime,
    /// How long until it is asked again.
    pub retry_after: Duration,
}

impl Failure for BackendDown {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Unavailable
    }

    fn code(&self) -> &'static str {
        self.reason.code()
    }
}

/// How patiently a backend that is down is asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbePolicy {
    /// The first wait; doubles with each failure. Above 0.
    pub first: Duration,
    /// The longest wait, jitter aside.
    pub cap: Duration,
}

impl Default for ProbePolicy {
    /// One second up to thirty.
    fn default() -> Self {
        Self { first: Duration::from_secs(1), cap: Duration::from_secs(30) }
    }
}

impl ProbePolicy {
    /// The wait after failure number `failures` (from 1) without a success between. `dice`, from
    /// [0, 1), adds up to a quarter, so that several processes do not ask at the same moment.
    pub(super) fn wait(&self, failures: u32, dice: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let wait = self.first.saturating_mul(1 << doublings).min(self.cap);
        wait + wait.mul_f64(dice / 4.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap_and_are_never_shorter() {
        let policy = ProbePolicy::default();
        let seconds: Vec<_> = (1..=7).map(|n| policy.wait(n, 0.0).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(policy.wait(u32::MAX, 0.999).as_secs(), 37);
    }
}
