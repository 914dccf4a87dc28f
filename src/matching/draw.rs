//! Seeded draws whose results never change with a library's version.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A stream of random numbers from one 64-bit seed.
pub(super) struct Draw(ChaCha8Rng);

impl Draw {
    /// The seed fills the first eight bytes of ChaCha's key. `seed_from_u64` would serve, but
    /// its expansion is the library's to change.
    pub(super) fn new(seed: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        Self(ChaCha8Rng::from_seed(key))
    }

    /// Uniform in [0, 1), with 53 random bits.
    fn uniform(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in 0..count; `count` is at least 1.
    pub(super) fn below(&mut self, count: usize) -> usize {
        ((self.uniform() * count as f64) as usize).min(count - 1)
    }

    /// A position, drawn by its probability. The probabilities are not empty and sum to 1.
    pub(super) fn weighted(&mut self, probabilities: &[f64]) -> usize {
        let mut left = self.uniform();
        for (at, probability) in probabilities.iter().enumerate() {
            left -= probability;
            if left < 0.0 {
                return at;
            }
        }
        // Rounding left a crumb: it belongs to the likeliest.
        let likeliest = probabilities.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
        likeliest.map_or(0, |(at, _)| at)
    }
}

/// exp(value / temperature), scaled to sum 1. `temperature` is above 0.
pub(super) fn softmax(values: impl Iterator<Item = f64> + Clone, temperature: f64) -> Vec<f64> {
    // The largest exponent is 0, so nothing overflows.
    let largest = values.clone().fold(f64::NEG_INFINITY, f64::max);
    let mut weights: Vec<_> = values.map(|value| ((value - largest) / temperature).exp()).collect();
    normalise(&mut weights);
    weights
}

/// Cuts probabilities, given in falling order, to the fewest first ones that reach `top_p`, and
/// scales those to sum 1.
pub(super) fn nucleus(probabilities: &mut Vec<f64>, top_p: f64) {
    let mut mass = 0.0;
    let reached = probabilities.iter().position(|probability| {
        mass += probability;
        mass >= top_p
    });
    if let Some(last) = reached {
        probabilities.truncate(last + 1);
    }
    normalise(probabilities);
}

fn normalise(weights: &mut [f64]) {
    let sum: f64 = weights.iter().sum();
    weights.iter_mut().for_each(|weight| *weight /= sum);
}
