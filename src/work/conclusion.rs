//! How a piece of work ended, for whoever started it: one table for every kind.

use crate::base::failure::{Error, ErrorKind, Failure};
use crate::llm::{self, LlmError};

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conclusion {
    /// Everything was done; refused records are normal and listed in the summary.
    Done,
    /// Our fault, or the machine's.
    Internal,
    /// Input or configuration is wrong.
    Usage,
    /// Finished, but some calls failed: the same command tries them again.
    Partial,
    /// A backend (LLM server) cannot be used now; the rest was done.
    Unavailable,
    /// `verify` found something wrong.
    Unsound,
    /// The disk is full.
    DiskFull,
    /// Stopped by the user.
    Interrupted,
}

impl Conclusion {
    /// Of work that came to its end: `gave_up` is the failure for which it asked the LLM no more,
    /// and `missing` says that something is left for the next start.
    pub fn of_work(gave_up: Option<&LlmError>, missing: bool) -> Self {
        match gave_up {
            Some(error) => Self::of_llm(error.kind()),
            None if missing => Self::Partial,
            None => Self::Done,
        }
    }

    /// Of work that an error ended.
    pub fn of(error: &Error) -> Self {
        // An LLM's failure keeps its code in whatever room it is told by.
        if llm::CODES.contains(&error.code()) {
            return Self::of_llm(error.kind());
        }
        match error.kind() {
            ErrorKind::InvalidInput
            | ErrorKind::NotFound
            | ErrorKind::AlreadyExists
            | ErrorKind::FailedPrecondition => Self::Usage,
            ErrorKind::ResourceExhausted => Self::DiskFull,
            ErrorKind::Unavailable | ErrorKind::PermissionDenied | ErrorKind::DeadlineExceeded => {
                Self::Unavailable
            }
            ErrorKind::Cancelled => Self::Interrupted,
            ErrorKind::Internal => Self::Internal,
        }
    }

    /// Of a failure of the LLM: a limit that is spent is the server's there, and no full disk; a
    /// model or a program that is not there is no slip of the pen.
    fn of_llm(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::InvalidInput => Self::Usage,
            ErrorKind::Cancelled => Self::Interrupted,
            _ => Self::Unavailable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::LlmFault;
    use crate::work::BackendDown;

    fn faults() -> [(LlmFault, Conclusion); 6] {
        let excerpt = String::new;
        [
            (LlmFault::QuotaExhausted { excerpt: excerpt() }, Conclusion::Unavailable),
            (
                LlmFault::Auth { status: 401, key_env: None, excerpt: excerpt() },
                Conclusion::Unavailable,
            ),
            (
                LlmFault::NotFound { url: excerpt(), model: excerpt(), excerpt: excerpt() },
                Conclusion::Unavailable,
            ),
            (
                LlmFault::LocalServer { what: excerpt(), log: excerpt(), log_path: None },
                Conclusion::Unavailable,
            ),
            (LlmFault::Config { field: excerpt(), reason: excerpt() }, Conclusion::Usage),
            (LlmFault::Cancelled, Conclusion::Interrupted),
        ]
    }

    /// However a room tells of it: as what its work gave up for, as an error, or wrapped in one.
    #[test]
    fn the_same_failure_has_the_same_conclusion_in_every_room() {
        for (fault, expected) in faults() {
            let reason = LlmError::from(fault);
            let since = std::time::SystemTime::UNIX_EPOCH;
            let retry_after = std::time::Duration::ZERO;
            let down = BackendDown { reason: reason.clone(), since, retry_after };
            let generated = crate::instruction::GenerateError::Llm(reason.clone());
            let told = [
                Conclusion::of_work(Some(&reason), true),
                Conclusion::of_work(Some(&reason), false),
                Conclusion::of(&reason.clone().into()),
                Conclusion::of(&generated.into()),
            ];
            assert_eq!(told, [expected; 4], "{reason}");
            // Whoever was refused for it did not cause it.
            let refused = Conclusion::of(&down.into());
            assert_eq!(refused, Conclusion::Unavailable, "{reason}");
        }
    }

    #[test]
    fn a_full_disk_stays_one_and_what_is_left_is_partial() {
        let full = crate::dataset::store::StoreError::DiskFull { path: "/x".into() };
        assert_eq!(Conclusion::of(&full.into()), Conclusion::DiskFull);
        assert_eq!(Conclusion::of(&crate::base::Stopped.into()), Conclusion::Interrupted);
        assert_eq!(Conclusion::of_work(None, true), Conclusion::Partial);
        assert_eq!(Conclusion::of_work(None, false), Conclusion::Done);
    }
}
