//! How commands end: the exit codes of `pairwright --help`, and the words that tell how to go on.

use std::process::ExitCode;

use crate::base::failure::Failure;
use crate::instruction::GenerateError;
use crate::instruction::cluster::ClusterError;
use crate::llm::{self, LlmError};
use crate::{Error, ErrorKind};

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
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
    /// A limit was hit, such as a full disk.
    Limit,
    /// Everything was done and nothing came of it: all was refused.
    Nothing,
    /// Stopped by the user.
    Interrupted,
}

impl Exit {
    /// The process's exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Internal => 1,
            Self::Usage => 2,
            Self::Partial => 3,
            Self::Unavailable => 4,
            Self::Unsound => 5,
            Self::Limit => 6,
            Self::Nothing => 7,
            Self::Interrupted => 130,
        }
    }

    /// What an error means.
    pub fn of(error: &Error) -> Self {
        // An LLM's failure keeps its code, whichever room tells of it.
        if llm::CODES.contains(&error.code()) {
            return Self::of_llm(error.failure());
        }
        // What was read, or what the LLM wrote, was refused to the last one.
        let none_left = |error: &GenerateError| {
            matches!(error, GenerateError::Cluster { error: ClusterError::TooFew { found: 0 }, .. })
        };
        let nothing = ["source_no_usable_item", "evaluation_no_replies"].contains(&error.code());
        if nothing || error.get().is_some_and(none_left) {
            return Self::Nothing;
        }
        match error.kind() {
            ErrorKind::InvalidInput
            | ErrorKind::NotFound
            | ErrorKind::AlreadyExists
            | ErrorKind::FailedPrecondition => Self::Usage,
            ErrorKind::ResourceExhausted => Self::Limit,
            ErrorKind::Unavailable | ErrorKind::PermissionDenied | ErrorKind::DeadlineExceeded => {
                Self::Unavailable
            }
            ErrorKind::Cancelled => Self::Interrupted,
            ErrorKind::Internal => Self::Internal,
        }
    }

    /// What a failure of the LLM means, be it an error or what work gave up for: a limit that is
    /// spent is the server's there, and no full disk. A prompt that the server refuses is no wrong
    /// input: other prompts are to be asked yet.
    fn of_llm(error: &dyn Failure) -> Self {
        match error.kind() {
            ErrorKind::Cancelled => Self::Interrupted,
            _ if error.code() == "spending_cap" => Self::Limit,
            ErrorKind::InvalidInput if error.code() != "llm_content_policy" => Self::Usage,
            _ => Self::Unavailable,
        }
    }
}

/// How work that keeps what it has done ended, where that is no error.
#[derive(Debug, Default)]
pub struct Ended {
    /// The user stopped it.
    pub stopped: bool,
    /// Something is left that the same command tries again.
    pub partial: bool,
    /// Why the LLM was given up.
    pub gave_up: Option<LlmError>,
    /// Why nothing was made, where nothing was.
    pub nothing: Option<String>,
}

impl Ended {
    /// What is told beside the summary; `resume` is the command that goes on.
    fn lines(&self, resume: &str) -> Vec<String> {
        if self.stopped {
            return vec![format!("stopped; everything finished is kept. To resume: {resume}")];
        }
        let first = match (&self.gave_up, &self.nothing) {
            (Some(error), _) if error.is_spending_cap() => Some(format!("stopped: {error}")),
            (Some(error), _) => Some(format!("error: the LLM backend cannot be used: {error}")),
            (None, Some(why)) => Some(format!("error: nothing was made: {why}")),
            (None, None) => None,
        };
        let partial = "some LLM calls are missing; the same command makes them: ";
        first.into_iter().chain(self.partial.then(|| format!("{partial}{resume}"))).collect()
    }

    fn exit(&self) -> Exit {
        match &self.gave_up {
            _ if self.stopped => Exit::Interrupted,
            Some(error) => Exit::of_llm(error),
            None if self.partial => Exit::Partial,
            None if self.nothing.is_some() => Exit::Nothing,
            None => Exit::Done,
        }
    }
}

/// Ends a command that `resume` goes on with: prints what `summary` makes of its results, tells how
/// to go on, and gives the exit. `begun` says whether there is anything to resume after an error.
///
/// # Errors
/// That of `result`, unless it is a stop.
pub fn conclude<T>(
    resume: &str,
    begun: bool,
    result: Result<T, Error>,
    summary: impl FnOnce(T) -> Ended,
) -> Result<Exit, Error> {
    let ended = match result {
        Ok(results) => summary(results),
        Err(error) if error.is_stop() => Ended { stopped: true, ..Ended::default() },
        Err(error) => {
            if begun {
                eprintln!("finished work is kept. Once this is mended, resume with: {resume}");
            }
            return Err(error);
        }
    };
    ended.lines(resume).iter().for_each(|line| eprintln!("{line}"));
    Ok(ended.exit())
}

impl From<Exit> for ExitCode {
    fn from(outcome: Exit) -> Self {
        Self::from(outcome.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::failure::Stopped;
    use crate::llm::LlmFault;

    fn gave_up(fault: LlmFault) -> Ended {
        Ended { partial: true, gave_up: Some(LlmError { fault, attempts: 5 }), ..Ended::default() }
    }

    #[test]
    fn each_end_has_its_code_and_says_how_to_go_on() {
        let gone = || LlmFault::Disconnected { url: "U".into(), cause: "C".into() };
        let wrong = || LlmFault::NotFound {
            status: 404,
            url: "U".into(),
            model: "M".into(),
            excerpt: String::new(),
        };
        let spent = || LlmFault::SpendingCap {
            setting: "llm.max_cost".into(),
            cap: "1".into(),
            spent: "0.9".into(),
            next: "0.2".into(),
        };
        let capped = "stopped: the spending cap llm.max_cost = 1 is reached: 0.9 is spent";
        let kept = "stopped; everything finished is kept. To resume: GO";
        let missing = "some LLM calls are missing; the same command makes them: GO";
        let why = "error: nothing was made: all refused";
        let empty = |ended| Ended { nothing: Some("all refused".into()), ..ended };
        let down = "error: the LLM backend cannot be used: ";
        for (ended, code, lines) in [
            (Ended::default(), 0, vec![]),
            (Ended { partial: true, ..Ended::default() }, 3, vec![missing]),
            (Ended { stopped: true, ..Ended::default() }, 130, vec![kept]),
            // A stop comes first: what is missing was not tried.
            (Ended { stopped: true, ..gave_up(gone()) }, 130, vec![kept]),
            (gave_up(gone()), 4, vec![down, missing]),
            (gave_up(wrong()), 4, vec![down, missing]),
            (gave_up(spent()), 6, vec![capped, missing]),
            (empty(Ended::default()), 7, vec![why]),
            // What is tried again may bring something.
            (empty(Ended { partial: true, ..Ended::default() }), 3, vec![why, missing]),
            (empty(gave_up(gone())), 4, vec![down, missing]),
            (empty(Ended { stopped: true, ..Ended::default() }), 130, vec![kept]),
        ] {
            let said = ended.lines("GO");
            assert_eq!(ended.exit().code(), code, "{ended:?}");
            assert_eq!(said.len(), lines.len(), "{said:?}");
            assert!(said.iter().zip(lines).all(|(said, line)| said.starts_with(line)), "{said:?}");
        }
    }

    #[test]
    fn a_stop_that_comes_as_an_error_is_an_interruption() {
        let ended = conclude("GO", true, Err(Stopped.into()), |()| Ended::default());
        assert_eq!(ended.expect("no error").code(), 130);
    }

    /// Whether work gave up for it or it ended the work, in whatever room.
    #[test]
    fn the_same_failure_of_the_llm_has_the_same_code() {
        let text = String::new;
        for (fault, code) in [
            (LlmFault::QuotaExhausted { status: 402, excerpt: text() }, 4),
            (LlmFault::Auth { status: 401, key_env: None, excerpt: text() }, 4),
            (LlmFault::NotFound { status: 404, url: text(), model: text(), excerpt: text() }, 4),
            (LlmFault::LocalServer { what: text(), log: text(), log_path: None }, 4),
            (LlmFault::BadRequest { status: 400, excerpt: text() }, 4),
            (LlmFault::ContentPolicy { status: 400, excerpt: text() }, 4),
            (LlmFault::ContextTooLong { excerpt: text() }, 4),
            (LlmFault::Unsupported { parameter: text(), excerpt: text() }, 2),
            (LlmFault::CannotSee { excerpt: text() }, 2),
            (LlmFault::Blind { model: text(), said: text() }, 2),
            (LlmFault::Config { field: text(), reason: text() }, 2),
        ] {
            let error = LlmError { fault, attempts: 1 };
            let generated = crate::instruction::GenerateError::Llm(error.clone());
            let ended = [Error::from(error.clone()), generated.into()].map(|error| {
                let ended = conclude("GO", true, Err(error), |()| Ended::default());
                Exit::of(&ended.expect_err("an error")).code()
            });
            let gave_up = Ended { gave_up: Some(error.clone()), ..Ended::default() };
            assert_eq!((ended, gave_up.exit().code()), ([code; 2], code), "{error}");
        }
    }
}
