use proptest::prelude::*;

use super::*;

/// Strengths by NumPy and SciPy: see `tests/golden/make_evaluation.py`.
#[derive(serde::Deserialize)]
struct Golden {
    ranking: Vec<Case>,
}

#[derive(serde::Deserialize)]
struct Case {
    wins: Vec<Vec<f64>>,
    strengths: Vec<f64>,
}

fn wins(table: &[Vec<f64>]) -> Wins {
    Wins { size: table.len(), counts: table.concat() }
}

#[test]
fn strengths_agree_with_scipy_within_a_millionth() {
    let text = include_str!("../../tests/golden/evaluation.json");
    let golden: Golden = serde_json::from_str(text).expect("the golden file");
    assert_eq!(golden.ranking.len(), 7);
    let mut worst = 0.0f64;
    for case in golden.ranking {
        let found = strengths(&wins(&case.wins)).expect("estimable");
        for (found, expected) in found.iter().zip(&case.strengths) {
            worst = worst.max((found - expected).abs());
        }
    }
    println!("largest difference from SciPy: {worst:.1e}");
    assert!(worst < 1e-6, "{worst}");
}

#[test]
fn two_players_have_the_odds_of_their_wins() {
    let found = strengths(&wins(&[vec![0.0, 7.0], vec![3.0, 0.0]])).expect("estimable");
    assert!((found[0] - found[1] - (7.0f64 / 3.0).ln()).abs() < 1e-12);
    assert!((found[0] + found[1]).abs() < 1e-12);
}

#[test]
fn who_won_everything_has_no_finite_strength() {
    let mut swept = Wins::new(3);
    swept.add(0, 1, 1.0);
    swept.add(0, 2, 1.0);
    swept.add(1, 2, 0.5);
    assert!(swept.is_connected() && !swept.is_estimable());
    assert_eq!(strengths(&swept), None);
    let found = strengths(&swept.smoothed()).expect("smoothed");
    assert!(found[0] > found[1] && (found[1] - found[2]).abs() < 1e-9, "{found:?}");
}

#[test]
fn groups_that_never_met_cannot_be_ranked() {
    let mut apart = Wins::new(4);
    apart.add(0, 1, 0.5);
    apart.add(2, 3, 0.5);
    assert!(!apart.is_connected());
    assert_eq!(strengths(&apart.smoothed()), None);
}

proptest! {
    /// At the top of the likelihood everybody wins as often as expected.
    #[test]
    fn expected_wins_are_the_wins(counts in proptest::collection::vec(1u32..200, 12)) {
        let mut games = Wins::new(4);
        for (index, count) in counts.iter().enumerate() {
            let (one, other) = (index / 3, (index / 3 + 1 + index % 3) % 4);
            games.counts[one * 4 + other] = f64::from(*count);
        }
        let found = strengths(&games).expect("everyone won against everyone");
        for one in 0..4 {
            let others = (0..4).filter(|other| *other != one);
            let (mut won, mut expected) = (0.0, 0.0);
            for other in others {
                won += games.of(one, other);
                expected += games.games(one, other) / (1.0 + (found[other] - found[one]).exp());
            }
            prop_assert!((won - expected).abs() < 1e-6, "{won} {expected}");
        }
    }
}
