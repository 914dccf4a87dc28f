//! Errors as clients see them: a code for programs that know nothing of us, a stable reason for
//! those that do, and a text for people.

use std::collections::HashMap;
use std::time::Duration;

use tonic::metadata::MetadataValue;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// The domain of every reason in `google.rpc.ErrorInfo`.
pub const DOMAIN: &str = "pairwright.dev";

/// The metadata key that says in whole seconds when to come back.
pub const RETRY_AFTER: &str = "retry-after";

/// A status with a `google.rpc.ErrorInfo`. `reason` is UPPER_SNAKE_CASE and never changes its
/// meaning; `metadata` holds the values a program may want, such as the limit.
pub fn reasoned(
    code: Code,
    reason: &str,
    message: impl Into<String>,
    metadata: &[(&str, &str)],
) -> Status {
    Status::with_error_details(code, message, details(reason, metadata))
}

/// As [`reasoned`], with the time after which the call may pass: in full in
/// `google.rpc.RetryInfo`, and rounded up to whole seconds as `retry-after`.
pub fn retryable(
    code: Code,
    reason: &str,
    message: impl Into<String>,
    metadata: &[(&str, &str)],
    after: Duration,
) -> Status {
    let mut details = details(reason, metadata);
    details.set_retry_info(Some(after));
    let mut status = Status::with_error_details(code, message, details);
    let seconds = MetadataValue::from(whole_seconds(after));
    status.metadata_mut().insert(RETRY_AFTER, seconds);
    status
}

fn details(reason: &str, metadata: &[(&str, &str)]) -> ErrorDetails {
    let metadata: HashMap<String, String> =
        metadata.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    ErrorDetails::with_error_info(reason, DOMAIN, metadata)
}

/// Rounded up, because a client that comes back too early is only refused again.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_travels_with_its_domain_and_values() {
        let status = reasoned(Code::NotFound, "JOB_NOT_FOUND", "no job 7", &[("job", "7")]);
        assert_eq!((status.code(), status.message()), (Code::NotFound, "no job 7"));
        let info = status.get_details_error_info().expect("error info");
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("JOB_NOT_FOUND", DOMAIN));
        assert_eq!(info.metadata["job"], "7");
        assert!(status.metadata().get(RETRY_AFTER).is_none());
    }

    #[test]
    fn retry_after_is_rounded_up() {
        let after = Duration::from_millis(1200);
        let status = retryable(Code::ResourceExhausted, "BUSY", "full", &[], after);
        assert_eq!(status.metadata().get(RETRY_AFTER).expect("retry-after"), "2");
        let info = status.get_details_retry_info().expect("retry info");
        assert_eq!(info.retry_delay, Some(after));
        assert_eq!(whole_seconds(Duration::from_secs(3)), 3);
        assert_eq!(whole_seconds(Duration::ZERO), 0);
    }
}
