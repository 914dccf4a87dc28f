//! What measures say of the accepted samples, and where thresholds cut.

use serde::Serialize;

use super::Thumbnail;
use super::chart::{self, Chart};
use super::histogram::Histogram;

/// A measure, or a field that a threshold looks at.
#[derive(Debug, Clone, Serialize)]
pub struct MeasureReport {
    pub name: String,
    /// What its values say, in a few words with their range; empty for a field, whose name says it.
    pub meaning: String,
    /// Accepted samples, with and without a value.
    pub samples: u64,
    /// Those without a value.
    pub missing: u64,
    pub values: MeasuredValues,
    pub thresholds: Vec<ThresholdReport>,
}

/// The values of all samples.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kind", content = "of", rename_all = "snake_case")]
pub enum MeasuredValues {
    Numbers(Histogram),
    /// Each word with its count, most frequent first.
    Words(Vec<(String, u64)>),
}

/// An expression of `export.keep`.
#[derive(Debug, Clone, Serialize)]
pub struct ThresholdReport {
    pub expression: String,
    /// Where it cuts the chart; `None` for `==`, `!=` and words.
    pub cut: Option<f64>,
    /// Samples that it leaves out, and those that no other expression leaves out.
    pub left_out: u64,
    pub alone: u64,
    /// The samples nearest to the cut on both sides, by value.
    pub edge: Vec<EdgeSample>,
}

/// A sample near a cut.
#[derive(Debug, Clone, Serialize)]
pub struct EdgeSample {
    pub id: String,
    pub value: f64,
    /// Whether the expression lets it pass.
    pub passes: bool,
    /// `None` when the photo is no longer there.
    pub thumbnail: Option<Thumbnail>,
    /// In pixels, after EXIF orientation.
    pub width: u32,
    /// In pixels, after EXIF orientation.
    pub height: u32,
    pub description: String,
    pub instruction: String,
    pub answer: String,
}

/// A measure as the template draws it.
#[derive(Debug, Serialize)]
pub(super) struct MeasureView<'a> {
    pub data: &'a MeasureReport,
    /// Of numbers.
    pub chart: Option<Chart>,
    /// Of words: all values that are words.
    pub words: u64,
}

impl<'a> MeasureView<'a> {
    pub fn new(data: &'a MeasureReport) -> Self {
        // The name stands above the chart, and narrow screens have no room for it at the line.
        let short = |expression: &'a str| {
            expression.strip_prefix(&*data.name).unwrap_or(expression).trim_start()
        };
        let cuts = data.thresholds.iter();
        let cuts: Vec<_> =
            cuts.filter_map(|one| Some((one.cut?, short(&one.expression)))).collect();
        let (chart, words) = match &data.values {
            MeasuredValues::Numbers(histogram) => (Some(chart::measure(histogram, &cuts)), 0),
            MeasuredValues::Words(_) => (None, data.samples - data.missing),
        };
        Self { data, chart, words }
    }
}
