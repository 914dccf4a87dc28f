//! The run's `report.html`: one page that holds everything it shows.
//!
//! The caller collects [`ReportData`] from the run's database, with a bounded set of samples, and
//! this module turns it into HTML. The page loads nothing: styles, script, charts (inline SVG) and
//! photos (data URIs) are inside it, a content security policy forbids the rest, and every value
//! from the run is escaped.

pub mod card;
mod chart;
mod data;
mod error;
mod file;
mod format;
mod generation;
pub mod histogram;
mod measures;
mod render;
mod scale;
mod thumbnail;
mod view;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;

pub use data::{
    Attempt, Candidate, EncoderFacts, Example, ExportFile, FailureGroup, FunnelStep, Hub,
    InstructionUse, KeyValue, LlmFacts, MatchingFacts, ModelFile, PromptText, RejectionGroup,
    ReportData, RunFacts, SampleCard, Section, StageTime, TokenFacts, Verdict,
};
pub use error::ReportError;
pub use file::write;
pub use generation::{
    ClusterFacts, ClusterMap, GenerationReport, Loss, MAX_POINTS, MapPoint, SetFacts, TriedFacts,
    VerbFacts, write_generation,
};
pub use measures::{EdgeSample, MeasureReport, MeasuredValues, ThresholdReport};
pub use render::render;
pub use thumbnail::Thumbnail;
