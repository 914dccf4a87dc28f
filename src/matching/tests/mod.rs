//! Tests of matching: its laws, its frequencies, its corrections.

mod applicable;
mod frequencies;
mod laws;
mod scores;

use super::*;
use crate::index::IndexError;
use crate::model::manifest::ModelDefaults;

const DEFAULTS: ModelDefaults = ModelDefaults { min_similarity: -1.0, caption_weight: 0.0 };

fn rules(config: MatchingConfig) -> MatchRules {
    MatchRules::new(&config, DEFAULTS).expect("sound settings")
}

fn candidate(id: &str, score: f64) -> Candidate {
    Candidate { id: id.to_owned(), similarity: score, score, verdict: None }
}

/// Candidates `c0`, `c1`, ... with these scores.
fn candidates(scores: &[f64]) -> Vec<Candidate> {
    scores.iter().enumerate().map(|(at, &score)| candidate(&format!("c{at}"), score)).collect()
}

/// A vector of length 1 that depends on nothing but the id.
fn vector(id: &str) -> Option<Vec<f32>> {
    let angle = id.bytes().fold(0.0f32, |sum, byte| sum * 1.7 + f32::from(byte));
    Some(vec![angle.cos(), angle.sin()])
}

/// [`vector`] for each of these ids.
fn vectors(ids: &[&str]) -> Result<Vec<Option<Vec<f32>>>, IndexError> {
    Ok(ids.iter().map(|id| vector(id)).collect())
}

fn outcome(candidates: Vec<Candidate>, rules: &MatchRules, seed: u64) -> Outcome {
    match_one(candidates, &vectors, rules, &mut QuotaBook::unlimited(), seed).expect("drawn")
}

fn ids(outcome: &Outcome) -> Vec<&str> {
    outcome.picks.iter().map(|pick| pick.id.as_str()).collect()
}
