//! Which candidates apply to a photo, found between the search and the draw.

use std::collections::HashMap;
use std::sync::Arc;

use super::check::llm::MOST_ASKED;
use super::check::{Asked, CheckVerdict, Checker, PhotoView};
use super::config::MOST;
use super::{Candidate, MatchError, MatchRules, Matcher, Query, Strategy};

/// How often a pool is widened for a photo of whose candidates too few apply.
const WIDENINGS: usize = 2;

/// How many times as large the pool is then.
const WIDER: usize = 4;

/// What an instruction says, and what it requires where that is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Wording {
    pub text: Arc<str>,
    pub requires: Option<Arc<[String]>>,
}

/// Gives the wording of the instruction with an index's id; `None` where it is gone.
pub type Wordings = Arc<dyn Fn(&str) -> Option<Wording> + Send + Sync>;

/// Checks a photo's candidates: by what, and where their words are.
#[derive(Clone)]
pub struct CandidateCheck {
    pub checker: Checker,
    pub wordings: Wordings,
}

impl CandidateCheck {
    /// Gives each candidate at or above `floor` that has no verdict its verdict.
    fn judge(
        &self,
        photo: &PhotoView<'_>,
        candidates: &mut [Candidate],
        floor: f64,
    ) -> Result<(), MatchError> {
        let open = |one: &&mut Candidate| one.verdict.is_none() && one.similarity >= floor;
        let worded = candidates.iter_mut().filter(open).filter_map(|candidate| {
            let wording = (self.wordings)(&candidate.id)?;
            Some((candidate, wording))
        });
        let (mut open, wordings): (Vec<_>, Vec<_>) = worded.unzip();
        let asked = wordings
            .iter()
            .map(|Wording { text, requires }| Asked { text, requires: requires.as_deref() });
        let verdicts = self.checker.verdicts(photo, &asked.collect::<Vec<_>>())?;
        for (candidate, verdict) in open.iter_mut().zip(verdicts) {
            candidate.verdict = Some(verdict);
        }
        Ok(())
    }

    /// Gives a verdict to the candidates below `floor` that certainly apply, and to no others.
    fn judge_below(
        &self,
        photo: &PhotoView<'_>,
        candidates: &mut [Candidate],
        floor: f64,
    ) -> Result<(), MatchError> {
        self.judge(photo, candidates, f64::NEG_INFINITY)?;
        for candidate in candidates.iter_mut().filter(|one| one.similarity < floor) {
            candidate.verdict = candidate.verdict.take().filter(CheckVerdict::is_founded);
        }
        Ok(())
    }
}

/// Searches the candidates of each query and checks those that are similar enough. Where fewer
/// apply than are to be drawn, the pool is widened, a bounded number of times. Where checks then
/// have refused some and still left too few, those below a floor that nobody set may be drawn, too,
/// if they certainly apply.
///
/// # Errors
/// The index failed, the hubness statistics do not know a candidate, or what an instruction
/// requires could not be embedded.
pub(super) fn find_candidates(
    matcher: &Matcher,
    queries: &[(&Query, PhotoView<'_>)],
) -> Result<Vec<Vec<Candidate>>, MatchError> {
    let (rules, all) = (matcher.rules(), queries.iter().map(|(query, _)| *query));
    let mut pool = rules.config().pool;
    let mut found = matcher.nearest(&all.collect::<Vec<_>>(), pool)?;
    let Some(check) = matcher.check() else { return Ok(found) };
    let floor = rules.min_similarity();
    for ((_, photo), candidates) in queries.iter().zip(&mut found) {
        check.judge(photo, candidates, floor)?;
    }
    let near =
        |candidates: &[Candidate]| candidates.iter().filter(|one| one.similarity >= floor).count();
    let refused =
        |candidates: &[Candidate]| candidates.iter().filter(|one| one.is_refused()).count();
    let is_short = |candidates: &[Candidate]| {
        near(candidates) - refused(candidates) < rules.config().per_image
    };
    for _ in 0..WIDENINGS {
        let short = |candidates: &[Candidate]| is_short(candidates) && near(candidates) >= pool;
        let short: Vec<usize> = (0..found.len()).filter(|&at| short(&found[at])).collect();
        if short.is_empty() || pool == MOST {
            break;
        }
        pool = (pool * WIDER).min(MOST);
        let wider = short.iter().map(|&at| queries[at].0).collect::<Vec<_>>();
        for (at, mut candidates) in short.into_iter().zip(matcher.nearest(&wider, pool)?) {
            take_verdicts(&mut candidates, std::mem::take(&mut found[at]));
            check.judge(&queries[at].1, &mut candidates, floor)?;
            found[at] = candidates;
        }
    }
    if !rules.floor_is_set() {
        for ((_, photo), candidates) in queries.iter().zip(&mut found) {
            if is_short(candidates) && refused(candidates) > 0 {
                check.judge_below(photo, candidates, floor)?;
            }
        }
    }
    Ok(found)
}

/// Keeps, of the candidates that nothing refused so far, the best ones, as many as a language model is
/// asked about, and those that were refused. Returns the places of the former.
pub fn keep_askable(list: &mut Vec<Candidate>, rules: &MatchRules) -> Vec<usize> {
    let config = rules.config();
    let most = match config.strategy {
        // It draws from the whole pool, whatever top_k is.
        Strategy::Mmr => MOST_ASKED,
        _ => config.top_k.max(config.per_image).min(MOST_ASKED),
    };
    list.sort_by(Candidate::best_first);
    let mut open = 0;
    list.retain(|one| {
        if !one.is_open(rules) {
            return true;
        }
        open += 1;
        open <= most
    });
    (0..list.len()).filter(|&at| list[at].is_open(rules)).collect()
}

/// Takes over what is known of those that were checked before.
fn take_verdicts(candidates: &mut [Candidate], known: Vec<Candidate>) {
    let known = known.into_iter().map(|one| (one.id, one.verdict));
    let mut known: HashMap<String, _> = known.collect();
    for candidate in candidates {
        candidate.verdict = known.remove(&candidate.id).flatten();
    }
}
