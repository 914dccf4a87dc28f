//! A request's options over the server's settings.

use super::Limits;
use super::fault::Fault;
use super::pb::{self, HubnessCorrection, SamplingStrategy};
use super::{convert, validate};
use crate::base::check;
use crate::instruction::store::InstructionFilter;
use crate::matching::check::CheckKind;
use crate::matching::{Hubness, MatchRules, MatchingConfig, Strategy};
use crate::model::manifest::ModelDefaults;

/// The most categories or tags of a filter.
const MOST_NAMES: usize = 100;

/// The rules of a draw, its seed, and what is drawn from.
#[derive(Debug, Clone)]
pub struct Draw {
    pub rules: MatchRules,
    pub seed: u64,
    pub filter: InstructionFilter,
    /// The recall@10 wished for of the search, where it is not the server's.
    pub recall: Option<f64>,
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
    let filter = filter(options)?;
    let (seed, recall) = (validate::seed("options.seed", options.seed)?, recall(options)?);
    Ok(Draw { rules, seed, filter, recall })
}

/// The recall@10 that a request wishes for.
///
/// # Errors
/// It is out of range.
pub fn recall(options: &pb::MatchOptions) -> Result<Option<f64>, Fault> {
    let checked = |recall| check::range("options.target_recall", recall, 0.5, 1.0);
    options.target_recall.map(checked).transpose().map_err(Fault::from)
}

/// Which instructions a request lets be drawn.
///
/// # Errors
/// It names too many categories or tags.
pub fn filter(options: &pb::MatchOptions) -> Result<InstructionFilter, Fault> {
    let pb::InstructionFilter { categories, tags } = options.filter.clone().unwrap_or_default();
    for (name, list) in [("categories", &categories), ("tags", &tags)] {
        let field = format!("options.filter.{name}");
        if list.len() > MOST_NAMES {
            return Err(Fault::invalid(
                field,
                format!("{} names, at most {MOST_NAMES} are allowed", list.len()),
            ));
        }
    }
    Ok(InstructionFilter { categories, tags })
}

fn checks(options: &pb::MatchOptions) -> Result<Option<Vec<CheckKind>>, Fault> {
    let Some(pb::Checks { kinds }) = &options.check else { return Ok(None) };
    let kind = |(at, number): (usize, &i32)| match pb::CheckKind::try_from(*number) {
        Ok(pb::CheckKind::Text) => Ok(CheckKind::Text),
        Ok(pb::CheckKind::Encoder) => Ok(CheckKind::Encoder),
        Ok(pb::CheckKind::Llm) => Ok(CheckKind::Llm),
        Ok(pb::CheckKind::Unspecified) | Err(_) => {
            Err(Fault::unknown_enum(&format!("options.check.kinds[{at}]"), *number))
        }
    };
    kinds.iter().enumerate().map(kind).collect::<Result<_, _>>().map(Some)
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
        check: checks(options)?.or_else(|| without_llm(base.check.clone())),
    })
}

/// A language model is asked only where a request says so.
fn without_llm(check: Option<Vec<CheckKind>>) -> Option<Vec<CheckKind>> {
    let without =
        |kinds: Vec<CheckKind>| kinds.into_iter().filter(|kind| *kind != CheckKind::Llm).collect();
    check.map(without)
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
