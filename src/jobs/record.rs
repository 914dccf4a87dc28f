//! What is known of a job.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use super::{JobFailure, JobKind, JobProgress, JobSummary};

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
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
        self.into()
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
