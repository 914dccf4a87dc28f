//! A request's options over the server's settings.

use super::Limits;
use super::fault::Fault;
use super::pb::{self, HubnessCorrection, SamplingStrategy};
use super::{convert, validate};
use crate::matching::{Hubness, MatchRules, MatchingConfig, Strategy};
use crate::model::manifest::ModelDefaults;

/// The rules of a draw, and its seed.
#[derive(Debug, Clone)]
pub struct Draw {
    pub rules: MatchRules,
    pub seed: u64,
}

/// What a request's options come to over the server's own settings.
///
/// # Errors
/// A value is out of range, an enum number is unknown, or settings contradict each other.
pub fn draw(
    options: Option<&pb::MatchOptions>,
    base: &MatchingConfig,
    defaults: ModelDefaults,
    limits: &Limits,
) -> Result<Draw, Fault> {
    let default = pb::MatchOptions::default();
    let options = options.unwrap_or(&default);
    let mut config = matching(options, base, limits)?;
    // These need a whole dataset; a single match has none.
    config.hubness = Hubness::None;
    config.max_share = 0.0;
    let rules =
        MatchRules::new(&config, defaults).map_err(|error| Fault::from(error).at("options"))?;
    Ok(Draw { rules, seed: validate::seed("options.seed", options.seed)? })
}

/// The server's matching settings with a request's options over them.
///
/// # Errors
/// A count is out of range, or an enum number is unknown.
pub fn matching(
    options: &pb::MatchOptions,
    base: &MatchingConfig,
    limits: &Limits,
) -> Result<MatchingConfig, Fault> {
    let most = convert::count(limits.max_top_k);
    let count = |name: &str, value: Option<i32>, low: i32, base: usize| match value {
        None => Ok(base),
        Some(value) => validate::count(&format!("options.{name}"), value, low, most),
    };
    let strategy = strategy(options.strategy)?.unwrap_or(base.strategy);
    Ok(MatchingConfig {
        strategy,
        per_image: count("per_image", options.per_image, 1, base.per_image)?,
        pool: count("pool", options.pool, 1, base.pool)?,
        top_k: count("top_k", options.top_k, 1, base.top_k)?,
        record_candidates: count(
            "record_candidates",
            options.record_candidates,
            0,
            base.record_candidates,
        )?,
        min_similarity: options.min_similarity.or(base.min_similarity),
        temperature: options.temperature.unwrap_or(base.temperature),
        top_p: options.top_p.unwrap_or(base.top_p),
        mmr_lambda: options.mmr_lambda.unwrap_or(base.mmr_lambda),
        caption_weight: options.caption_weight.or(base.caption_weight),
        hubness: base.hubness,
        hubness_neighbours: base.hubness_neighbours,
        hubness_weight: base.hubness_weight,
        calibration: base.calibration,
        max_share: base.max_share,
    })
}

fn strategy(number: i32) -> Result<Option<Strategy>, Fault> {
    let unknown = || Fault::unknown_enum("options.strategy", number);
    let strategy = SamplingStrategy::try_from(number).map_err(|_| unknown())?;
    if strategy == SamplingStrategy::Unspecified {
        return Ok(None);
    }
    let name = strategy.as_str_name().trim_start_matches("SAMPLING_STRATEGY_");
    Strategy::named(&name.to_ascii_lowercase()).map(Some).ok_or_else(unknown)
}

/// The correction for hubs that a job asks for.
///
/// # Errors
/// The enum number is unknown.
pub fn hubness(number: i32) -> Result<Option<Hubness>, Fault> {
    match HubnessCorrection::try_from(number) {
        Ok(HubnessCorrection::Unspecified) => Ok(None),
        Ok(HubnessCorrection::None) => Ok(Some(Hubness::None)),
        Ok(HubnessCorrection::Zscore) => Ok(Some(Hubness::Zscore)),
        Ok(HubnessCorrection::Csls) => Ok(Some(Hubness::Csls)),
        Err(_) => Err(Fault::unknown_enum("hubness", number)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contract_and_the_engine_know_the_same_strategies() {
        let known: Vec<_> = (1..).map_while(|number| strategy(number).ok().flatten()).collect();
        assert_eq!(known, Strategy::ALL);
    }
}
