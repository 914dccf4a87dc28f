use proptest::prelude::*;

use super::*;

fn edges(layout: Layout) -> Vec<f64> {
    (0..=layout.bins()).map(|index| (layout.edge(index) * 1e6).round() / 1e6).collect()
}

#[test]
fn edges_are_round_and_cover_the_range() {
    assert_eq!(edges(Layout::nice(0.12, 0.38, 3)), [0.1, 0.2, 0.3, 0.4]);
    assert_eq!(edges(Layout::nice(-0.04, 0.05, 2)), [-0.05, 0.0, 0.05]);
    assert_eq!(edges(Layout::nice(0.2, 0.4, 2)), [0.2, 0.3, 0.4]);
}

#[test]
fn whole_numbers_get_whole_edges() {
    assert_eq!(edges(Layout::nice_counts(0, 3, 10)), [0.0, 1.0, 2.0, 3.0, 4.0]);
    assert_eq!(edges(Layout::nice_counts(7, 7, 10)), [7.0, 8.0]);
    assert_eq!(
        edges(Layout::nice_counts(18, 142, 6)),
        [0.0, 25.0, 50.0, 75.0, 100.0, 125.0, 150.0]
    );
    // A step of 2.5 would put 2 and 3 in bins of different reach.
    assert_eq!(Layout::nice_counts(0, 23, 10).width(), 3.0);
}

#[test]
fn no_range_is_still_a_histogram() {
    let empty = Layout::nice(f64::INFINITY, f64::NEG_INFINITY, 20);
    assert_eq!(edges(empty), [0.0, 1.0]);
    for (min, max) in [(f64::MIN, f64::MAX), (1e17, 1e17), (0.0, 1e-310), (f64::NAN, 1.0)] {
        assert_eq!(Layout::nice(min, max, 20).bins(), 1, "{min} to {max}");
    }
    let single = Histogram::of(Layout::nice(0.3, 0.3, 20), [0.3, 0.3]);
    assert_eq!(single.counts().iter().sum::<u64>(), 2);
}

#[test]
fn values_on_an_edge_belong_to_the_bin_above_but_the_last_is_closed() {
    let layout = Layout::nice(0.0, 0.4, 4);
    let histogram = Histogram::of(layout, [0.0, 0.1, 0.2, 0.3, 0.1 + 0.2, 0.4]);
    assert_eq!(histogram.counts(), [1, 1, 1, 3]);
}

#[test]
fn what_falls_outside_is_counted() {
    let layout = Layout::nice(0.0, 1.0, 2);
    let histogram = Histogram::of(layout, [-3.0, 0.2, 7.0, f64::NAN, f64::INFINITY]);
    assert_eq!((histogram.total(), histogram.outside(), histogram.not_finite()), (3, 2, 2));
    assert_eq!(histogram.mean().map(|mean| (mean * 1e6).round()), Some(1.4e6));
}

#[test]
fn quantiles_read_between_edges() {
    let layout = Layout::nice(0.0, 100.0, 10);
    let histogram = Histogram::of(layout, (0..1000).map(|index| f64::from(index) / 10.0));
    assert!((histogram.quantile(0.5).expect("values") - 50.0).abs() < 1e-9);
    assert!((histogram.quantile(0.9).expect("values") - 90.0).abs() < 1e-9);
    assert_eq!(Histogram::new(layout).quantile(0.5), None);
    assert_eq!(Histogram::new(layout).mean(), None);
    assert_eq!(Histogram::of(layout, [-5.0, -4.0, 3.0]).quantile(0.5), None);
}

#[test]
fn a_comparison_counts_the_chosen_twice() {
    let mut comparison = Comparison::new(Layout::nice(0.0, 1.0, 4));
    comparison.add(0.3, false);
    comparison.add(0.6, true);
    assert_eq!(comparison.candidates().counts().iter().sum::<u64>(), 2);
    assert_eq!(comparison.chosen().counts().iter().sum::<u64>(), 1);
    assert_eq!(comparison.chosen().quantile(1.0), Some(0.75));
}

proptest! {
    #[test]
    fn every_value_lands_once_and_in_its_bin(
        values in prop::collection::vec(-1e3..1e3f64, 1..60),
        wanted in 1usize..40,
    ) {
        let (min, max) = values.iter().fold((f64::MAX, f64::MIN), |(low, high), &value| {
            (low.min(value), high.max(value))
        });
        let layout = Layout::nice(min, max, wanted);
        prop_assert!(layout.bins() <= wanted + 1);
        for &value in &values {
            let one = Histogram::of(layout, [value]);
            let bin = one.counts().iter().position(|&count| count == 1);
            let bin = bin.expect("the layout covers every value");
            let slack = layout.width() * 1e-6;
            prop_assert!(value >= layout.edge(bin) - slack && value <= layout.edge(bin + 1) + slack);
        }
        prop_assert_eq!(Histogram::of(layout, values.iter().copied()).total(), values.len() as u64);
    }

    #[test]
    fn counts_never_share_a_bin_unevenly(min in 0u64..500, span in 0u64..5000, wanted in 1usize..40) {
        let layout = Layout::nice_counts(min, min + span, wanted);
        prop_assert_eq!(layout.width().fract(), 0.0);
        let histogram = Histogram::of(layout, [min as f64, (min + span) as f64]);
        prop_assert_eq!(histogram.outside(), 0);
    }
}
