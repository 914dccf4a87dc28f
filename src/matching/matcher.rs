//! From embeddings to drawn instructions.

use std::sync::Arc;

use super::strategy::{Eligible, Vectors, draw};
use super::{
    Candidate, Hubness, HubnessStats, MatchError, MatchRules, NoMatch, Outcome, Pick, Query,
    QuotaBook, Refused, combined_query,
};
use crate::index::{Among, Hit, VectorSearch};

/// Matches photos against one instruction index by one set of rules.
#[derive(Clone)]
pub struct Matcher {
    rules: MatchRules,
    index: Arc<dyn VectorSearch>,
    hubness: Option<HubnessStats>,
}

impl Matcher {
    /// `hubness` is needed exactly when the rules correct for hubs, and ignored otherwise.
    ///
    /// # Errors
    /// The statistics are missing.
    pub fn new(
        rules: MatchRules,
        index: Arc<dyn VectorSearch>,
        hubness: Option<HubnessStats>,
    ) -> Result<Self, MatchError> {
        let hubness = match (rules.config().hubness, hubness) {
            (Hubness::None, _) => None,
            (_, None) => return Err(MatchError::NoHubnessStats),
            (_, Some(stats)) => Some(stats),
        };
        Ok(Self { rules, index, hubness })
    }

    /// The rules in force.
    pub fn rules(&self) -> &MatchRules {
        &self.rules
    }

    /// One photo's query, by the rules' caption weight.
    ///
    /// # Errors
    /// As [`combined_query`].
    pub fn query(&self, image: &[f32], caption: Option<&[f32]>) -> Result<Query, MatchError> {
        combined_query(image, caption, self.rules.caption_weight())
    }

    /// The candidates of each photo with their scores, in the queries' order. Touches no quota,
    /// so it can run ahead, on many threads.
    ///
    /// # Errors
    /// The index failed or refused a query, or the hubness statistics do not know a candidate.
    pub fn candidates(&self, queries: &[Query]) -> Result<Vec<Vec<Candidate>>, MatchError> {
        let vectors: Vec<&[f32]> = queries.iter().map(Query::vector).collect();
        let found = self.index.search_many(&vectors, self.rules.config().pool, Among::All)?;
        queries.iter().zip(found).map(|(query, hits)| self.scored(query, hits)).collect()
    }

    fn scored(&self, query: &Query, hits: Vec<Hit>) -> Result<Vec<Candidate>, MatchError> {
        let candidate = |hit: Hit| {
            let similarity = query.similarity(hit.similarity);
            Candidate { id: hit.id, similarity, score: similarity }
        };
        let mut candidates: Vec<_> = hits.into_iter().map(candidate).collect();
        if let Some(stats) = &self.hubness {
            stats.correct(self.rules.config().hubness, &mut candidates)?;
        }
        Ok(candidates)
    }

    /// [`match_one`] with this matcher's rules and vectors.
    ///
    /// # Errors
    /// As [`match_one`].
    pub fn draw(
        &self,
        candidates: Vec<Candidate>,
        quota: &mut QuotaBook,
        seed: u64,
    ) -> Result<Outcome, MatchError> {
        match_one(candidates, &|ids| self.index.vectors(ids), &self.rules, quota, seed)
    }
}

/// Draws the instructions of one photo and counts them in `quota`.
///
/// `candidates` come in any order, each id once. `vectors` gives instructions' vectors of
/// length 1; only `mmr` asks. The floor is held against the similarity, the draw goes by the
/// score. Photos must be drawn in one fixed order for the quotas to be repeatable.
///
/// # Errors
/// `mmr` is asked for and a candidate has no vector. Nothing is counted then.
pub fn match_one(
    candidates: Vec<Candidate>,
    vectors: Vectors<'_>,
    rules: &MatchRules,
    quota: &mut QuotaBook,
    seed: u64,
) -> Result<Outcome, MatchError> {
    let best = candidates.iter().map(|candidate| candidate.similarity).reduce(f64::max);
    let (mut eligible, refused) = sift(candidates, rules, quota);
    eligible.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.id.cmp(&b.id)));
    let config = rules.config();
    let drawn = draw(&Eligible { candidates: &eligible, config, vectors }, seed)?;
    let picks: Vec<_> = drawn
        .iter()
        .zip(1..)
        .map(|(&(at, probability), rank)| pick(&eligible[at], probability, rank))
        .collect();
    for pick in &picks {
        quota.take(&pick.id);
    }
    let no_match = picks.is_empty().then(|| explain(best, rules, refused, quota));
    let recorded = |at| at < rules.config().record_candidates || drawn.iter().any(|d| d.0 == at);
    let considered = eligible.into_iter().enumerate().filter(|&(at, _)| recorded(at));
    let considered = considered.map(|(_, candidate)| candidate).collect();
    Ok(Outcome { picks, considered, refused, no_match })
}

/// The eligible candidates, and how many are not.
fn sift(
    candidates: Vec<Candidate>,
    rules: &MatchRules,
    quota: &QuotaBook,
) -> (Vec<Candidate>, Refused) {
    let all = candidates.len();
    let mut left = candidates;
    left.retain(|candidate| candidate.similarity >= rules.min_similarity());
    let similar = left.len();
    left.retain(|candidate| quota.allows(&candidate.id));
    let refused = Refused { below_floor: all - similar, over_quota: similar - left.len() };
    (left, refused)
}

fn pick(candidate: &Candidate, probability: Option<f64>, rank: u32) -> Pick {
    let Candidate { id, similarity, score } = candidate.clone();
    Pick { id, similarity, score, probability, rank }
}

fn explain(best: Option<f64>, rules: &MatchRules, refused: Refused, quota: &QuotaBook) -> NoMatch {
    match (best, quota.cap()) {
        (None, _) => NoMatch::NoCandidates,
        (_, Some(cap)) if refused.over_quota > 0 => {
            NoMatch::AllOverQuota { candidates: refused.over_quota, cap }
        }
        (Some(best), _) => NoMatch::BelowSimilarityFloor { best, floor: rules.min_similarity() },
    }
}
