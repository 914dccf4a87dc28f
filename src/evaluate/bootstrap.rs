//! Games between models, their strengths and how sure those are.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::base::hash;

use super::bradley_terry::{Wins, strengths};
use super::error::EvaluationError;
use super::rule::{Outcome, Rule};
use super::tally::QuestionResult;

/// Every question of every pair that was judged.
pub struct Games {
    pub pairs: Vec<(usize, usize)>,
    /// For each pair, its questions in order.
    pub verdicts: Vec<Vec<QuestionResult>>,
    pub players: usize,
    pub rule: Rule,
}

impl Games {
    /// Wins over the questions numbered `chosen`, each as often as it stands there.
    fn wins(&self, chosen: &[usize]) -> Wins {
        let mut wins = Wins::new(self.players);
        for ((one, other), verdicts) in self.pairs.iter().zip(&self.verdicts) {
            for question in chosen {
                match verdicts[*question].outcome(self.rule) {
                    Outcome::First => wins.add(*one, *other, 1.0),
                    Outcome::Tie => wins.add(*one, *other, 0.5),
                    Outcome::Second => wins.add(*one, *other, 0.0),
                    Outcome::Unparsed | Outcome::Missing => {}
                }
            }
        }
        wins
    }

    /// Strengths over the questions numbered `chosen`.
    ///
    /// # Errors
    /// [`EvaluationError::Ranking`] where the games do not link all models.
    pub fn fit(&self, chosen: &[usize]) -> Result<Fit, EvaluationError> {
        let wins = self.wins(chosen);
        fit(&wins).ok_or_else(|| EvaluationError::Ranking {
            message: "the judged questions do not link all models; judge the missing ones first"
                .to_owned(),
        })
    }

    /// Percentiles over resamplings of the questions: a question stays whole, since the same
    /// question is no independent draw for each pair. Resamplings that do not link all models are left out.
    pub fn intervals(
        &self,
        seed: u64,
        draws: u32,
        every: &[usize],
    ) -> Result<Option<Vec<(f64, f64)>>, EvaluationError> {
        if draws == 0 {
            return Ok(None);
        }
        let mut random = ChaCha8Rng::seed_from_u64(hash::seed(seed, &["bootstrap"]));
        let mut drawn: Vec<Vec<f64>> = vec![Vec::new(); self.players];
        for _ in 0..draws {
            let chosen: Vec<usize> =
                every.iter().map(|_| random.random_range(0..every.len())).collect();
            if let Some(fit) = fit(&self.wins(&chosen)) {
                drawn.iter_mut().zip(fit.strengths).for_each(|(all, one)| all.push(one));
            }
        }
        if drawn.iter().any(Vec::is_empty) {
            let message = "no resampling of the questions links all models".to_owned();
            return Err(EvaluationError::Ranking { message });
        }
        Ok(Some(drawn.into_iter().map(middle_95).collect()))
    }

    /// Wins, ties and losses of a player.
    pub fn record(&self, player: usize) -> (u64, u64, u64) {
        let (mut wins, mut ties, mut losses) = (0, 0, 0);
        for ((one, other), verdicts) in self.pairs.iter().zip(&self.verdicts) {
            for verdict in verdicts {
                match verdict.outcome(self.rule) {
                    Outcome::Tie if player == *one || player == *other => ties += 1,
                    Outcome::First if player == *one => wins += 1,
                    Outcome::First if player == *other => losses += 1,
                    Outcome::Second if player == *other => wins += 1,
                    Outcome::Second if player == *one => losses += 1,
                    _ => {}
                }
            }
        }
        (wins, ties, losses)
    }
}

/// Strengths, and how they were got.
pub struct Fit {
    pub strengths: Vec<f64>,
    /// Half a win each way was added to every pair that met.
    pub smoothed: bool,
}

/// Strengths, smoothed where they would be infinite; none where the games link nobody.
fn fit(wins: &Wins) -> Option<Fit> {
    if !wins.is_connected() {
        return None;
    }
    match strengths(wins) {
        Some(strengths) => Some(Fit { strengths, smoothed: false }),
        None => Some(Fit { strengths: strengths(&wins.smoothed())?, smoothed: true }),
    }
}

/// The 2.5th and the 97.5th percentile, interpolated between neighbours.
fn middle_95(mut values: Vec<f64>) -> (f64, f64) {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let place = share * (values.len() - 1) as f64;
        let (low, high) = (place.floor() as usize, place.ceil() as usize);
        values[low] + (values[high] - values[low]) * (place - place.floor())
    };
    (at(0.025), at(0.975))
}

#[cfg(test)]
mod tests {
    use super::super::question::QuestionId;
    use super::super::rule::Consistency;
    use super::super::tally::Side;
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
        let verdicts =
            outcomes.iter().map(|row| row.iter().copied().map(verdict).collect()).collect();
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
}
