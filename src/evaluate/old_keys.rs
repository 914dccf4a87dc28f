//! The keys that release 0.1.0 gave to an evaluation's replies. Frozen: they find what that release
//! stored, so that it gets today's keys.

use crate::base::hash;
use crate::llm::{SamplingSettings, old_keys::sampling};

/// What all verdicts of a judge have in common; `parser` is the version of how they are read.
pub fn judge(
    prompts: &str,
    model: &str,
    settings: &SamplingSettings,
    seed: u64,
    parser: &str,
) -> String {
    hash::key(&["judge", prompts, model, &sampling(settings), &seed.to_string(), parser])
}

/// Of one question in one order; `shown` is that question, its text, the sight, what was seen, and
/// name and answer of both models.
pub fn verdict(judge: &str, shown: [&str; 8]) -> String {
    let mut parts = vec![judge];
    parts.extend(shown);
    hash::key(&parts)
}

/// Of a model's answer; `shown` is the question, its text, the sight and what was seen.
pub fn answer(model: &str, settings: &SamplingSettings, seed: u64, shown: [&str; 4]) -> String {
    let (settings, seed) = (sampling(settings), seed.to_string());
    let mut parts = vec!["answer", model, &settings, &seed];
    parts.extend(shown);
    hash::key(&parts)
}
