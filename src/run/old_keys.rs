//! The keys that release 0.1.0 gave to a run's rows. Frozen: they find what that release stored,
//! so that it gets today's keys. The texts are those that Rust's `Debug` wrote at that time.

use crate::base::hash;
use crate::llm::{SamplingSettings, old_keys::sampling};
use crate::matching::{Hubness, MatchRules, MatchingConfig, Strategy};

/// Of answers.
pub fn answers(prompt_hash: &str, model: &str, settings: &SamplingSettings, seed: u64) -> String {
    hash::key(&["answer", prompt_hash, model, &sampling(settings), &seed.to_string()])
}

/// Of matches and pairs.
pub fn matching(encoder: &str, library: &str, rules: &MatchRules, seed: u64) -> String {
    let config = rules.config();
    let MatchingConfig { per_image, pool, min_similarity, temperature, top_k, top_p, .. } = config;
    let MatchingConfig { mmr_lambda, caption_weight, calibration, max_share, .. } = config;
    let record_candidates = config.record_candidates;
    let strategy = match config.strategy {
        Strategy::Top1 => "Top1",
        Strategy::Topk => "Topk",
        Strategy::Softmax => "Softmax",
        Strategy::Mmr => "Mmr",
    };
    let hubness = match config.hubness {
        Hubness::None => "None",
        Hubness::Zscore => "Zscore",
        Hubness::Csls => "Csls",
        Hubness::Nnn => "Nnn",
    };
    let (lowest, weight) = (rules.min_similarity(), rules.caption_weight());
    let text = format!(
        "MatchRules {{ config: MatchingConfig {{ strategy: {strategy}, per_image: {per_image}, \
         pool: {pool}, min_similarity: {min_similarity:?}, temperature: {temperature:?}, \
         top_k: {top_k}, top_p: {top_p:?}, mmr_lambda: {mmr_lambda:?}, \
         caption_weight: {caption_weight:?}, hubness: {hubness}, calibration: {calibration}, \
         max_share: {max_share:?}, record_candidates: {record_candidates} }}, \
         min_similarity: {lowest:?}, caption_weight: {weight:?} }}"
    );
    hash::key(&["match", encoder, library, &text, &seed.to_string()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::filter::FilterConfig;
    use crate::answer::prompt::BuiltIn;
    use crate::answer::{Generator, PromptSet};
    use crate::llm::BuiltInSet;
    use crate::model::manifest::ModelDefaults;

    // From tests/golden/made-by-0.1.0/run/run.sqlite, which that release wrote.
    const PROMPTS: &str = "84ef911ceefce5bdc979c4117639b201";
    const ENCODER: &str = "dfb935ab436c3cd274fc064bc030dc2b";
    const LIBRARY: &str = "80f3c3e53daedd26a2ee07248d01fba5";

    /// Stored runs hold today's keys, too: these values never change.
    #[test]
    fn today_s_keys_are_frozen() {
        let prompts =
            PromptSet::read(&BuiltIn::of(BuiltInSet::Small), None, None, 2).expect("built in");
        assert_eq!(prompts.hash, PROMPTS);
        let answer = Generator::conf_key(&prompts, "stub-model", &SamplingSettings::default(), 7);
        assert_eq!(answer, "answer2-ed6463ef6949d0e4eb7a396d8edf91c3");
        let filters = FilterConfig::default().key();
        assert_eq!(filters, "filters3-56b5f9a5a0ed79c2311ddd6c5fc9ac82");
        let matching =
            super::super::matching::match_key(ENCODER, (LIBRARY, Some("r")), &rules(), 7);
        assert_eq!(matching, "match2-19a36ebd578b1d5d433ccabc968318e8");
    }

    fn rules() -> MatchRules {
        let config =
            MatchingConfig { per_image: 2, check: Some(Vec::new()), ..MatchingConfig::default() };
        let defaults = ModelDefaults { min_similarity: 0.1, caption_weight: 0.3 };
        MatchRules::new(&config, defaults).expect("valid")
    }

    #[test]
    fn the_keys_are_those_in_a_run_of_that_release() {
        let answer = answers(PROMPTS, "stub-model", &SamplingSettings::default(), 7);
        assert_eq!(answer, "5e69d99886d295d94a3292c300b05bc1");
        assert_eq!(matching(ENCODER, LIBRARY, &rules(), 7), "330e0291e289b71a49579ecf1f6818f3");
    }
}
