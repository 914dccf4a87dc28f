use crate::ErrorKind;
use crate::base::failure::Failure;

/// Why an expression cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeepError {
    #[error("`{expression}`, column {column}: {found} where {expected} should stand")]
    Syntax { expression: String, column: usize, found: String, expected: &'static str },

    #[error(
        "`{expression}`, column {column}: neither a measure nor a field is called `{name}`{hint}"
    )]
    UnknownName {
        expression: String,
        column: usize,
        name: String,
        /// The nearest name as half a sentence; empty where none is near.
        hint: String,
    },

    #[error("`{expression}`, column {column}: {name} is {kind}; {found} does not go with it")]
    WrongType {
        expression: String,
        column: usize,
        name: &'static str,
        kind: &'static str,
        found: String,
    },

    #[error("no expression is given, and export.keep of this run has none")]
    NoExpression,

    #[error("{found} expressions are too many: at most {limit}")]
    TooMany { found: usize, limit: usize },

    #[error(
        "`{expression}`: {name} is not taken in this run; add \"{name}\" to measure.enabled and run \
         it again"
    )]
    NotEnabled { expression: String, name: &'static str },

    #[error(
        "`{expression}`: {name} was not taken of any sample yet; `pairwright run --out {run}` \
         takes it"
    )]
    NotTaken { expression: String, name: &'static str, run: String },
}

impl Failure for KeepError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Syntax { .. }
            | Self::UnknownName { .. }
            | Self::WrongType { .. }
            | Self::NoExpression
            | Self::TooMany { .. } => ErrorKind::InvalidInput,
            Self::NotEnabled { .. } | Self::NotTaken { .. } => ErrorKind::FailedPrecondition,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Syntax { .. } => "keep_syntax",
            Self::UnknownName { .. } => "keep_unknown_name",
            Self::WrongType { .. } => "keep_wrong_type",
            Self::NoExpression => "keep_empty",
            Self::TooMany { .. } => "keep_too_many",
            Self::NotEnabled { .. } => "measure_not_enabled",
            Self::NotTaken { .. } => "measure_not_taken",
        }
    }
}
