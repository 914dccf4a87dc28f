//! Why a job failed, as its record keeps it.

use serde::{Deserialize, Serialize};

use crate::pipeline::PipelineError;
use crate::{Error, ErrorKind};

/// Why a job failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobFailure {
    /// A stable, snake_case reason.
    pub code: String,
    /// One sentence for a person.
    pub message: String,
    pub kind: ErrorKind,
}

impl JobFailure {
    pub(super) fn new(code: &str, message: impl Into<String>, kind: ErrorKind) -> Self {
        Self { code: code.to_owned(), message: message.into(), kind }
    }

    /// A process that died at each of several starts in a row.
    pub(super) fn crashed(starts: u32) -> Self {
        let message = format!(
            "the server died at {starts} starts of this job in a row, none of which brought \
             anything; it is not started again by itself"
        );
        Self::new("crashed_too_often", message, ErrorKind::Internal)
    }
}

impl From<&Error> for JobFailure {
    fn from(error: &Error) -> Self {
        Self::new(code(error), error.to_string(), error.kind())
    }
}

/// The error's own code, or its room's.
fn code(error: &Error) -> &'static str {
    match error {
        Error::Backend(error) => error.code(),
        Error::Confine(error) => error.code(),
        Error::Evaluation(error) => error.code(),
        Error::Generate(error) => error.code(),
        Error::Image(error) => error.code(),
        Error::LibraryStore(error) => error.code(),
        Error::Llm(error) => error.code(),
        Error::Manager(error) => error.code(),
        Error::Report(error) => error.code(),
        Error::Sink(error) => error.code(),
        Error::Source(error) => error.code(),
        Error::Pipeline(error) => pipeline_code(error),
        Error::Answer(_) => "prompts_invalid",
        Error::Config(_) | Error::Filter(_) | Error::Match(_) => "config_invalid",
        Error::Encoder(_) => "encoder_failed",
        Error::Index(_) => "index_failed",
        Error::Library(_) => "library_invalid",
        Error::Model(_) | Error::ModelStore(_) => "model_unusable",
        // The service's own parts are not met in a job.
        Error::Server(_) => "internal",
        Error::Store(error) if error.kind() == ErrorKind::ResourceExhausted => "disk_full",
        Error::Store(_) => "run_store",
    }
}

fn pipeline_code(error: &PipelineError) -> &'static str {
    match error {
        PipelineError::Folder { .. } => "run_folder",
        PipelineError::Busy { .. } => "run_busy",
        PipelineError::StepMissing { .. } => "step_missing",
        PipelineError::NoSource => "no_source",
        PipelineError::Config(_) => "config_invalid",
        PipelineError::Hubness { .. } => "hubness_damaged",
        PipelineError::Stopped => "stopped",
        PipelineError::StageDied { .. } => "internal",
    }
}
