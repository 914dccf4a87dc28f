//! How commands end: the exit codes of `pairwright --help`, and the words that tell how to go on.

use std::process::ExitCode;

use crate::base::failure::Failure;
use crate::llm::LlmError;
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
            Self::Interrupted => 130,
        }
    }

    /// What an error means.
    pub fn of(error: &Error) -> Self {
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
}

impl Ended {
    /// What is told beside the summary; `resume` is the command that goes on.
    fn lines(&self, resume: &str) -> Vec<String> {
        if self.stopped {
            return vec![format!("stopped; everything finished is kept. To resume: {resume}")];
        }
        let gave_up = self.gave_up.as_ref();
        let gave_up =
            gave_up.map(|error| format!("error: the LLM backend cannot be used: {error}"));
        let partial = "some LLM calls are missing; the same command makes them: ";
        gave_up.into_iter().chain(self.partial.then(|| format!("{partial}{resume}"))).collect()
    }

    fn exit(&self) -> Exit {
        match &self.gave_up {
            _ if self.stopped => Exit::Interrupted,
            Some(error) if error.kind() == ErrorKind::InvalidInput => Exit::Usage,
            Some(_) => Exit::Unavailable,
            None if self.partial => Exit::Partial,
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
