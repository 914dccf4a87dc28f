//! What is known of a job.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::{JobFailure, JobProgress, JobSummary};
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    Match,
    Generate,
    Judge,
}

impl JobKind {
    const ALL: [Self; 3] = [Self::Match, Self::Generate, Self::Judge];

    /// The name in the database and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Match => "match",
            Self::Generate => "generate",
            Self::Judge => "judge",
        }
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

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Waits for its turn.
    Queued,
    Running,
    Succeeded,
    /// Ended by an error; see [`JobRecord::failure`].
    Failed,
    Cancelled,
}

impl JobState {
    /// Every state.
    pub const ALL: [Self; 5] =
        [Self::Queued, Self::Running, Self::Succeeded, Self::Failed, Self::Cancelled];

    /// The name in the database and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing more happens by itself.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// A job as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct JobRecord {
    /// Sorts by the time of submission.
    pub id: String,
    pub run_id: String,
    pub request_id: Option<String>,
    pub kind: JobKind,
    /// Whether a [`JobKind::Match`] writes answers.
    pub answers: bool,
    /// As submitted.
    pub spec_json: String,
    pub state: JobState,
    /// Whether a running job was asked to end.
    pub cancel_asked: bool,
    /// Set where the state is [`JobState::Failed`].
    pub failure: Option<JobFailure>,
    pub created: SystemTime,
    /// Its latest start.
    pub started: Option<SystemTime>,
    pub ended: Option<SystemTime>,
    /// Starts so far.
    pub attempts: u32,
    /// Of its latest start.
    pub progress: JobProgress,
    /// Set once a [`JobKind::Match`] succeeded: counts over the whole run.
    pub summary: Option<JobSummary>,
}

/// One page of a list, newest first.
#[derive(Debug, Clone, PartialEq)]
pub struct JobPage {
    pub jobs: Vec<JobRecord>,
    /// Gives the next page; `None` on the last.
    pub next_token: Option<String>,
}
