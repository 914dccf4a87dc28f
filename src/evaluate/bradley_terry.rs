//! Bradley-Terry strengths by Newton's method on the log-likelihood, which is concave.

/// Largest change of a strength at which the fit is done.
const TOLERANCE: f64 = 1e-12;

const MAX_STEPS: usize = 200;

/// Wins of row over column; a tie counts half for each.
#[derive(Debug, Clone, PartialEq)]
pub struct Wins {
    size: usize,
    counts: Vec<f64>,
}

impl Wins {
    /// No games among `size` players.
    pub fn new(size: usize) -> Self {
        Self { size, counts: vec![0.0; size * size] }
    }

    /// Number of players.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Adds a game: `score` is 1 for a win of `one`, 0.5 for a tie, 0 for a loss.
    pub fn add(&mut self, one: usize, other: usize, score: f64) {
        self.counts[one * self.size + other] += score;
        self.counts[other * self.size + one] += 1.0 - score;
    }

    fn of(&self, one: usize, other: usize) -> f64 {
        self.counts[one * self.size + other]
    }

    fn games(&self, one: usize, other: usize) -> f64 {
        self.of(one, other) + self.of(other, one)
    }

    /// Half a win each way for every pair that met: keeps strengths finite where somebody won or
    /// lost everything.
    #[must_use]
    pub fn smoothed(&self) -> Self {
        let mut wins = self.clone();
        for one in 0..self.size {
            for other in 0..self.size {
                if self.games(one, other) > 0.0 {
                    wins.counts[one * self.size + other] += 0.5;
                }
            }
        }
        wins
    }

    /// Whether everybody is linked to everybody by games, so that a ranking exists at all.
    pub fn is_connected(&self) -> bool {
        self.reaches_all(|one, other| self.games(one, other) > 0.0)
    }

    /// Ford's condition: from everybody a chain of wins leads to everybody. Exactly then the
    /// strengths are finite and unique.
    pub fn is_estimable(&self) -> bool {
        self.reaches_all(|one, other| self.of(one, other) > 0.0)
            && self.reaches_all(|one, other| self.of(other, one) > 0.0)
    }

    fn reaches_all(&self, linked: impl Fn(usize, usize) -> bool) -> bool {
        let mut seen = vec![false; self.size];
        let mut waiting: Vec<usize> = (0..self.size.min(1)).collect();
        while let Some(one) = waiting.pop() {
            if !std::mem::replace(&mut seen[one], true) {
                waiting.extend((0..self.size).filter(|other| linked(one, *other)));
            }
        }
        seen.into_iter().all(|reached| reached)
    }
}

/// Maximum-likelihood log-strengths with mean 0: `one` beats `other` with probability
/// `1 / (1 + exp(s[other] - s[one]))`. None where [`Wins::is_estimable`] does not hold.
pub fn strengths(wins: &Wins) -> Option<Vec<f64>> {
    if !wins.is_estimable() {
        return None;
    }
    let mut current = vec![0.0; wins.size];
    for _ in 0..MAX_STEPS {
        let step = newton_step(wins, &current);
        let step = damped(wins, &current, &step);
        current.iter_mut().zip(&step).for_each(|(strength, change)| *strength += change);
        if step.iter().all(|change| change.abs() < TOLERANCE) {
            break;
        }
    }
    let mean = current.iter().sum::<f64>() / current.len().max(1) as f64;
    Some(current.into_iter().map(|strength| strength - mean).collect())
}

fn log_likelihood(wins: &Wins, strengths: &[f64]) -> f64 {
    let mut sum = 0.0;
    for one in 0..wins.size {
        for other in (0..wins.size).filter(|other| *other != one) {
            sum -= wins.of(one, other) * (strengths[other] - strengths[one]).exp().ln_1p();
        }
    }
    sum
}

/// Halves a step that would lower the likelihood: far from the top Newton can jump too far.
fn damped(wins: &Wins, current: &[f64], step: &[f64]) -> Vec<f64> {
    let before = log_likelihood(wins, current);
    let mut scale = 1.0;
    // Rounding at the top itself must not count as lower.
    let slack = 1e-12 * before.abs();
    for _ in 0..40 {
        let next: Vec<f64> = current.iter().zip(step).map(|(s, d)| s + scale * d).collect();
        if log_likelihood(wins, &next) >= before - slack {
            break;
        }
        scale *= 0.5;
    }
    step.iter().map(|change| scale * change).collect()
}

/// Solves (negative Hessian) · step = gradient, with the first player held still: strengths are
/// only known up to a common shift.
fn newton_step(wins: &Wins, strengths: &[f64]) -> Vec<f64> {
    let size = wins.size - 1;
    let mut rows = vec![vec![0.0; size + 1]; size];
    for (one, row) in rows.iter_mut().enumerate() {
        for other in (0..wins.size).filter(|other| *other != one + 1) {
            let chance = 1.0 / (1.0 + (strengths[other] - strengths[one + 1]).exp());
            let games = wins.games(one + 1, other);
            let weight = games * chance * (1.0 - chance);
            row[size] += wins.of(one + 1, other) - games * chance;
            row[one] += weight;
            if other > 0 {
                row[other - 1] -= weight;
            }
        }
    }
    let mut step = vec![0.0];
    step.extend(solve(rows));
    step
}

/// Gaussian elimination with partial pivoting; each row ends with its right-hand side.
fn solve(mut rows: Vec<Vec<f64>>) -> Vec<f64> {
    let size = rows.len();
    for column in 0..size {
        let pivot =
            (column..size).max_by(|a, b| rows[*a][column].abs().total_cmp(&rows[*b][column].abs()));
        rows.swap(column, pivot.unwrap_or(column));
        let (above, below) = rows.split_at_mut(column + 1);
        let pivot = &above[column];
        for row in below {
            let factor = row[column] / pivot[column];
            row.iter_mut()
                .zip(pivot)
                .skip(column)
                .for_each(|(value, lead)| *value -= factor * lead);
        }
    }
    let mut solution = vec![0.0; size];
    for row in (0..size).rev() {
        let known: f64 = (row + 1..size).map(|column| rows[row][column] * solution[column]).sum();
        solution[row] = (rows[row][size] - known) / rows[row][row];
    }
    solution
}

#[cfg(test)]
mod tests {
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
}
