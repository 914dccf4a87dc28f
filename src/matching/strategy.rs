//! The ways to draw. A strategy is a variant of [`Strategy`] and its [`Sampler`], both in this
//! file; settings, command line and contract ask those.

use serde::{Deserialize, Serialize};

use super::config::MOST;
use super::draw::{Draw, nucleus, softmax};
use super::{Candidate, MatchError, MatchingConfig};
use crate::index::{IndexError, dot};

/// How instructions are drawn from the eligible candidates, best score first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// The best one. Not random.
    Top1,
    /// `per_image` of the `top_k` best, each equally likely, none twice.
    Topk,
    /// `per_image` draws from the `top_k` best, none twice. Each draw has
    /// p ∝ exp(score / temperature) over what is left, cut to the smallest set of best ones
    /// whose probabilities reach `top_p` (nucleus sampling, Holtzman et al. 2020).
    #[default]
    Softmax,
    /// Maximal marginal relevance (Carbonell and Goldstein 1998) over all eligible candidates:
    /// each step values `mmr_lambda` · score − (1 − `mmr_lambda`) · (largest cosine to one
    /// already picked). Temperature 0 takes the best value, a higher one draws with
    /// p ∝ exp(value / temperature). Score and cosine are subtracted, so `zscore` does not suit.
    Mmr,
}

/// All that the rest of the program asks of a strategy.
struct Sampler {
    /// In settings, on the command line and in the lineage; the contract has it in upper case.
    name: &'static str,
    /// The largest `top_k` and `per_image` that make sense.
    bounds: fn(&MatchingConfig) -> (Most, Most),
    /// The lowest temperature it can draw with.
    coldest: f64,
    draw: fn(&Eligible<'_>, usize, &mut Draw) -> Result<Vec<Drawn>, MatchError>,
}

/// The largest value of a setting, and words on where it comes from.
pub(super) type Most = (usize, &'static str);

impl Strategy {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Top1, Self::Topk, Self::Softmax, Self::Mmr];

    fn sampler(self) -> Sampler {
        match self {
            Self::Top1 => TOP1,
            Self::Topk => TOPK,
            Self::Softmax => SOFTMAX,
            Self::Mmr => MMR,
        }
    }

    /// The name used in settings and in the lineage.
    pub fn name(self) -> &'static str {
        self.sampler().name
    }

    /// The strategy of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    /// The largest `top_k` and `per_image`.
    pub(super) fn bounds(self, config: &MatchingConfig) -> (Most, Most) {
        (self.sampler().bounds)(config)
    }

    /// The lowest temperature.
    pub(super) fn coldest(self) -> f64 {
        self.sampler().coldest
    }
}

/// What a strategy draws from.
pub(super) struct Eligible<'a> {
    /// In falling order of score.
    pub candidates: &'a [Candidate],
    pub config: &'a MatchingConfig,
    pub vectors: Vectors<'a>,
}

/// Position among the eligible candidates, and the probability of the draw where it is random.
pub(super) type Drawn = (usize, Option<f64>);

/// Gives the vectors of instructions, of length 1; `None` for one that has none.
pub type Vectors<'a> = &'a dyn Fn(&[&str]) -> Result<Vec<Option<Vec<f32>>>, IndexError>;

pub(super) fn draw(eligible: &Eligible<'_>, seed: u64) -> Result<Vec<Drawn>, MatchError> {
    let Eligible { candidates, config, .. } = eligible;
    let draws = config.per_image.min(candidates.len());
    (config.strategy.sampler().draw)(eligible, draws, &mut Draw::new(seed))
}

const POOL: &str = ", the last being pool";
const TOP_K: &str = ", the last being top_k";

const TOP1: Sampler = Sampler {
    name: "top1",
    bounds: |_| ((MOST, ""), (1, " with strategy top1")),
    coldest: 0.0,
    draw: |_, draws, _| Ok((0..draws).map(|at| (at, None)).collect()),
};

const TOPK: Sampler = Sampler {
    name: "topk",
    bounds: |config| ((config.pool, POOL), (config.top_k, TOP_K)),
    coldest: 0.0,
    draw: |eligible, draws, random| {
        let best = eligible.candidates.len().min(eligible.config.top_k);
        Ok(topk(best, draws, random))
    },
};

fn topk(best: usize, draws: usize, random: &mut Draw) -> Vec<Drawn> {
    let mut left: Vec<usize> = (0..best).collect();
    (0..draws)
        .map(|_| {
            let probability = 1.0 / left.len() as f64;
            (left.remove(random.below(left.len())), Some(probability))
        })
        .collect()
}

const SOFTMAX: Sampler = Sampler {
    name: "softmax",
    bounds: |config| ((config.pool, POOL), (config.top_k, TOP_K)),
    // It divides by the temperature.
    coldest: 1e-6,
    draw: |eligible, draws, random| Ok(by_softmax(eligible, draws, random)),
};

fn by_softmax(eligible: &Eligible<'_>, draws: usize, random: &mut Draw) -> Vec<Drawn> {
    let Eligible { candidates: eligible, config, .. } = eligible;
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

const MMR: Sampler = Sampler {
    name: "mmr",
    bounds: |config| ((MOST, ""), (config.pool, POOL)),
    coldest: 0.0,
    draw: mmr,
};

fn mmr(eligible: &Eligible<'_>, draws: usize, random: &mut Draw) -> Result<Vec<Drawn>, MatchError> {
    let Eligible { candidates: eligible, config, vectors } = eligible;
    let ids: Vec<&str> = eligible.iter().map(|candidate| candidate.id.as_str()).collect();
    let there = vectors(&ids)?
        .into_iter()
        .zip(&ids)
        .map(|(vector, id)| vector.ok_or_else(|| MatchError::NoVector { id: (*id).to_owned() }));
    let vectors = there.collect::<Result<Vec<_>, _>>()?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_the_one_that_settings_read() {
        for one in Strategy::ALL {
            let read: Strategy = serde_json::from_value(one.name().into()).expect("a name");
            assert_eq!((read, Strategy::named(one.name())), (one, Some(one)));
        }
        assert_eq!(Strategy::named("best"), None);
    }
}
