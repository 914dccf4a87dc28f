//! From embeddings to drawn instructions: what matching one photo comes to, and how often one
//! instruction may be used.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::check::{CheckKind, CheckVerdict, Finding};
use super::strategy::{Eligible, Vectors, draw};
use super::{CandidateCheck, Hubness, HubnessStats, MatchError, MatchRules, Query, combined_query};
use crate::index::{Ask, Hit, Modality, VectorSearch};

/// An instruction that may be drawn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// The instruction's id.
    pub id: String,
    /// Caption-weighted cosine similarity, in [-1, 1].
    pub similarity: f64,
    /// What the draw goes by: the similarity after the correction for hubs.
    pub score: f64,
    /// What the checks say of it; `None` where it was not checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<CheckVerdict>,
}

impl Candidate {
    /// The order of candidates: best score first, equal ones by their ids.
    pub fn best_first(&self, other: &Self) -> Ordering {
        other.score.total_cmp(&self.score).then_with(|| self.id.cmp(&other.id))
    }

    /// Whether it is similar enough. One below the floor has a verdict only where the checks found
    /// that it applies for certain.
    fn is_near(&self, rules: &MatchRules) -> bool {
        self.similarity >= rules.min_similarity() || (self.verdict.is_some() && !self.is_refused())
    }

    /// Whether it may be drawn as far as the floor and the checks are concerned.
    pub fn is_open(&self, rules: &MatchRules) -> bool {
        self.is_near(rules) && !self.is_refused()
    }

    /// Whether a check refused it.
    pub fn is_refused(&self) -> bool {
        self.verdict.as_ref().is_some_and(|verdict| !verdict.passed())
    }
}

/// An instruction that was drawn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pick {
    /// The instruction's id.
    pub id: String,
    /// Caption-weighted cosine similarity, in [-1, 1].
    pub similarity: f64,
    /// What the draw went by.
    pub score: f64,
    /// Probability of this draw among what was left at its step, in (0, 1]; `None` where the
    /// strategy is not random.
    pub probability: Option<f64>,
    /// 1 for the first drawn.
    pub rank: u32,
}

/// How many candidates were not eligible, by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Refused {
    /// Less similar than the floor.
    pub below_floor: usize,
    /// Similar enough, but a check found that the instruction does not apply.
    pub inapplicable: usize,
    /// Similar enough and applicable, but the instruction has had its share of all pairs.
    pub over_quota: usize,
}

/// Why a photo got no instruction.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum NoMatch {
    /// The index gave nothing.
    #[error("there is no instruction to choose from")]
    NoCandidates,
    /// No candidate is similar enough.
    #[error("the best similarity is {best:.4}, the floor is {floor:.4}")]
    BelowSimilarityFloor { best: f64, floor: f64 },
    /// No candidate that is similar enough applies.
    #[error(
        "none of the {candidates} instructions above the floor applies; of the best one, {why}"
    )]
    NothingApplies { candidates: usize, why: String },
    /// All that are similar enough and apply have had their share.
    #[error("all {candidates} instructions above the floor have their {cap} pairs already")]
    AllOverQuota { candidates: usize, cap: u64 },
}

impl NoMatch {
    /// The stable, snake_case reason.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoCandidates => "no_candidates",
            Self::BelowSimilarityFloor { .. } => "below_similarity_floor",
            Self::NothingApplies { .. } => "no_applicable_instruction",
            Self::AllOverQuota { .. } => "all_over_quota",
        }
    }
}

/// What matching one photo comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The instructions drawn, in the order of the draws; empty exactly when `no_match` is set.
    pub picks: Vec<Pick>,
    /// The best eligible candidates, best score first, and any that were picked beyond them.
    pub considered: Vec<Candidate>,
    /// The best of the candidates that do not apply, best score first, as many at most.
    pub inapplicable: Vec<Candidate>,
    /// Candidates that were not eligible.
    pub refused: Refused,
    /// How many candidates each check refused; one may be refused by several. `None` where nothing
    /// was checked.
    pub refused_by: Option<BTreeMap<CheckKind, usize>>,
    /// Why nothing was drawn.
    pub no_match: Option<NoMatch>,
}

/// Counts the pairs of each instruction and refuses those beyond the cap.
#[derive(Debug, Clone, Default)]
pub struct QuotaBook {
    cap: Option<u64>,
    counts: HashMap<String, u64>,
}

impl QuotaBook {
    /// No bound; counts all the same.
    pub fn unlimited() -> Self {
        Self::default()
    }

    /// At most `cap` pairs for each instruction.
    pub fn with_cap(cap: u64) -> Self {
        Self { cap: Some(cap), counts: HashMap::new() }
    }

    /// At most `max_share` of `planned` pairs for each instruction, rounded down, but never less
    /// than 1. A share of 0 or 1 sets no bound.
    pub fn with_share(max_share: f64, planned: u64) -> Self {
        if max_share <= 0.0 || max_share >= 1.0 {
            return Self::unlimited();
        }
        // The margin keeps shares such as 0.29 of 100 from rounding down to 28.
        let cap = (max_share * planned as f64 * (1.0 + 1e-12)).floor() as u64;
        Self::with_cap(cap.max(1))
    }

    /// Adds pairs that stand already, as a resumed run finds them. Counts above the cap are
    /// kept: such an instruction is simply not used again.
    pub fn restore(&mut self, counts: impl IntoIterator<Item = (String, u64)>) {
        for (id, count) in counts {
            *self.counts.entry(id).or_default() += count;
        }
    }

    /// The most pairs one instruction may have; `None` when there is no bound.
    pub fn cap(&self) -> Option<u64> {
        self.cap
    }

    /// The pairs an instruction has.
    pub fn count(&self, id: &str) -> u64 {
        self.counts.get(id).copied().unwrap_or(0)
    }

    /// Whether the instruction may have one more pair.
    pub fn allows(&self, id: &str) -> bool {
        self.cap.is_none_or(|cap| self.count(id) < cap)
    }

    /// Counts one more pair; `false`, and no count, when that would be beyond the cap.
    pub fn take(&mut self, id: &str) -> bool {
        let allowed = self.allows(id);
        if allowed {
            *self.counts.entry(id.to_owned()).or_default() += 1;
        }
        allowed
    }
}

/// Matches photos against one instruction index by one set of rules.
#[derive(Clone)]
pub struct Matcher {
    rules: MatchRules,
    index: Arc<dyn VectorSearch>,
    hubness: Option<HubnessStats>,
    check: Option<CandidateCheck>,
    recall: Option<f64>,
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
        Ok(Self { rules, index, hubness, check: None, recall: None })
    }

    /// The same matcher with what the rules name as checks.
    #[must_use]
    pub fn with_check(self, check: CandidateCheck) -> Self {
        Self { check: Some(check), ..self }
    }

    /// The same matcher with another recall@10 than that of the index's settings, in (0, 1].
    #[must_use]
    pub fn with_recall(self, recall: Option<f64>) -> Self {
        Self { recall, ..self }
    }

    /// What candidates are checked by before the draw.
    pub(super) fn check(&self) -> Option<&CandidateCheck> {
        self.check.as_ref()
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
        self.nearest(&queries.iter().collect::<Vec<_>>(), self.rules.config().pool)
    }

    /// As [`Self::candidates`], from a pool of another size.
    pub(super) fn nearest(
        &self,
        queries: &[&Query],
        pool: usize,
    ) -> Result<Vec<Vec<Candidate>>, MatchError> {
        let vectors: Vec<&[f32]> = queries.iter().map(|query| query.vector()).collect();
        let ask = Ask { recall: self.recall, ..Ask::top(pool).of(Modality::Image) };
        let found = self.index.search_many(&vectors, ask)?;
        queries.iter().zip(found).map(|(query, hits)| self.scored(query, hits)).collect()
    }

    fn scored(&self, query: &Query, hits: Vec<Hit>) -> Result<Vec<Candidate>, MatchError> {
        let candidate = |hit: Hit| {
            let similarity = query.similarity(hit.similarity);
            Candidate { id: hit.id, similarity, score: similarity, verdict: None }
        };
        let mut candidates: Vec<_> = hits.into_iter().map(candidate).collect();
        if let Some(stats) = &self.hubness {
            stats.correct(self.rules.config(), &mut candidates)?;
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
    let refused_by = count_refusals(&candidates);
    let Sifted { eligible, mut inapplicable, refused } = sift(candidates, rules, quota);
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
    let explain = || explain(best, rules, refused, &inapplicable, quota);
    let no_match = picks.is_empty().then(explain);
    inapplicable.truncate(rules.config().record_candidates);
    let recorded = |at| at < rules.config().record_candidates || drawn.iter().any(|d| d.0 == at);
    let considered = eligible.into_iter().enumerate().filter(|&(at, _)| recorded(at));
    let considered = considered.map(|(_, candidate)| candidate).collect();
    Ok(Outcome { picks, considered, inapplicable, refused, refused_by, no_match })
}

/// Candidates by what became of them, best score first.
struct Sifted {
    eligible: Vec<Candidate>,
    inapplicable: Vec<Candidate>,
    refused: Refused,
}

fn sift(candidates: Vec<Candidate>, rules: &MatchRules, quota: &QuotaBook) -> Sifted {
    let all = candidates.len();
    let mut left = candidates;
    left.retain(|one| one.is_near(rules));
    let similar = left.len();
    left.sort_unstable_by(Candidate::best_first);
    let (inapplicable, mut eligible): (Vec<_>, Vec<_>) =
        left.into_iter().partition(Candidate::is_refused);
    eligible.retain(|candidate| quota.allows(&candidate.id));
    let over_quota = similar - inapplicable.len() - eligible.len();
    let refused =
        Refused { below_floor: all - similar, inapplicable: inapplicable.len(), over_quota };
    Sifted { eligible, inapplicable, refused }
}

fn count_refusals(candidates: &[Candidate]) -> Option<BTreeMap<CheckKind, usize>> {
    let mut counts = None;
    for verdict in candidates.iter().filter_map(|candidate| candidate.verdict.as_ref()) {
        let counts: &mut BTreeMap<_, usize> = counts.get_or_insert_default();
        for finding in &verdict.findings {
            *counts.entry(finding.kind).or_default() += usize::from(!finding.missing.is_empty());
        }
    }
    counts
}

fn pick(candidate: &Candidate, probability: Option<f64>, rank: u32) -> Pick {
    let Candidate { id, similarity, score, .. } = candidate.clone();
    Pick { id, similarity, score, probability, rank }
}

fn explain(
    best: Option<f64>,
    rules: &MatchRules,
    refused: Refused,
    inapplicable: &[Candidate],
    quota: &QuotaBook,
) -> NoMatch {
    match (best, quota.cap(), inapplicable.first()) {
        (None, ..) => NoMatch::NoCandidates,
        (_, Some(cap), _) if refused.over_quota > 0 => {
            NoMatch::AllOverQuota { candidates: refused.over_quota, cap }
        }
        (.., Some(best)) => {
            let verdict = best.verdict.as_ref();
            let why = verdict.and_then(CheckVerdict::refusal).map(Finding::words);
            let (candidates, why) = (refused.inapplicable, why.unwrap_or_default());
            NoMatch::NothingApplies { candidates, why }
        }
        (Some(best), ..) => NoMatch::BelowSimilarityFloor { best, floor: rules.min_similarity() },
    }
}
