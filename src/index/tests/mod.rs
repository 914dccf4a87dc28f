//! Tests of both implementations through the trait, mostly side by side.

mod behaviour;
mod changes;
mod files;
mod measuring;
mod model;

use std::collections::HashSet;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

/// `count` vectors scattered around a few centres, so that near neighbours mean something.
fn clustered(count: usize, dim: usize, centres: usize, seed: u64) -> Vec<Vec<f32>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut draw = |spread: f32| -> Vec<f32> {
        (0..dim).map(|_| spread * (rng.next_u32() as f32 / u32::MAX as f32 - 0.5)).collect()
    };
    let centres: Vec<_> = (0..centres).map(|_| draw(1.0)).collect();
    (0..count)
        .map(|at| draw(0.8).iter().zip(&centres[at % centres.len()]).map(|(a, b)| a + b).collect())
        .collect()
}

fn config(kind: IndexKind) -> IndexConfig {
    IndexConfig { kind, threads: 2, ..IndexConfig::default() }
}

fn both(dim: usize) -> [Box<dyn LocalIndex>; 2] {
    [IndexKind::Exact, IndexKind::Usearch]
        .map(|kind| build(&config(kind), dim, 0).expect("valid settings"))
}

fn filled(index: &mut dyn LocalIndex, vectors: &[Vec<f32>]) {
    for (at, vector) in vectors.iter().enumerate() {
        index.add(&format!("id{at}"), vector).expect("a sound vector");
    }
}

/// As [`filled`] names them.
fn items(vectors: &[Vec<f32>]) -> Vec<(String, Vec<f32>)> {
    vectors.iter().enumerate().map(|(at, vector)| (format!("id{at}"), vector.clone())).collect()
}

/// The share of `truth` that is in `found`.
fn recall(truth: &[Vec<Hit>], found: &[Vec<Hit>]) -> f64 {
    let shared = |(a, b): (&Vec<Hit>, &Vec<Hit>)| {
        let wanted: HashSet<_> = ids(a).into_iter().collect();
        ids(b).into_iter().filter(|id| wanted.contains(id)).count()
    };
    let all: usize = truth.iter().map(Vec::len).sum();
    truth.iter().zip(found).map(shared).sum::<usize>() as f64 / all as f64
}

fn ids(hits: &[Hit]) -> Vec<&str> {
    hits.iter().map(|hit| hit.id.as_str()).collect()
}
