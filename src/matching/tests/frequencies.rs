//! How often things are drawn, over many fixed seeds, against the computed probabilities.

use std::collections::HashMap;

use super::*;

const SEEDS: u64 = 20_000;

/// How often each sequence of picks was drawn, and the product of its recorded probabilities.
fn sequences(scores: &[f64], config: MatchingConfig) -> HashMap<String, (f64, f64)> {
    let rules = rules(config);
    let mut counts: HashMap<String, (f64, f64)> = HashMap::new();
    for seed in 0..SEEDS {
        let outcome = outcome(candidates(scores), &rules, seed);
        let probability = outcome.picks.iter().filter_map(|pick| pick.probability).product();
        let count = counts.entry(ids(&outcome).join(" ")).or_insert((0.0, probability));
        assert!((count.1 - probability).abs() < 1e-12, "one sequence, one probability");
        count.0 += 1.0;
    }
    counts
}

/// Pearson's statistic over all sequences must stay below `bound`, the 99.9th percentile for
/// their number minus one degrees of freedom.
fn check(counts: &HashMap<String, (f64, f64)>, bound: f64) {
    let total: f64 = counts.values().map(|(_, probability)| probability).sum();
    assert!((total - 1.0).abs() < 1e-9, "probabilities sum to {total}");
    let statistic: f64 = counts
        .values()
        .map(|(count, probability)| {
            let expected = probability * SEEDS as f64;
            (count - expected).powi(2) / expected
        })
        .sum();
    assert!(statistic < bound, "chi-square {statistic} over {counts:?}");
}

fn softmax_of(top_k: usize, top_p: f64, per_image: usize) -> MatchingConfig {
    MatchingConfig { temperature: 0.1, top_k, top_p, per_image, ..MatchingConfig::default() }
}

#[test]
fn softmax_draws_by_its_probabilities() {
    let scores = [0.3, 0.2, 0.1, 0.0];
    let counts = sequences(&scores, softmax_of(8, 1.0, 1));
    let sum: f64 = scores.iter().map(|score| (score / 0.1).exp()).sum();
    for (at, score) in scores.iter().enumerate() {
        let (_, probability) = counts[&format!("c{at}")];
        assert!((probability - (score / 0.1).exp() / sum).abs() < 1e-12);
    }
    check(&counts, 16.27);
}

#[test]
fn softmax_draws_without_replacement_by_its_probabilities() {
    let counts = sequences(&[0.3, 0.25, 0.2, 0.15], softmax_of(8, 1.0, 2));
    assert_eq!(counts.len(), 12);
    check(&counts, 31.26);
}

#[test]
fn top_k_and_top_p_cut_what_is_drawn_from() {
    let scores = [0.3, 0.2, 0.1, 0.0, -0.1];
    // exp(3, 2, 1) over the best three: 0.665, 0.245, 0.090.
    let counts = sequences(&scores, softmax_of(3, 1.0, 1));
    assert_eq!(counts.len(), 3);
    check(&counts, 13.82);
    let counts = sequences(&scores, softmax_of(3, 0.9, 1));
    assert_eq!(counts.len(), 2);
    assert!((counts["c0"].1 - 0.731_058_578_630).abs() < 1e-9);
    check(&counts, 10.83);
    let counts = sequences(&scores, softmax_of(3, 0.5, 1));
    assert_eq!(counts["c0"], (SEEDS as f64, 1.0));
}

/// The nucleus is the smallest set of best ones that reaches `top_p`, at each step anew.
#[test]
fn the_nucleus_is_cut_at_each_step() {
    let counts = sequences(&[0.3, 0.2, 0.1, 0.0], softmax_of(8, 0.5, 2));
    assert_eq!(counts.keys().collect::<Vec<_>>(), ["c0 c1"]);
    let mut probabilities = vec![0.5, 0.25, 0.2, 0.05];
    strategy::nucleus(&mut probabilities, 0.75);
    assert_eq!(probabilities, [0.5 / 0.75, 0.25 / 0.75]);
    for top_p in [0.01, 0.3, 0.5, 0.79, 0.81, 0.96, 1.0] {
        let all = [0.5, 0.3, 0.15, 0.05];
        let mut kept = all.to_vec();
        strategy::nucleus(&mut kept, top_p);
        let mass = |count: usize| all[..count].iter().sum::<f64>();
        assert!(mass(kept.len()) >= top_p - 1e-12 && mass(kept.len() - 1) < top_p);
        assert!((kept.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }
}

#[test]
fn topk_draws_each_of_the_best_equally() {
    let config = MatchingConfig {
        strategy: Strategy::Topk,
        top_k: 4,
        per_image: 2,
        ..MatchingConfig::default()
    };
    let counts = sequences(&[0.9, 0.5, 0.4, 0.3, 0.2, 0.1], config);
    assert_eq!(counts.len(), 12);
    assert!(counts.values().all(|(_, probability)| (probability - 1.0 / 12.0).abs() < 1e-12));
    check(&counts, 31.26);
}

#[test]
fn warm_mmr_draws_by_its_probabilities() {
    let config = MatchingConfig {
        strategy: Strategy::Mmr,
        per_image: 2,
        temperature: 0.3,
        mmr_lambda: 0.6,
        ..MatchingConfig::default()
    };
    let counts = sequences(&[0.5, 0.4, 0.3], config);
    assert_eq!(counts.len(), 6);
    check(&counts, 20.52);
}

/// Extreme scores neither overflow nor draw what has probability 0.
#[test]
fn cold_softmax_takes_the_best() {
    let config = MatchingConfig { temperature: 1e-6, top_p: 1.0, ..MatchingConfig::default() };
    let counts = sequences(&[1.0, -1.0, 0.999], config);
    assert_eq!(counts["c0"], (SEEDS as f64, 1.0));
}

/// Pins the draws themselves: a changed library or algorithm would change every dataset.
#[test]
fn seeds_mean_the_same_for_ever() {
    let mut drawn = String::new();
    for strategy in [Strategy::Topk, Strategy::Softmax, Strategy::Mmr] {
        let config = MatchingConfig { strategy, per_image: 3, ..MatchingConfig::default() };
        let rules = rules(config);
        for seed in [0, 1, u64::MAX] {
            let outcome = outcome(candidates(&[0.5, 0.48, 0.46, 0.44, 0.42]), &rules, seed);
            drawn += &format!("{} {seed}: {}\n", strategy.name(), ids(&outcome).join(" "));
        }
    }
    insta::assert_snapshot!(drawn, @"
    topk 0: c4 c2 c0
    topk 1: c1 c2 c4
    topk 18446744073709551615: c3 c0 c2
    softmax 0: c3 c1 c0
    softmax 1: c1 c0 c4
    softmax 18446744073709551615: c2 c0 c3
    mmr 0: c3 c0 c1
    mmr 1: c1 c4 c3
    mmr 18446744073709551615: c2 c0 c4
    ");
}
