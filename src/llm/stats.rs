//! Counters of a backend: what a run's summary and the metrics show.

use crate::base::failure::Failure;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::{Deserialize, Serialize};

use super::error::{CODES, LlmFault};
use super::spent::Usage;

/// Live counters, shared by all calls of a backend.
#[derive(Debug, Default)]
pub struct LlmStats {
    calls: AtomicU64,
    failed_calls: AtomicU64,
    attempts: AtomicU64,
    retries: AtomicU64,
    restarts: AtomicU64,
    prompt_tokens: AtomicU64,
    completion_tokens: AtomicU64,
    faults: [AtomicU64; CODES.len()],
}

/// A copy of the counters at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatsSnapshot {
    /// Calls begun.
    pub calls: u64,
    /// Calls that ended in an error.
    pub failed_calls: u64,
    /// Requests sent to the server.
    pub attempts: u64,
    /// Attempts beyond the first of each call.
    pub retries: u64,
    /// Starts of a managed server after its first.
    pub restarts: u64,
    /// Prompt tokens of successful calls.
    pub prompt_tokens: u64,
    /// Reply tokens of successful calls.
    pub completion_tokens: u64,
    /// Attempts that failed, by reason code; every code is present, at zero too.
    pub faults: BTreeMap<String, u64>,
}

impl LlmStats {
    pub(super) fn begin_call(&self) {
        self.calls.fetch_add(1, Relaxed);
    }

    /// `number` counts from 1 within its call.
    pub(super) fn begin_attempt(&self, number: u32) {
        self.attempts.fetch_add(1, Relaxed);
        if number > 1 {
            self.retries.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn restart(&self) {
        self.restarts.fetch_add(1, Relaxed);
    }

    pub(super) fn fault(&self, fault: &LlmFault) {
        let place = CODES.iter().position(|code| *code == fault.code());
        if let Some(counter) = place.and_then(|place| self.faults.get(place)) {
            counter.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn fail_call(&self) {
        self.failed_calls.fetch_add(1, Relaxed);
    }

    pub(super) fn finish_call(&self, usage: Usage) {
        self.prompt_tokens.fetch_add(usage.prompt_tokens, Relaxed);
        self.completion_tokens.fetch_add(usage.completion_tokens, Relaxed);
    }

    /// The counters now. Counters move while they are read, so sums may be off by calls in flight.
    pub fn snapshot(&self) -> StatsSnapshot {
        let faults = CODES.iter().zip(&self.faults);
        StatsSnapshot {
            calls: self.calls.load(Relaxed),
            failed_calls: self.failed_calls.load(Relaxed),
            attempts: self.attempts.load(Relaxed),
            retries: self.retries.load(Relaxed),
            restarts: self.restarts.load(Relaxed),
            prompt_tokens: self.prompt_tokens.load(Relaxed),
            completion_tokens: self.completion_tokens.load(Relaxed),
            faults: faults.map(|(code, n)| ((*code).to_owned(), n.load(Relaxed))).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_calls_faults_and_tokens() {
        let stats = LlmStats::default();
        stats.begin_call();
        stats.begin_attempt(1);
        stats.fault(&LlmFault::Cancelled);
        stats.begin_attempt(2);
        stats.finish_call(Usage { prompt_tokens: 7, completion_tokens: 3 });
        let seen = stats.snapshot();
        assert_eq!((seen.calls, seen.attempts, seen.retries), (1, 2, 1));
        assert_eq!((seen.prompt_tokens, seen.completion_tokens), (7, 3));
        assert_eq!(seen.faults["llm_cancelled"], 1);
        assert_eq!(seen.faults.len(), CODES.len(), "a code at zero is shown too");
    }
}
