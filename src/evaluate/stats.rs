//! The statistics of an evaluation: pure functions.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The normal quantile of a 95 % interval.
const Z95: f64 = 1.959_963_984_540_054;

/// A share with its 95 % Wilson score interval, all in [0, 1]. Without observations it is
/// 0 with the interval [0, 1]: nothing is known.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Share {
    pub count: u64,
    pub of: u64,
    pub value: f64,
    pub low: f64,
    pub high: f64,
}

impl Share {
    /// `count` of `of`; `count` is at most `of`.
    pub fn new(count: u64, of: u64) -> Self {
        if of == 0 {
            return Self { count, of, value: 0.0, low: 0.0, high: 1.0 };
        }
        let (n, p) = (of as f64, count as f64 / of as f64);
        let z2 = Z95 * Z95;
        let centre = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
        let half = Z95 / (1.0 + z2 / n) * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
        Self { count, of, value: p, low: (centre - half).max(0.0), high: (centre + half).min(1.0) }
    }
}

/// `12/99 12.1 % [7.1, 20.0]`: count, share and interval.
impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |value: f64| format!("{:.1}", 100.0 * value);
        let Self { count, of, value, low, high } = *self;
        write!(f, "{count}/{of} {} % [{}, {}]", percent(value), percent(low), percent(high))
    }
}

/// A p-value for people, such as `p = 0.2500` or `p = 3.2e-30`.
pub(super) fn p_value(p: f64) -> String {
    if p < 1e-4 { format!("p = {p:.1e}") } else { format!("p = {p:.4}") }
}

/// Two-sided exact sign test: how likely a fair coin gives a split at least this uneven, in (0, 1].
/// 1 without observations.
pub fn sign_test(one: u64, other: u64) -> f64 {
    let (n, least) = (one + other, one.min(other));
    // ln of C(n, i) / 2^n, which stays in range where the numbers themselves do not.
    let mut term = -(n as f64) * std::f64::consts::LN_2;
    let mut tail = term.exp();
    for i in 0..least {
        term += ((n - i) as f64).ln() - ((i + 1) as f64).ln();
        tail += term.exp();
    }
    (2.0 * tail).min(1.0)
}

/// Agreement of two raters beyond chance.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Kappa {
    /// Share of items with the same category.
    pub observed: f64,
    /// Share expected of raters that answer independently with their own frequencies.
    pub expected: f64,
    /// Cohen's kappa, at most 1. None where chance alone agrees fully, so that it is undefined.
    pub kappa: Option<f64>,
}

/// Cohen's kappa of a table `counts[first rater][second rater]`. None without items.
pub fn cohens_kappa<const K: usize>(counts: &[[u64; K]; K]) -> Option<Kappa> {
    let total: u64 = counts.iter().flatten().sum();
    if total == 0 {
        return None;
    }
    let n = total as f64;
    let observed = (0..K).map(|k| counts[k][k]).sum::<u64>() as f64 / n;
    let row = |k: usize| counts[k].iter().sum::<u64>() as f64 / n;
    let column = |k: usize| counts.iter().map(|row| row[k]).sum::<u64>() as f64 / n;
    let expected: f64 = (0..K).map(|k| row(k) * column(k)).sum();
    let kappa = (expected < 1.0).then(|| (observed - expected) / (1.0 - expected));
    Some(Kappa { observed, expected, kappa })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
    }

    /// Numbers of `scipy.stats.binomtest`: see `tests/golden/make_evaluation.py`.
    #[derive(serde::Deserialize)]
    struct Golden {
        wilson: Vec<(u64, u64, f64, f64)>,
        sign: Vec<(u64, u64, f64)>,
    }

    fn golden() -> Golden {
        let text = include_str!("../../tests/golden/evaluation.json");
        serde_json::from_str(text).expect("the golden file")
    }

    #[test]
    fn wilson_agrees_with_scipy() {
        let cases = golden().wilson;
        assert_eq!(cases.len(), 7);
        for (count, of, low, high) in cases {
            let share = Share::new(count, of);
            near(share.low, low);
            near(share.high, high);
        }
        let nothing = Share::new(0, 0);
        assert_eq!((nothing.value, nothing.low, nothing.high), (0.0, 0.0, 1.0));
    }

    #[test]
    fn the_sign_test_agrees_with_scipy() {
        let cases = golden().sign;
        assert_eq!(cases.len(), 8);
        for (one, other, p) in cases {
            let found = sign_test(one, other);
            assert!((found / p - 1.0).abs() < 1e-9, "{one}:{other} gives {found}, not {p}");
            assert_eq!(found, sign_test(other, one));
        }
        assert_eq!(sign_test(0, 0), 1.0);
    }

    /// The worked example of Cohen's kappa with 50 items: 0.4.
    #[test]
    fn kappa_is_cohen_s() {
        let kappa = cohens_kappa(&[[20, 5], [10, 15]]).expect("items");
        near(kappa.observed, 0.7);
        near(kappa.expected, 0.5);
        near(kappa.kappa.expect("defined"), 0.4);
        assert_eq!(cohens_kappa(&[[0; 3]; 3]), None);
        assert_eq!(cohens_kappa(&[[9, 0], [0, 0]]).expect("items").kappa, None);
    }

    #[test]
    fn numbers_are_shown_with_their_certainty() {
        assert_eq!(Share::new(12, 99).to_string(), "12/99 12.1 % [7.1, 20.0]");
        assert_eq!(
            (p_value(0.25).as_str(), p_value(3.2e-30).as_str()),
            ("p = 0.2500", "p = 3.2e-30")
        );
    }

    proptest! {
        #[test]
        fn an_interval_holds_its_share(count in 0u64..5000, more in 0u64..5000) {
            let share = Share::new(count, count + more);
            prop_assert!(share.low <= share.value + 1e-12 && share.value <= share.high + 1e-12);
            prop_assert!((0.0..=1.0).contains(&share.low) && (0.0..=1.0).contains(&share.high));
        }

        #[test]
        fn a_p_value_is_a_probability(one in 0u64..20_000, other in 0u64..20_000) {
            let p = sign_test(one, other);
            prop_assert!((0.0..=1.0).contains(&p), "{p}");
        }
    }
}
