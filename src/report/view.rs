//! What the template needs beyond the data: totals, orders, scales and charts.

use serde::Serialize;

use super::chart::{self, Chart};
use super::measures::MeasureView;
use super::{InstructionUse, ReportData, SampleCard, StageTime, TokenFacts};

/// Longest instruction table; beyond it only the counts are told.
const MAX_INSTRUCTION_ROWS: usize = 500;

/// Everything derived from a [`ReportData`].
#[derive(Debug, Serialize)]
pub(super) struct View<'a> {
    pub totals: Totals,
    /// The largest count of the funnel, the scale of its bars.
    pub funnel_scale: u64,
    pub similarity: Chart,
    pub answer_words: Chart,
    pub measures: Vec<MeasureView<'a>>,
    pub uses: UseTable<'a>,
    pub ranks: Chart,
    pub stages: Vec<StageRow<'a>>,
    pub longest_stage: f64,
    pub scores: ScoreScale,
    /// The instructions of the shown samples, for the filter.
    pub instructions: Vec<Choice<'a>>,
}

/// The headline numbers.
#[derive(Debug, Serialize)]
pub(super) struct Totals {
    pub photos: u64,
    pub pairs: u64,
    pub accepted: u64,
    pub rejected: u64,
    pub failed: u64,
    /// Prompt and completion tokens per accepted sample; `None` without one.
    pub tokens_per_sample: Option<f64>,
}

/// The instruction table, most drawn first.
#[derive(Debug, Serialize)]
pub(super) struct UseTable<'a> {
    pub rows: Vec<&'a InstructionUse>,
    pub total: usize,
    pub unused: usize,
    /// All drawn pairs, the whole of which each row is a share.
    pub chosen: u64,
    pub most: u64,
}

/// One stage's time with its rate.
#[derive(Debug, Serialize)]
pub(super) struct StageRow<'a> {
    pub stage: &'a StageTime,
    /// Items per second; `None` for a stage that took no time.
    pub rate: Option<f64>,
}

/// The common scale of all candidate bars, so that cards can be compared.
#[derive(Debug, Serialize)]
pub(super) struct ScoreScale {
    pub low: f64,
    pub high: f64,
    /// Whether any score differs from its similarity.
    pub corrected: bool,
}

/// One entry of the instruction filter.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Choice<'a> {
    pub text: &'a str,
    pub id: &'a str,
}

impl<'a> View<'a> {
    /// Derives the view; `data` is not changed.
    pub fn new(data: &'a ReportData) -> Self {
        let by_use = sorted_by_use(&data.instruction_use);
        Self {
            totals: Totals::new(data),
            funnel_scale: data
                .funnel
                .iter()
                .map(|step| step.input.max(step.output + step.rejected + step.failed))
                .max()
                .unwrap_or(0),
            similarity: chart::similarity(&data.similarity),
            answer_words: chart::answer_words(&data.answer_words),
            measures: data.measures.iter().map(MeasureView::new).collect(),
            ranks: chart::instruction_ranks(&by_use),
            uses: UseTable::new(by_use),
            stages: data.stages.iter().map(StageRow::new).collect(),
            longest_stage: data.stages.iter().map(|stage| stage.seconds).fold(0.0, f64::max),
            scores: ScoreScale::new(&data.samples),
            instructions: choices(&data.samples),
        }
    }
}

impl Totals {
    fn new(data: &ReportData) -> Self {
        Self {
            photos: data.funnel.first().map_or(0, |step| step.input),
            pairs: data.samples_total,
            accepted: data.tokens.accepted,
            rejected: data.rejections.iter().map(|group| group.count).sum(),
            failed: data.failures.iter().map(|group| group.count).sum(),
            tokens_per_sample: tokens_per_sample(&data.tokens),
        }
    }
}

fn tokens_per_sample(tokens: &TokenFacts) -> Option<f64> {
    let all = tokens.prompt + tokens.completion;
    (tokens.accepted > 0).then(|| all as f64 / tokens.accepted as f64)
}

fn sorted_by_use(uses: &[InstructionUse]) -> Vec<&InstructionUse> {
    let mut sorted: Vec<&InstructionUse> = uses.iter().collect();
    sorted.sort_by(|a, b| b.chosen.cmp(&a.chosen).then_with(|| a.id.cmp(&b.id)));
    sorted
}

impl<'a> UseTable<'a> {
    fn new(mut sorted: Vec<&'a InstructionUse>) -> Self {
        let total = sorted.len();
        let unused = sorted.iter().filter(|one| one.chosen == 0).count();
        let chosen = sorted.iter().map(|one| one.chosen).sum();
        let most = sorted.first().map_or(0, |one| one.chosen);
        sorted.truncate(MAX_INSTRUCTION_ROWS);
        Self { rows: sorted, total, unused, chosen, most }
    }
}

impl<'a> StageRow<'a> {
    fn new(stage: &'a StageTime) -> Self {
        let rate = (stage.seconds > 0.0).then(|| stage.items as f64 / stage.seconds);
        Self { stage, rate }
    }
}

impl ScoreScale {
    fn new(samples: &[SampleCard]) -> Self {
        let candidates = || samples.iter().flat_map(|sample| &sample.candidates);
        let scores = candidates().map(|one| one.score).filter(|score| score.is_finite());
        let (low, high) = scores.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), score| {
            (low.min(score), high.max(score))
        });
        // Scores are rounded to six decimals where they are recorded.
        let corrected = candidates().any(|one| (one.score - one.similarity).abs() > 1e-5);
        Self { low, high, corrected }
    }
}

fn choices(samples: &[SampleCard]) -> Vec<Choice<'_>> {
    let mut choices: Vec<Choice<'_>> = samples
        .iter()
        .map(|sample| Choice { text: &sample.instruction, id: &sample.instruction_id })
        .collect();
    choices.sort();
    choices.dedup();
    choices
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn totals_come_from_the_whole_run() {
        let data = fixture::small();
        let totals = View::new(&data).totals;
        assert_eq!((totals.photos, totals.pairs, totals.accepted), (5, 4, 2));
        assert_eq!((totals.rejected, totals.failed), (2, 1));
        assert_eq!(totals.tokens_per_sample, Some(800.0));
    }

    #[test]
    fn instructions_are_ordered_by_use_and_cut() {
        let mut data = fixture::small();
        let unused = data.instruction_use[2].clone();
        data.instruction_use.extend(std::iter::repeat_n(unused, 800));
        let uses = View::new(&data).uses;
        assert_eq!((uses.rows.len(), uses.total, uses.unused), (500, 803, 801));
        assert_eq!((uses.rows[0].id.as_str(), uses.most, uses.chosen), ("poem", 3, 4));
    }

    #[test]
    fn the_score_scale_spans_all_cards() {
        let data = fixture::small();
        let scores = View::new(&data).scores;
        assert_eq!((scores.low, scores.high, scores.corrected), (-0.04, 0.31, true));
    }

    #[test]
    fn the_filter_offers_each_instruction_once() {
        let data = fixture::small();
        let view = View::new(&data);
        let ids: Vec<&str> = view.instructions.iter().map(|choice| choice.id).collect();
        assert_eq!(ids, ["menu", "poem"]);
    }

    #[test]
    fn rates_need_time() {
        let mut data = fixture::small();
        data.stages[0].seconds = 0.0;
        let view = View::new(&data);
        assert_eq!(view.stages[0].rate, None);
        assert_eq!(view.stages[1].rate, Some(0.5));
    }
}
