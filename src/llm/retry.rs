//! When to ask again and how long to wait: pure functions, no clock and no dice of their own.

use std::time::{Duration, SystemTime};

use super::error::LlmFault;

/// Attempts spent on answers that are no chat completion: a server that talks something else
/// rarely stops doing so.
const GARBAGE_ATTEMPTS: u32 = 3;

/// How often and how patiently a call is tried.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryPolicy {
    /// Attempts in all, 1 or more.
    pub max_attempts: u32,
    /// Upper end of the first wait; doubles with each attempt.
    pub base: Duration,
    /// Upper end that the doubling stops at.
    pub cap: Duration,
    /// Longest Retry-After that is honoured in full; longer ones are cut to it.
    pub retry_after_cap: Duration,
}

impl RetryPolicy {
    /// The wait after failed attempt number `attempt` (from 1), or none when the call has failed.
    /// `dice` is a draw from [0, 1).
    pub fn next_wait(&self, attempt: u32, fault: &LlmFault, dice: f64) -> Option<Duration> {
        let allowed = match fault {
            LlmFault::Garbage { .. } => self.max_attempts.min(GARBAGE_ATTEMPTS),
            _ => self.max_attempts,
        };
        let again = fault.is_retryable() && attempt < allowed;
        again.then(|| self.wait(attempt, fault.retry_after(), dice))
    }

    /// Full jitter below the doubling limit, so that callers that failed together do not return
    /// together; a Retry-After comes on top, because it is the earliest moment that is welcome.
    fn wait(&self, attempt: u32, retry_after: Option<Duration>, dice: f64) -> Duration {
        let floor = retry_after.unwrap_or_default().min(self.retry_after_cap);
        floor + self.limit(attempt).mul_f64(dice)
    }

    /// Upper end of the wait after `attempt`: base, 2 base, 4 base ... up to the cap.
    fn limit(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1).min(31);
        self.base.saturating_mul(1 << doublings).min(self.cap)
    }
}

/// Reads a Retry-After header: seconds, an HTTP date (RFC 9110, 10.2.3) seen from `now`, or a time
/// with its units (`6m0s`, `400ms`, `1.5s`). A date that has passed means no wait; anything else is
/// as if the header were absent.
pub fn parse_retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let in_seconds = value.strip_suffix('s').unwrap_or(value).parse().ok();
    if let Some(wait) = in_seconds.and_then(|s| Duration::try_from_secs_f64(s).ok()) {
        return Some(wait);
    }
    if let Ok(wait) = humantime::parse_duration(value) {
        return Some(wait);
    }
    let moment = httpdate::parse_http_date(value).ok()?;
    Some(moment.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLICY: RetryPolicy = RetryPolicy {
        max_attempts: 5,
        base: Duration::from_millis(500),
        cap: Duration::from_secs(30),
        retry_after_cap: Duration::from_secs(60),
    };

    fn limited(retry_after: Option<u64>) -> LlmFault {
        let retry_after = retry_after.map(Duration::from_secs);
        LlmFault::RateLimited { status: 429, retry_after, excerpt: String::new() }
    }

    #[test]
    fn limits_double_up_to_the_cap() {
        let seconds: Vec<_> = (1..=9).map(|n| POLICY.limit(n).as_secs_f64()).collect();
        assert_eq!(seconds, [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]);
    }

    #[test]
    fn attempts_are_bounded() {
        assert!(POLICY.next_wait(4, &limited(None), 0.5).is_some());
        assert_eq!(POLICY.next_wait(5, &limited(None), 0.5), None);
        let garbage = LlmFault::Garbage { what: String::new(), excerpt: String::new() };
        assert!(POLICY.next_wait(2, &garbage, 0.5).is_some());
        assert_eq!(POLICY.next_wait(3, &garbage, 0.5), None);
    }

    #[test]
    fn what_cannot_pass_later_is_not_asked_again() {
        let bad = LlmFault::BadRequest { status: 422, excerpt: String::new() };
        let auth = LlmFault::Auth { status: 401, key_env: None, excerpt: String::new() };
        for fault in [bad, auth, LlmFault::Cancelled] {
            assert_eq!(POLICY.next_wait(1, &fault, 0.5), None, "{fault}");
        }
    }

    #[test]
    fn reads_every_form_of_retry_after() {
        // RFC 9110's own example date, 31 Dec 1999 23:59:59 GMT = 946684799 s.
        let date = "Fri, 31 Dec 1999 23:59:59 GMT";
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let seconds = |value, now| parse_retry_after(value, at(now)).map(|wait| wait.as_secs());
        assert_eq!(seconds(" 120 ", 0), Some(120));
        assert_eq!(seconds(date, 946_684_790), Some(9));
        assert_eq!(seconds(date, 946_684_900), Some(0));
        assert_eq!(seconds("soon", 0), None);
        assert_eq!(seconds("6m2s", 0), Some(362));
        assert_eq!(seconds("1.9s", 0), Some(1));
        assert_eq!(seconds("inf", 0), None);
        assert_eq!(seconds("-5", 0), None);
        assert_eq!(seconds("", 0), None);
    }

    proptest! {
        #[test]
        fn a_wait_lies_between_the_floor_and_floor_plus_limit(
            attempt in 1u32..2_000_000_000,
            header in proptest::option::of(any::<u64>()),
            dice in 0.0f64..1.0,
        ) {
            let header = header.map(Duration::from_secs);
            let floor = header.unwrap_or_default().min(POLICY.retry_after_cap);
            let wait = POLICY.wait(attempt, header, dice);
            prop_assert!(wait >= floor && wait <= floor + POLICY.cap);
        }

        #[test]
        fn any_header_is_read_without_panic(value in ".*", now in 0u64..4_000_000_000) {
            parse_retry_after(&value, SystemTime::UNIX_EPOCH + Duration::from_secs(now));
        }
    }
}
