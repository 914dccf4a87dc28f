//! What a job is to do.

use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use crate::config::Config;
use crate::evaluate::JudgeRequest;

/// What a caller asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct JobSpec {
    /// The run to begin or to go on with: `[a-z0-9][a-z0-9-]{0,62}`. A run of its own when absent.
    pub run_id: Option<String>,
    /// What is to be done.
    pub task: JobTask,
    /// Makes a repeated submit safe: the same id and request give the same job. At most 200 bytes.
    pub request_id: Option<String>,
    /// The request in the wire layer's own words, kept and given back as it is.
    pub spec_json: String,
}

/// Whom a job is counted for while it waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobOwner {
    pub name: String,
    /// Jobs of this owner that may wait; 0 sets no bound.
    pub max_queued: usize,
}

/// What a job does, with everything it needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobTask {
    /// Photos of a source to pairs.
    Match {
        /// The resolved engine configuration.
        config: Box<Config>,
        /// Whether the pairs get answers, exports and a report; else the job ends with the pairs.
        answers: bool,
    },
    /// Descriptions of a source to final instructions.
    Generate {
        /// The resolved engine configuration.
        config: Box<Config>,
        /// Whether the instructions join the library that jobs share
        /// ([`Resources::library`](crate::run::Resources)).
        into_library: bool,
    },
    /// Two models' answers to verdicts.
    Judge(Box<JudgeRequest>),
}

/// The kinds of [`JobTask`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum JobKind {
    Match,
    Generate,
    Judge,
}

impl JobKind {
    const ALL: [Self; 3] = [Self::Match, Self::Generate, Self::Judge];

    /// The name in the database and in messages.
    pub fn name(self) -> &'static str {
        self.into()
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl JobTask {
    /// What kind it is.
    pub fn kind(&self) -> JobKind {
        match self {
            Self::Match { .. } => JobKind::Match,
            Self::Generate { .. } => JobKind::Generate,
            Self::Judge(_) => JobKind::Judge,
        }
    }

    /// Whether answers are to be written.
    pub fn answers(&self) -> bool {
        matches!(self, Self::Match { answers: true, .. })
    }
}
