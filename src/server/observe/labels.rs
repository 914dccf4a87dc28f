//! The values that labels take. Each is a closed set, so that every series is there from the
//! start.

use strum::IntoStaticStr;
use tonic::Code;

use crate::encoder::queue::{DropReason, Lane, TowerKind};
use crate::jobs::{DataPart, JobState};

/// A closed set of label values.
pub trait Label: Copy + PartialEq + 'static {
    /// Every value.
    const ALL: &'static [Self];
    /// The text of the label.
    fn name(self) -> &'static str;
    /// Its place in [`Label::ALL`].
    fn place(self) -> usize {
        Self::ALL.iter().position(|value| *value == self).unwrap_or_default()
    }
}

/// What one caller may take only so much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Quota {
    Calls,
    Items,
    Bytes,
    Streams,
    Jobs,
}

impl Quota {
    /// Every quota.
    pub const ALL: [Self; 5] = [Self::Calls, Self::Items, Self::Bytes, Self::Streams, Self::Jobs];

    /// A name for labels.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Its name in `ServerInfo.quotas`.
    pub fn field(self) -> &'static str {
        match self {
            Self::Calls => "calls_per_second",
            Self::Items => "items_per_second",
            Self::Bytes => "bytes_per_second",
            Self::Streams => "open_streams",
            Self::Jobs => "queued_jobs",
        }
    }
}

macro_rules! labels {
    ($($name:ty),+ $(,)?) => {$(
        impl Label for $name {
            const ALL: &'static [Self] = &<$name>::ALL;

            fn name(self) -> &'static str {
                <$name>::name(self)
            }
        }
    )+};
}

labels!(TowerKind, Lane, DropReason, JobState, Quota, DataPart);

/// The codes a failed call can end with, in the order of their numbers, from 1.
pub const FAILURES: [&str; 16] = [
    "cancelled",
    "unknown",
    "invalid_argument",
    "deadline_exceeded",
    "not_found",
    "already_exists",
    "permission_denied",
    "resource_exhausted",
    "failed_precondition",
    "aborted",
    "out_of_range",
    "unimplemented",
    "internal",
    "unavailable",
    "data_loss",
    "unauthenticated",
];

/// A code as labels and log lines show it.
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "ok",
        failed => FAILURES[failed as usize - 1],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_their_own_names() {
        assert_eq!(code_name(Code::Ok), "ok");
        assert_eq!(code_name(Code::Cancelled), "cancelled");
        assert_eq!(code_name(Code::ResourceExhausted), "resource_exhausted");
        assert_eq!(code_name(Code::Unauthenticated), "unauthenticated");
        // Codes from the wire that do not exist become Unknown.
        assert_eq!(code_name(Code::from(99)), "unknown");
    }

    #[test]
    fn labels_lie_at_their_places() {
        for (place, state) in <JobState as Label>::ALL.iter().enumerate() {
            assert_eq!(state.place(), place);
        }
    }
}
