//! What the report says about generated instructions: a page of its own, and a section of a run's.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{KeyValue, PromptText, ReportError, StageTime, render};

/// Points of the map at most; more would hide each other.
pub const MAX_POINTS: usize = 3000;

/// Everything the page shows. Counts are of the whole generation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GenerationReport {
    pub title: String,
    pub folder: String,
    /// Program and version that made the page.
    pub generated_with: String,
    /// Sentences shown above all else.
    pub notices: Vec<String>,
    /// The headline numbers.
    pub tiles: Vec<KeyValue>,
    /// What was lost where and why, most frequent first.
    pub losses: Vec<Loss>,
    pub map: ClusterMap,
    /// The clusters, largest first.
    pub clusters: Vec<ClusterFacts>,
    /// The largest cluster's size, the scale of the bars.
    pub largest: u64,
    /// Silhouettes of the numbers of clusters tried; empty when the number was given.
    pub tried: Vec<TriedFacts>,
    /// The seeds, the accepted raw instructions, the library.
    pub sets: Vec<SetFacts>,
    /// Models, settings and hashes.
    pub facts: Vec<KeyValue>,
    pub prompts: Vec<PromptText>,
    pub stages: Vec<StageTime>,
}

/// One reason why something was lost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Loss {
    /// `reply`, `raw` or `final`.
    pub of: String,
    /// The stable snake_case code.
    pub code: String,
    pub count: u64,
    /// Of all of its kind, in percent.
    pub percent: f64,
    /// A few of them: text and reason.
    pub examples: Vec<KeyValue>,
}

/// The instructions on their first two principal components.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ClusterMap {
    pub points: Vec<MapPoint>,
    /// Instructions in all; `points` may be some of them.
    pub total: u64,
    /// Share of the variance that both components carry, in percent.
    pub carried: f64,
}

/// One instruction on the map.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MapPoint {
    /// From the left, 0 to 1000.
    pub x: f64,
    /// From the top, 0 to 600.
    pub y: f64,
    /// Degrees of its cluster's colour on the colour wheel.
    pub hue: u32,
    pub tip: String,
}

/// One cluster and what it came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterFacts {
    pub number: u64,
    pub size: u64,
    pub hue: u32,
    /// Sum of its members' squared distances to the centre.
    pub inertia: f64,
    /// `accepted`, `merged`, or the code of the last refusal.
    pub verdict: String,
    /// Empty when nothing came of it.
    pub text: String,
    /// Why nothing came of it, or into which cluster it was merged.
    pub reason: String,
    /// Members nearest the centre, with the ids of their descriptions.
    pub nearest: Vec<KeyValue>,
}

/// A number of clusters that was tried.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TriedFacts {
    pub k: u64,
    /// In [-1, 1].
    pub silhouette: f64,
    pub inertia: f64,
    pub chosen: bool,
}

/// How varied a set of instructions is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SetFacts {
    pub name: String,
    pub count: u64,
    /// distinct-1, -2 and -3, in [0, 1].
    pub distinct: [f64; 3],
    /// Mean cosine of all pairs; `None` with fewer than two.
    pub similarity: Option<f64>,
    /// Instructions that are no question, in percent.
    pub not_questions: f64,
    pub mean_words: f64,
    /// Different root verbs.
    pub verb_count: u64,
    /// The most frequent root verbs.
    pub verbs: Vec<VerbFacts>,
}

/// A root verb.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VerbFacts {
    pub verb: String,
    pub count: u64,
    /// Of the set, in percent.
    pub percent: f64,
    /// Its most frequent objects with their counts, as a sentence.
    pub objects: String,
}

/// Renders the page and writes it to `path` in one step.
///
/// # Errors
/// As [`super::write`].
pub fn write_generation(data: &GenerationReport, path: &Path) -> Result<(), ReportError> {
    super::file::save_page(&render::render_generation(data)?, path)
}

#[cfg(test)]
mod tests;
