//! The four ways to draw. All take candidates in falling order of score and give positions in
//! them with the probability of each draw.

use super::draw::{Draw, nucleus, softmax};
use super::{Candidate, MatchError, MatchingConfig, Strategy};
use crate::index::dot;

/// Position among the eligible candidates, and the probability of the draw where it is random.
pub(super) type Drawn = (usize, Option<f64>);

/// Gives the vector of an instruction, of length 1.
pub(super) type Vectors<'a> = &'a dyn Fn(&str) -> Option<Vec<f32>>;

pub(super) fn draw(
    eligible: &[Candidate],
    config: &MatchingConfig,
    vectors: Vectors<'_>,
    seed: u64,
) -> Result<Vec<Drawn>, MatchError> {
    let draws = config.per_image.min(eligible.len());
    let mut random = Draw::new(seed);
    Ok(match config.strategy {
        Strategy::Top1 => (0..draws).map(|at| (at, None)).collect(),
        Strategy::Topk => topk(eligible.len().min(config.top_k), draws, &mut random),
        Strategy::Softmax => by_softmax(eligible, config, draws, &mut random),
        Strategy::Mmr => mmr(eligible, config, draws, vectors, &mut random)?,
    })
}

fn topk(best: usize, draws: usize, random: &mut Draw) -> Vec<Drawn> {
    let mut left: Vec<usize> = (0..best).collect();
    (0..draws)
        .map(|_| {
            let probability = 1.0 / left.len() as f64;
            (left.remove(random.below(left.len())), Some(probability))
        })
        .collect()
}

fn by_softmax(
    eligible: &[Candidate],
    config: &MatchingConfig,
    draws: usize,
    random: &mut Draw,
) -> Vec<Drawn> {
    let mut left: Vec<usize> = (0..eligible.len().min(config.top_k)).collect();
    (0..draws)
        .map(|_| {
            let best = left.iter().map(|&at| eligible[at].score);
            let mut probabilities = softmax(best, config.temperature);
            nucleus(&mut probabilities, config.top_p);
            let chosen = random.weighted(&probabilities);
            (left.remove(chosen), Some(probabilities[chosen]))
        })
        .collect()
}

fn mmr(
    eligible: &[Candidate],
    config: &MatchingConfig,
    draws: usize,
    vectors: Vectors<'_>,
    random: &mut Draw,
) -> Result<Vec<Drawn>, MatchError> {
    let vectors = eligible
        .iter()
        .map(|candidate| {
            let id = &candidate.id;
            vectors(id).ok_or_else(|| MatchError::NoVector { id: id.clone() })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let mut left: Vec<usize> = (0..eligible.len()).collect();
    // The largest cosine to a picked one; with none picked yet nothing is taken off.
    let mut nearest: Vec<Option<f32>> = vec![None; eligible.len()];
    let mut drawn = Vec::with_capacity(draws);
    for _ in 0..draws {
        let value = |&at: &usize| {
            let near = nearest[at].map_or(0.0, f64::from);
            config.mmr_lambda * eligible[at].score - (1.0 - config.mmr_lambda) * near
        };
        let (chosen, probability) = choose(left.iter().map(value), config.temperature, random);
        let picked = left.remove(chosen);
        for &at in &left {
            let cosine = dot(&vectors[at], &vectors[picked]);
            nearest[at] = Some(nearest[at].map_or(cosine, |near| near.max(cosine)));
        }
        drawn.push((picked, probability));
    }
    Ok(drawn)
}

/// The first of the largest values at temperature 0, otherwise a draw.
fn choose(
    values: impl Iterator<Item = f64> + Clone,
    temperature: f64,
    random: &mut Draw,
) -> (usize, Option<f64>) {
    if temperature > 0.0 {
        let probabilities = softmax(values, temperature);
        let chosen = random.weighted(&probabilities);
        return (chosen, Some(probabilities[chosen]));
    }
    let mut best = (0, f64::NEG_INFINITY);
    for (at, value) in values.enumerate() {
        if value > best.1 {
            best = (at, value);
        }
    }
    (best.0, None)
}
