//! What can be wrong with prompts and examples.

use std::path::PathBuf;

use crate::ErrorKind;
use crate::base::failure::Failure;

/// Why prompts or in-context examples could not be used.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    #[error("{path}: {source}")]
    Io {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path}: the prompt lacks the placeholder {{{placeholder}}}")]
    Placeholder { path: PathBuf, placeholder: &'static str },
    #[error("{path}: unknown placeholder {{{found}}}; known are {known}")]
    UnknownPlaceholder { path: PathBuf, found: String, known: String },
    #[error("{path}:{line}: {message}")]
    Example { path: PathBuf, line: usize, message: String },
    #[error("answer.examples_per_prompt is {wanted}, but {path} holds only {found} examples")]
    TooFewExamples { path: PathBuf, wanted: usize, found: usize },
}

impl Failure for AnswerError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { source, .. } => ErrorKind::of_io(source),
            Self::Placeholder { .. }
            | Self::UnknownPlaceholder { .. }
            | Self::Example { .. }
            | Self::TooFewExamples { .. } => ErrorKind::InvalidInput,
        }
    }

    fn code(&self) -> &'static str {
        "prompts_invalid"
    }
}
