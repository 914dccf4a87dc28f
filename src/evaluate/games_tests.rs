use super::super::question::QuestionId;
use super::super::results::Side;
use super::super::rule::Consistency;
use super::*;

fn verdict(outcome: Outcome) -> QuestionResult {
    QuestionResult {
        question_id: QuestionId::Number(0),
        image: String::new(),
        instruction: String::new(),
        caption: String::new(),
        category: String::new(),
        first_answer: String::new(),
        second_answer: String::new(),
        first_words: 0,
        second_words: 0,
        forward: Side::default(),
        backward: Side::default(),
        forfeit: false,
        consistency: Consistency::Agreed,
        strict: outcome,
        paper: outcome,
    }
}

fn games(pairs: &[(usize, usize)], outcomes: &[&[Outcome]]) -> Games {
    let verdicts = outcomes.iter().map(|row| row.iter().copied().map(verdict).collect()).collect();
    let players = pairs.iter().map(|(one, other)| one.max(other) + 1).max().unwrap_or(0);
    Games { pairs: pairs.to_vec(), verdicts, players, rule: Rule::Strict }
}

const WON: Outcome = Outcome::First;
const LOST: Outcome = Outcome::Second;

#[test]
fn intervals_are_seeded_and_hold_the_strength() {
    let row = [WON, WON, LOST, WON, Outcome::Tie, WON, LOST, WON];
    let games = games(&[(0, 1)], &[&row]);
    let every: Vec<usize> = (0..row.len()).collect();
    let intervals = |seed| games.intervals(seed, 200, &every).expect("drawn");
    let first = intervals(1).expect("asked for");
    assert_eq!(Some(&first), intervals(1).as_ref());
    assert_ne!(Some(&first), intervals(2).as_ref());
    let strength = games.fit(&every).expect("fits").strengths[0];
    assert!(first[0].0 < strength && strength < first[0].1, "{strength} in {first:?}");
    assert_eq!(games.intervals(1, 0, &every).expect("none"), None);
}

#[test]
fn unread_and_missing_questions_are_no_games() {
    let row = [WON, LOST, Outcome::Unparsed, Outcome::Missing];
    let fit = games(&[(0, 1)], &[&row]).fit(&[0, 1, 2, 3]).expect("fits");
    assert_eq!((fit.strengths, fit.smoothed), (vec![0.0, 0.0], false));
    let none = games(&[(0, 1)], &[&[Outcome::Missing]]);
    let error = none.fit(&[0]).err().expect("nobody met").to_string();
    assert!(error.contains("do not link all models"), "{error}");
}

#[test]
fn a_clean_sweep_is_smoothed_and_said() {
    let fit = games(&[(0, 1)], &[&[WON, WON]]).fit(&[0, 1]).expect("fits");
    assert!(fit.smoothed);
    // 2.5 wins to 0.5.
    assert!((fit.strengths[0] - fit.strengths[1] - 5.0f64.ln()).abs() < 1e-9);
}

#[test]
fn percentiles_are_interpolated() {
    let (low, high) = middle_95((0..=100).map(f64::from).collect());
    assert!((low - 2.5).abs() < 1e-12 && (high - 97.5).abs() < 1e-12, "{low} {high}");
}
