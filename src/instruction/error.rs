//! What ends a generation.

use std::path::PathBuf;

use super::cluster::ClusterError;
use crate::ErrorKind;
use crate::base::failure::Failure;
use crate::llm::LlmError;

/// Why instructions could not be generated. What concerns one reply or one cluster is no error
/// but a counted refusal.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    #[error("{path}: {source}")]
    Io {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path}:{line}: {message}")]
    Line { path: PathBuf, line: usize, message: String },
    #[error(
        "{path}: holds no seed; write one JSON object with id and text per line, or one seed per line in a .txt file"
    )]
    NoSeeds { path: PathBuf },
    #[error(
        "generate.seeds_per_prompt is {wanted}, but {origin} holds only {found} distinct seeds"
    )]
    TooFewSeeds { wanted: usize, found: usize, origin: String },
    #[error(
        "{path}: holds no description; write one per line, or JSON lines with id and description"
    )]
    NoDescriptions { path: PathBuf },
    #[error(
        "no descriptions: pass --source PATH (what `pairwright run` reads) or --descriptions FILE (.txt or .jsonl)"
    )]
    NoSource,
    #[error("{path}: the prompt lacks the placeholder {{{placeholder}}}")]
    Placeholder { path: PathBuf, placeholder: &'static str },
    #[error("{path}: unknown placeholder {{{found}}}; known are {known}")]
    UnknownPlaceholder { path: PathBuf, found: String, known: String },
    #[error("{error}; {lost}")]
    Cluster { error: ClusterError, lost: String },
    #[error(
        "{failed} calls to the LLM failed, so that {found} distinct instructions are left and \
         clustering needs at least 2; the same command makes the calls again: {reason}"
    )]
    Unanswered { found: usize, failed: usize, reason: String },
    #[error("the LLM backend cannot be used: {0}")]
    Llm(LlmError),
    #[error(
        "no generated instructions at {path}: make them with `pairwright instructions generate --out DIR`"
    )]
    NoFolder { path: PathBuf },
    #[error("the id {id:?} is taken by another instruction")]
    IdTaken { id: String },
    #[error("no instruction {id:?} in {path}")]
    NoInstruction { path: PathBuf, id: String },
}

impl Failure for GenerateError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { source, .. } => ErrorKind::of_io(source),
            Self::NoFolder { .. } | Self::NoInstruction { .. } => ErrorKind::NotFound,
            Self::Line { .. }
            | Self::NoSeeds { .. }
            | Self::TooFewSeeds { .. }
            | Self::NoDescriptions { .. }
            | Self::NoSource
            | Self::IdTaken { .. }
            | Self::Placeholder { .. }
            | Self::UnknownPlaceholder { .. } => ErrorKind::InvalidInput,
            Self::Cluster { error, .. } => error.kind(),
            Self::Unanswered { .. } => ErrorKind::Unavailable,
            Self::Llm(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "generate_io",
            Self::Line { .. } => "invalid_line",
            Self::NoSeeds { .. } => "no_seeds",
            Self::TooFewSeeds { .. } => "too_few_seeds",
            Self::NoDescriptions { .. } => "no_descriptions",
            Self::NoSource => "no_source",
            Self::Placeholder { .. } => "prompt_lacks_placeholder",
            Self::UnknownPlaceholder { .. } => "prompt_unknown_placeholder",
            Self::Cluster { error, .. } => error.code(),
            Self::Unanswered { .. } => "calls_failed",
            Self::Llm(error) => error.code(),
            Self::NoFolder { .. } => "no_generation",
            Self::NoInstruction { .. } => "no_instruction",
            Self::IdTaken { .. } => "instruction_id_taken",
        }
    }
}
