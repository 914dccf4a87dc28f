use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::progress::Rejected;
use crate::measure::keep::KeepCounts;
use crate::run::Summary;

/// What a job came to: counts over the whole run, earlier jobs of it included.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobSummary {
    /// Photos that are embedded.
    pub photos: u64,
    /// Photos that were refused.
    pub photos_refused: u64,
    pub pairs: u64,
    pub answers_written: u64,
    pub answers_accepted: u64,
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    pub rejected: Vec<Rejected>,
    /// Calls that failed to the end although the LLM was up: another job of the run makes them
    /// again.
    pub failed: Vec<FailedCalls>,
    pub exports: Vec<Export>,
    /// What `export.keep` left out of them.
    #[serde(default)]
    pub keep: KeepCounts,
    pub report: Option<PathBuf>,
    /// Sentences about stand-ins that a reader must not miss.
    pub notices: Vec<String>,
}

/// Failed calls of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedCalls {
    pub code: String,
    pub count: u64,
    /// Of one of them.
    pub reason: String,
}

/// A file that was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Export {
    /// The format: `llava`, `jsonl` or `parquet`.
    pub name: String,
    pub path: PathBuf,
    pub rows: u64,
    /// Size in bytes.
    pub bytes: u64,
    /// 64 hexadecimal digits.
    pub sha256: String,
}

impl JobSummary {
    /// Whether answers are missing that another job of the run may bring.
    pub fn is_partial(&self) -> bool {
        !self.failed.is_empty()
    }
}

impl From<Summary> for JobSummary {
    fn from(summary: Summary) -> Self {
        let failed = |(code, count, reason)| FailedCalls { code, count, reason };
        let export = |row: crate::dataset::store::ExportRow| Export {
            name: row.name,
            path: row.path.into(),
            rows: row.rows,
            bytes: row.bytes,
            sha256: row.sha256,
        };
        Self {
            photos: summary.ready,
            photos_refused: summary.rejected_photos,
            pairs: summary.pairs,
            answers_written: summary.tokens.answers,
            answers_accepted: summary.tokens.accepted,
            prompt_tokens: summary.tokens.prompt_tokens,
            completion_tokens: summary.tokens.completion_tokens,
            rejected: summary.rejections.into_iter().map(Into::into).collect(),
            failed: summary.failures.into_iter().map(failed).collect(),
            exports: summary.exports.into_iter().map(export).collect(),
            keep: summary.keep,
            report: summary.report,
            notices: summary.notices,
        }
    }
}
