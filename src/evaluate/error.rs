//! What can be wrong with an evaluation's files and settings.

use std::io;
use std::path::{Path, PathBuf};

use crate::ErrorKind;
use crate::base::failure::Failure;
use crate::base::lock::LockError;
use crate::sandbox::ConfineError;

/// Ids listed in one message before only their number is told.
const LISTED: usize = 20;

/// Why an evaluation cannot start or go on. Everything that is wrong with the files is found
/// before the first call is paid for.
#[derive(Debug, thiserror::Error)]
pub enum EvaluationError {
    #[error("{path}: {source}")]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Confined(ConfineError),
    /// `place` is a line or a row.
    #[error("{path}, {place}: {message}")]
    Read { path: PathBuf, place: String, message: String },
    #[error("{path} holds no {what}")]
    Empty { path: PathBuf, what: &'static str },
    #[error("{path}: one file, one model; this one holds answers of {}", models.join(", "))]
    SeveralModels { path: PathBuf, models: Vec<String> },
    #[error("the files do not fit together, so nothing was asked:\n  {}", problems.join("\n  "))]
    Align { problems: Vec<String> },
    #[error("images cannot be used, so nothing was asked:\n  {}", problems.join("\n  "))]
    Images { problems: Vec<String> },
    #[error("{path}: {message}")]
    Prompt { path: PathBuf, message: String },
    #[error("{setting} is {value}, must be {expected}")]
    Setting { setting: &'static str, value: String, expected: String },
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error("no finished evaluation at {path}: its {file} is not there")]
    NoResults { path: PathBuf, file: &'static str },
    #[error("{path}: {message}")]
    OtherResults { path: PathBuf, message: String },
    #[error("nothing was made: the judge gave no reply: {why}")]
    NoReplies { why: String },
    #[error("cannot be ranked: {message}")]
    Ranking { message: String },
    #[error("{path}: {message}")]
    Benchmark { path: PathBuf, message: String },
    #[error("cannot render the report: {0:#}")]
    Page(#[from] minijinja::Error),
}

impl EvaluationError {
    /// For `map_err`: names the file that could not be read or written.
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        |source| Self::Io { path: path.to_owned(), source }
    }
}

impl Failure for EvaluationError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { source, .. } => ErrorKind::of_io(source),
            Self::Confined(error) => error.kind(),
            Self::NoResults { .. } => ErrorKind::NotFound,
            Self::Lock(error) => error.kind(),
            Self::OtherResults { .. } | Self::Benchmark { .. } => ErrorKind::FailedPrecondition,
            Self::Page(_) => ErrorKind::Internal,
            Self::Read { .. }
            | Self::Empty { .. }
            | Self::SeveralModels { .. }
            | Self::Align { .. }
            | Self::Images { .. }
            | Self::Prompt { .. }
            | Self::NoReplies { .. }
            | Self::Ranking { .. }
            | Self::Setting { .. } => ErrorKind::InvalidInput,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "evaluation_io",
            Self::Confined(error) => error.code(),
            Self::Read { .. } => "evaluation_unreadable_row",
            Self::Empty { .. } => "evaluation_empty_file",
            Self::SeveralModels { .. } => "evaluation_several_models",
            Self::Align { .. } => "evaluation_misaligned",
            Self::Images { .. } => "evaluation_images",
            Self::Prompt { .. } => "evaluation_prompt",
            Self::Setting { .. } => "evaluation_setting",
            Self::Lock(error) => error.code(),
            Self::NoResults { .. } => "evaluation_no_results",
            Self::OtherResults { .. } => "evaluation_other_results",
            Self::NoReplies { .. } => "evaluation_no_replies",
            Self::Ranking { .. } => "evaluation_ranking",
            Self::Benchmark { .. } => "evaluation_benchmark",
            Self::Page(_) => "evaluation_page",
        }
    }
}

/// Ids for a message: all of a few, the first of many with the number of the rest.
pub(super) fn listed<T: ToString>(ids: &[T]) -> String {
    let mut text: Vec<String> = ids.iter().take(LISTED).map(T::to_string).collect();
    if ids.len() > LISTED {
        text.push(format!("and {} more", ids.len() - LISTED));
    }
    text.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_are_cut_with_the_number_of_the_rest() {
        assert_eq!(listed(&[3, 4]), "3, 4");
        let ids: Vec<usize> = (0..25).collect();
        assert!(listed(&ids).ends_with("18, 19, and 5 more"), "{}", listed(&ids));
    }

    #[test]
    fn a_missing_file_is_not_found_and_a_full_disk_a_limit() {
        let error = |kind: io::ErrorKind| EvaluationError::io(Path::new("q"))(kind.into());
        assert_eq!(error(io::ErrorKind::NotFound).kind(), ErrorKind::NotFound);
        assert_eq!(error(io::ErrorKind::StorageFull).kind(), ErrorKind::ResourceExhausted);
    }
}
