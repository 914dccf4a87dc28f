//! What a run tells its caller while it works, and how a caller slows it down.

use strum::IntoStaticStr;

use super::BackendDown;
use crate::llm::Spending;

/// A stage as the user sees it.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
    IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Phase {
    Source,
    Embed,
    Describe,
    Match,
    Answer,
    Export,
    Judge,
    Augment,
    Cluster,
    #[strum(serialize = "summarise")]
    Summarize,
}

impl Phase {
    /// The name shown to the user and kept with the stage's time.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Receives a run's progress; called from several threads.
pub trait Progress: Send + Sync {
    /// A phase knows how many items it will work, or knows better than before.
    fn expect(&self, phase: Phase, total: u64);
    /// `items` more were worked.
    fn advance(&self, phase: Phase, items: u64);
    /// A phase ended.
    fn finish(&self, phase: Phase);
    /// The answers wait for the LLM backend, or (`None`) go on.
    fn paused(&self, _: Option<&BackendDown>) {}
    /// What the LLM calls of the whole folder have spent, after some were kept.
    fn spent(&self, _: &Spending) {}
}

/// Lets work go first that somebody waits for.
pub trait Throttle: Send + Sync {
    /// Runs `work` once, as soon as it may; called from several threads.
    fn with(&self, work: &mut dyn FnMut());
}

/// Tells nobody.
pub struct Silent;

impl Progress for Silent {
    fn expect(&self, _: Phase, _: u64) {}
    fn advance(&self, _: Phase, _: u64) {}
    fn finish(&self, _: Phase) {}
}
