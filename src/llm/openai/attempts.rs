//! One call made of several attempts.

use crate::base::failure::Failure;
use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::OpenAiChat;
use crate::llm::error::{LlmError, LlmFault};

impl OpenAiChat {
    /// Takes a place, then tries until an attempt succeeds or the policy says no; returns what it
    /// brought and how many there were. The place is kept while waiting, so a server that limits
    /// the rate sees fewer callers and not new ones. `may_repeat` is asked after a failure.
    pub(super) async fn in_attempts<T, Fut>(
        &self,
        deadline: Duration,
        cancel: &CancellationToken,
        attempt: impl Fn() -> Fut + Send + Sync,
        may_repeat: impl Fn() -> bool + Send + Sync,
    ) -> Result<(T, u32), LlmError>
    where
        Fut: Future<Output = Result<T, LlmFault>> + Send,
        T: Send,
    {
        self.stats.begin_call();
        let mut number = 0;
        let all = async {
            // Never closed, so this waits for a place and cannot fail.
            let _place = self.places.acquire().await;
            loop {
                number += 1;
                match self.one_attempt(number, deadline, attempt()).await {
                    Ok(value) => return Ok(value),
                    Err(fault) if may_repeat() => {
                        tokio::time::sleep(self.wait_after(number, fault)?).await;
                    }
                    Err(fault) => return Err(fault),
                }
            }
        };
        let outcome = cancel.run_until_cancelled(all).await.unwrap_or(Err(LlmFault::Cancelled));
        outcome.map(|value| (value, number)).map_err(|fault| {
            self.stats.fail_call();
            LlmError { fault, attempts: number }
        })
    }

    async fn one_attempt<T>(
        &self,
        number: u32,
        deadline: Duration,
        attempt: impl Future<Output = Result<T, LlmFault>> + Send,
    ) -> Result<T, LlmFault> {
        self.stats.begin_attempt(number);
        let result = match tokio::time::timeout(deadline, attempt).await {
            Ok(result) => result,
            Err(_) => Err(self.timed_out(deadline)),
        };
        result.inspect_err(|fault| self.stats.fault(fault))
    }

    /// How long to wait before the next attempt.
    ///
    /// # Errors
    /// The fault itself when there is no next one.
    fn wait_after(&self, number: u32, fault: LlmFault) -> Result<Duration, LlmFault> {
        let Some(wait) = self.policy.next_wait(number, &fault, rand::random()) else {
            return Err(fault);
        };
        tracing::debug!(attempt = number, code = fault.code(), ?wait, %fault, "asking again");
        Ok(wait)
    }
}
