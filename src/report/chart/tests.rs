use super::*;
use crate::report::histogram::Layout;

fn uses(chosen: &[u64]) -> Vec<InstructionUse> {
    let one = |(index, &chosen): (usize, &u64)| InstructionUse {
        id: format!("i{index}"),
        text: format!("Do {index}."),
        category: None,
        chosen,
        accepted: 0,
    };
    chosen.iter().enumerate().map(one).collect()
}

fn ranks(chosen: &[u64]) -> Chart {
    let uses = uses(chosen);
    instruction_ranks(&uses.iter().collect::<Vec<_>>())
}

#[test]
fn two_series_are_compared_by_share() {
    let mut comparison = Comparison::new(Layout::nice(0.0, 0.4, 2));
    for _ in 0..3 {
        comparison.add(0.1, false);
    }
    comparison.add(0.3, true);
    let chart = similarity(&comparison);
    // Candidates: 3 of 4 and 1 of 4; chosen: 1 of 1, which is the top.
    let heights: Vec<f64> = chart.bars.iter().map(|bar| bar.height).collect();
    assert_eq!(heights, [75.0, 25.0, 100.0]);
    assert_eq!(chart.bars[2].tip, "chosen, 0.2 to 0.4: 1");
    assert_eq!(chart.y_ticks.last().map(|tick| tick.label.as_str()), Some("100 %"));
}

#[test]
fn bars_stay_inside_the_plot_and_apart() {
    let mut comparison = Comparison::new(Layout::nice(0.0, 1.0, 20));
    (0..500).for_each(|index| comparison.add(f64::from(index) / 500.0, index % 7 == 0));
    let mut bars = similarity(&comparison).bars;
    bars.sort_by(|a, b| a.x.total_cmp(&b.x));
    for pair in bars.windows(2) {
        assert!(pair[0].x + pair[0].width <= pair[1].x + 1e-9);
    }
    assert!(bars.iter().all(|bar| bar.x >= 0.0 && bar.x + bar.width <= 100.0));
    assert!(bars.iter().all(|bar| bar.height > 0.0 && bar.height <= 100.0));
}

#[test]
fn whole_number_bins_are_named_closed() {
    let words = Histogram::of(Layout::nice_counts(0, 99, 10), [41.0, 42.0, 43.0]);
    let chart = answer_words(&words);
    assert_eq!(chart.rows[4].range, "40 to 49");
    assert_eq!(chart.bars[0].tip, "accepted answers, 40 to 49: 3");
    assert_eq!(chart.summary, "accepted answers: 3 values, mean 42, median 45.");
    let labels: Vec<&str> = chart.y_ticks.iter().map(|tick| tick.label.as_str()).collect();
    assert_eq!(labels, ["0", "1", "2", "3"]);
}

#[test]
fn nothing_to_show_is_no_division_by_zero() {
    let empty = Comparison::new(Layout::nice(f64::INFINITY, f64::NEG_INFINITY, 20));
    let chart = similarity(&empty);
    assert!(chart.bars.is_empty() && chart.y_ticks.is_empty());
    assert_eq!(chart.summary, "all candidates: none. chosen: none.");
    assert_eq!(ranks(&[]).summary, "No instructions.");
    assert!(ranks(&[0, 0]).bars.iter().all(|bar| bar.height == 0.0));
}

#[test]
fn a_large_library_is_drawn_in_groups() {
    let chosen: Vec<u64> = (0..1000).rev().collect();
    let chart = ranks(&chosen);
    assert_eq!(chart.bars.len(), 112);
    assert_eq!(chart.bars[0].tip, "ranks 1 to 9: 995.0 pairs each");
    assert_eq!(chart.bars[111].tip, "1000: Do 999. (0)");
    assert!(chart.summary.ends_with("Each bar is the mean of 9."));
    assert_eq!(ranks(&[4, 2]).bars[1].tip, "2: Do 1. (2)");
}
