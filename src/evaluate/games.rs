//! Games between models, their strengths and how sure those are.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::base::hash;

use super::EvaluationError;
use super::bradley_terry::{Wins, strengths};
use super::results::QuestionResult;
use super::rule::{Outcome, Rule};

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
#[path = "games_tests.rs"]
mod tests;
