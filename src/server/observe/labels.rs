//! The values that labels take. Each is a closed set, so that every series is there from the
//! start.

use tonic::Code;

/// A closed set of label values.
pub trait Label: Copy + 'static {
    /// Every value, each at its own [`Label::place`].
    const ALL: &'static [Self];
    /// The text of the label.
    fn name(self) -> &'static str;
    /// Its place in [`Label::ALL`].
    fn place(self) -> usize;
}

macro_rules! label {
    ($(#[$doc:meta])* $name:ident { $($(#[$value_doc:meta])* $value:ident => $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$value_doc])* $value,)*
        }

        impl Label for $name {
            const ALL: &'static [Self] = &[$(Self::$value,)*];

            fn name(self) -> &'static str {
                match self {
                    $(Self::$value => $text,)*
                }
            }

            fn place(self) -> usize {
                self as usize
            }
        }
    };
}

label! {
    /// Which half of the encoder.
    Tower {
        Image => "image",
        Text => "text",
    }
}

label! {
    /// Which lane of an encoder's queue.
    Lane {
        /// Callers that wait.
        Interactive => "interactive",
        /// Jobs.
        Bulk => "bulk",
    }
}

label! {
    /// Why an item left a queue without being worked.
    DropReason {
        /// The caller went away.
        Cancelled => "cancelled",
        /// The caller's deadline was over.
        Expired => "expired",
    }
}

label! {
    /// Where a job stands.
    JobState {
        Queued => "queued",
        Running => "running",
        Succeeded => "succeeded",
        Failed => "failed",
        Cancelled => "cancelled",
    }
}

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
        for (place, state) in JobState::ALL.iter().enumerate() {
            assert_eq!(state.place(), place);
        }
    }
}
