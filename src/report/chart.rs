//! Charts as the template draws them: every position a percentage of the plot.

use serde::Serialize;

use super::InstructionUse;
use super::format::{count, fixed};
use super::histogram::{Comparison, Histogram};
use super::scale::{label, nice_step, ticks};

/// More bars than this would be thinner than a pixel on a phone.
const MAX_RANK_BARS: usize = 120;
/// Share of a bin that bars fill; the rest sets bins apart.
const FILL: f64 = 0.84;

/// A bar chart.
#[derive(Debug, Serialize)]
pub(super) struct Chart {
    pub bars: Vec<Bar>,
    pub x_ticks: Vec<Tick>,
    pub y_ticks: Vec<Tick>,
    /// Lines from floor to top.
    pub marks: Vec<Tick>,
    /// The chart in a sentence, for readers who do not see it.
    pub summary: String,
    pub series: Vec<Series>,
    /// The same numbers, for the table below the chart.
    pub rows: Vec<Row>,
}

/// One bar; `x` and `width` run from the left, `height` from the floor, in percent.
#[derive(Debug, Serialize)]
pub(super) struct Bar {
    pub x: f64,
    pub width: f64,
    pub height: f64,
    pub colour: usize,
    pub tip: String,
}

/// A mark on an axis, `at` percent from the left or the floor.
#[derive(Debug, Serialize)]
pub(super) struct Tick {
    pub at: f64,
    pub label: String,
}

/// A named set of bars.
#[derive(Debug, Serialize)]
pub(super) struct Series {
    pub name: String,
    pub colour: usize,
    /// Size, mean and median as a sentence.
    pub facts: String,
}

/// One bin in words.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub range: String,
    pub counts: Vec<u64>,
}

/// Similarity of all candidates beside the chosen ones, each as a share of its own total: the
/// candidates are many times as many.
pub(super) fn similarity(comparison: &Comparison) -> Chart {
    let series = [("all candidates", comparison.candidates()), ("chosen", comparison.chosen())];
    histogram(&series, 3)
}

/// Length of the accepted answers.
pub(super) fn answer_words(words: &Histogram) -> Chart {
    histogram(&[("accepted answers", words)], 0)
}

/// Values of a measure, with the thresholds that cut them: each place with its name.
pub(super) fn measure(values: &Histogram, cuts: &[(f64, &str)]) -> Chart {
    let layout = values.layout();
    let (low, high) = (layout.edge(0), layout.edge(layout.bins()));
    let digits = if layout.width().fract() == 0.0 { 1 } else { 3 };
    let mut chart = histogram(&[("accepted samples", values)], digits);
    let mark = |(cut, name): &(f64, &str)| {
        let at = (100.0 * (cut - low) / (high - low)).clamp(0.0, 100.0);
        Tick { at, label: (*name).to_owned() }
    };
    chart.marks = cuts.iter().map(mark).collect();
    for (_, name) in cuts {
        chart.summary += &format!(" Threshold: {name}.");
    }
    chart
}

fn histogram(series: &[(&str, &Histogram)], digits: usize) -> Chart {
    let shares = series.len() > 1;
    let height = |histogram: &Histogram, count: u64| match (shares, histogram.total()) {
        (true, 0) => 0.0,
        (true, total) => 100.0 * count as f64 / total as f64,
        (false, _) => count as f64,
    };
    let heights: Vec<Vec<f64>> = series
        .iter()
        .map(|(_, histogram)| histogram.counts().iter().map(|&n| height(histogram, n)).collect())
        .collect();
    let top = heights.iter().flatten().copied().fold(0.0, f64::max);
    let facts = |(index, (name, histogram)): (usize, &(&str, &Histogram))| Series {
        name: (*name).to_owned(),
        colour: colour(index, series.len()),
        facts: facts(histogram, digits),
    };
    let series_facts: Vec<Series> = series.iter().enumerate().map(facts).collect();
    let sentences = series_facts.iter().map(|s| format!("{}: {}.", s.name, s.facts));
    Chart {
        summary: sentences.collect::<Vec<_>>().join(" "),
        bars: grouped_bars(series, &heights, top),
        x_ticks: x_ticks(series[0].1),
        y_ticks: y_ticks(top, if shares { " %" } else { "" }),
        marks: Vec::new(),
        rows: rows(series),
        series: series_facts,
    }
}

fn facts(histogram: &Histogram, digits: usize) -> String {
    let Some(mean) = histogram.mean() else {
        return "none".to_owned();
    };
    let median = histogram
        .quantile(0.5)
        .map_or(String::new(), |median| format!(", median {}", fixed(median, digits)));
    let outside = match histogram.outside() + histogram.not_finite() {
        0 => String::new(),
        lost => format!(", {} outside the chart", count(lost)),
    };
    format!("{} values, mean {}{median}{outside}", count(histogram.total()), fixed(mean, digits))
}

/// Colours mean the same in every chart: 0 is what was considered, 1 what came of it.
fn colour(index: usize, series: usize) -> usize {
    index + usize::from(series == 1)
}

fn grouped_bars(series: &[(&str, &Histogram)], heights: &[Vec<f64>], top: f64) -> Vec<Bar> {
    let layout = series[0].1.layout();
    let bin = 100.0 / layout.bins() as f64;
    let width = bin * FILL / series.len() as f64;
    let mut bars = Vec::new();
    for (index, (name, histogram)) in series.iter().enumerate() {
        for (place, &count) in histogram.counts().iter().enumerate().filter(|(_, n)| **n > 0) {
            bars.push(Bar {
                x: bin * (place as f64 + (1.0 - FILL) / 2.0) + width * index as f64,
                width,
                height: 100.0 * heights[index][place] / top,
                colour: colour(index, series.len()),
                tip: format!("{name}, {}: {count}", range(histogram, place)),
            });
        }
    }
    bars
}

fn range(histogram: &Histogram, bin: usize) -> String {
    let (layout, edge) = (histogram.layout(), |index| {
        label(histogram.layout().edge(index), histogram.layout().width())
    });
    let last_whole = layout.edge(bin + 1) - 1.0;
    match layout.width() {
        // Bins of whole numbers read better closed: "40 to 49".
        1.0 => edge(bin),
        width if width > 1.0 && width.fract() == 0.0 => {
            format!("{} to {}", edge(bin), label(last_whole, width))
        }
        _ => format!("{} to {}", edge(bin), edge(bin + 1)),
    }
}

fn rows(series: &[(&str, &Histogram)]) -> Vec<Row> {
    let counts = |bin: usize| series.iter().map(|(_, histogram)| histogram.counts()[bin]).collect();
    let first = series[0].1;
    (0..first.layout().bins())
        .map(|bin| Row { range: range(first, bin), counts: counts(bin) })
        .collect()
}

fn x_ticks(histogram: &Histogram) -> Vec<Tick> {
    let layout = histogram.layout();
    let (low, high) = (layout.edge(0), layout.edge(layout.bins()));
    let step = nice_step((high - low) / 5.0);
    let tick = |value| Tick { at: 100.0 * (value - low) / (high - low), label: label(value, step) };
    ticks(low, high, 5).into_iter().map(tick).collect()
}

fn y_ticks(top: f64, unit: &str) -> Vec<Tick> {
    if top <= 0.0 {
        return Vec::new();
    }
    // Half a pair does not exist: counts below four have a tick each.
    let wanted = if unit.is_empty() { top.clamp(1.0, 4.0) as usize } else { 4 };
    let step = nice_step(top / wanted as f64);
    let name = |value: f64| match unit {
        "" => count(value.round() as u64),
        _ => format!("{}{unit}", label(value, step)),
    };
    let tick = |value| Tick { at: 100.0 * value / top, label: name(value) };
    ticks(0.0, top, wanted).into_iter().map(tick).collect()
}

/// Pairs per instruction, most drawn first (`uses` comes in that order). Beyond
/// [`MAX_RANK_BARS`] instructions a bar stands for several, at their mean.
pub(super) fn instruction_ranks(uses: &[&InstructionUse]) -> Chart {
    let group = uses.len().div_ceil(MAX_RANK_BARS).max(1);
    let groups: Vec<&[&InstructionUse]> = uses.chunks(group).collect();
    let means: Vec<f64> = groups.iter().map(|group| mean_use(group)).collect();
    let top = means.iter().copied().fold(0.0, f64::max);
    let bin = 100.0 / groups.len().max(1) as f64;
    let bar = |(index, members): (usize, &&[&InstructionUse])| Bar {
        x: bin * (index as f64 + (1.0 - FILL) / 2.0),
        width: bin * FILL,
        height: if top > 0.0 { 100.0 * means[index] / top } else { 0.0 },
        colour: 1,
        tip: rank_tip(members, index * group + 1, means[index]),
    };
    Chart {
        bars: groups.iter().enumerate().map(bar).collect(),
        x_ticks: Vec::new(),
        y_ticks: y_ticks(top, ""),
        marks: Vec::new(),
        summary: rank_summary(uses, group),
        series: Vec::new(),
        rows: Vec::new(),
    }
}

fn mean_use(group: &[&InstructionUse]) -> f64 {
    group.iter().map(|one| one.chosen).sum::<u64>() as f64 / group.len() as f64
}

fn rank_tip(group: &[&InstructionUse], rank: usize, mean: f64) -> String {
    match group {
        [one] => format!("{}: {} ({})", rank, one.text, one.chosen),
        _ => format!("ranks {rank} to {}: {mean:.1} pairs each", rank + group.len() - 1),
    }
}

fn rank_summary(uses: &[&InstructionUse], group: usize) -> String {
    let (Some(first), Some(last)) = (uses.first(), uses.last()) else {
        return "No instructions.".to_owned();
    };
    let bars = if group > 1 { format!(" Each bar is the mean of {group}.") } else { String::new() };
    let (most, least) = (count(first.chosen), count(last.chosen));
    format!("Pairs per instruction, most drawn first: from {most} to {least}.{bars}")
}

#[cfg(test)]
mod tests;
