//! Exit codes, documented in `pairwright --help`.

use std::process::ExitCode;

pub use crate::work::Conclusion as Outcome;

/// The process's exit code for a conclusion.
fn code(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Done => 0,
        Outcome::Internal => 1,
        Outcome::Usage => 2,
        Outcome::Partial => 3,
        Outcome::Unavailable => 4,
        Outcome::Unsound => 5,
        Outcome::DiskFull => 6,
        Outcome::Interrupted => 130,
    }
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(code(outcome))
    }
}
