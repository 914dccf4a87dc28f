//! Matching queries of a request: what travels becomes what the engine matches, and back.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;

use super::app::{App, merge, split};
use super::fault::Fault;
use super::llm_check::{Asking, Candidates};
use super::options::Draw;
use super::pb::{self, match_query::ImageSource, match_result};
use super::{convert, validate};
use crate::base::hash;
use crate::encoder::queue::{CallContext, Timings};
use crate::instruction::store::StoredInstruction;
use crate::matching::check::{CheckKind, Finding};
use crate::matching::{
    Candidate, CandidateCheck, MatchQuery, Matcher, Outcome, QueryVectors, QuotaBook, Subject,
    Wording, checked_candidates, embed_queries,
};

/// Fewer queries than this are not worth another thread.
const MIN_SHARE: usize = 8;

/// What was found for queries, each with its id.
type Found = Vec<(String, Result<Candidates, Fault>)>;

/// Results in the order of the queries, the library's revision, and where the time went.
pub struct Matched {
    pub results: Vec<pb::MatchResult>,
    pub revision: i64,
    pub timings: Timings,
}

impl App {
    /// Matches queries, each with its id; what is wrong with one is its own result.
    ///
    /// # Errors
    /// The library is empty, or the queue refused the call as a whole.
    pub async fn match_queries(
        self: &Arc<Self>,
        queries: Vec<(String, pb::MatchQuery)>,
        draw: Draw,
        context: &CallContext,
    ) -> Result<Matched, Fault> {
        let (ids, queries): (Vec<_>, Vec<_>) = queries.into_iter().unzip();
        let photos = queries.iter().filter_map(photo).collect();
        let (seed, rules) = (draw.seed, draw.rules.clone());
        let asks = rules.checks().contains(&CheckKind::Llm);
        let shows = asks && self.config.check.see.shows_photo();
        // Holds the memory of the photos until they are embedded, and shown where that is asked for.
        let mut loaded = self.images.load(photos, "image").await?;
        let mut photos = loaded.take_images().into_iter();
        let mut shown = Vec::new();
        let queries = queries.into_iter().enumerate().map(|(at, query)| {
            let photo = photo(&query).and_then(|_| photos.next()).transpose();
            let sound = photo.as_ref().ok().and_then(Option::as_ref);
            shown.push(sound.filter(|_| shows).cloned());
            self.query(query, photo?, &format!("queries[{at}]"))
        });
        let (sound, refused) = split(queries);
        let (vectors, timings) = embed_queries(&self.queue, sound, context).await?;
        let loaded = shows.then_some(loaded);
        let vectors = vectors.into_iter().map(|one| one.map_err(Fault::from));
        let vectors = merge(vectors.collect(), refused);
        if !asks {
            // In one go: going to another thread and back takes as long as the search.
            let matching = move |app: &App| app.found_and_drawn(ids, vectors, &draw);
            let (results, revision) = self.blocking(matching).await?;
            return Ok(Matched { results, revision, timings });
        }
        let finding = move |app: &App| {
            let (matcher, revision) = app.instruction_matcher(&draw)?;
            let found = app.found(&matcher, ids, vectors, seed)?;
            Ok((matcher, revision, found))
        };
        let (matcher, revision, mut found) = self.blocking(finding).await?;
        for ((_, query), photo) in found.iter_mut().zip(shown) {
            query.iter_mut().for_each(|query| query.photo.clone_from(&photo));
        }
        let asking = Asking { rules: &rules, seed, deadline: context.deadline };
        self.ask_what_applies(&mut found, &asking).await?;
        drop(loaded);
        let results = self.blocking(move |app| Ok(app.drawn(&matcher, found, seed))).await?;
        Ok(Matched { results, revision, timings })
    }

    /// A query as the engine takes it, with the bytes of its photo.
    fn query(
        &self,
        query: pb::MatchQuery,
        photo: Option<bytes::Bytes>,
        field: &str,
    ) -> Result<MatchQuery, Fault> {
        let caption = Some(query.caption).filter(|caption| !caption.trim().is_empty());
        if let Some(caption) = &caption {
            validate::shown_text(&format!("{field}.caption"), caption, &self.limits)?;
        }
        match (query.image_source, photo, caption) {
            (Some(ImageSource::ImageEmbedding(given)), _, caption) => {
                validate::embedding(&format!("{field}.image_embedding"), &given, self.dim())?;
                Ok(MatchQuery { subject: Subject::Vector(given.values), caption })
            }
            (_, Some(photo), caption) => Ok(MatchQuery { subject: Subject::Photo(photo), caption }),
            (_, None, Some(caption)) => {
                Ok(MatchQuery { subject: Subject::Text(caption), caption: None })
            }
            (_, None, None) => Err(Fault::required(format!("{field}: an image or a caption"))),
        }
    }

    /// The candidates of each query, with what the checks without a language model say of them.
    fn found(
        &self,
        matcher: &Matcher,
        ids: Vec<String>,
        vectors: Vec<Result<QueryVectors, Fault>>,
        seed: u64,
    ) -> Result<Found, Fault> {
        let (sound, refused) = split(vectors.into_iter());
        let drawings: Vec<_> = sound.iter().map(|one| one.drawing(seed)).collect();
        let found = checked_candidates(matcher, &drawings).map_err(Fault::from)?;
        drop(drawings);
        let found = found.into_iter().zip(sound).map(|(candidates, query)| {
            let QueryVectors { descriptions, .. } = query;
            Ok(Candidates { descriptions, list: candidates.map_err(Fault::from)?, photo: None })
        });
        Ok(ids.into_iter().zip(merge(found.collect(), refused)).collect())
    }

    /// [`Self::found`] and then [`Self::drawn`], in parts side by side where there are many queries:
    /// what is done with the candidates takes about as long as finding them.
    fn found_and_drawn(
        &self,
        ids: Vec<String>,
        vectors: Vec<Result<QueryVectors, Fault>>,
        draw: &Draw,
    ) -> Result<(Vec<pb::MatchResult>, i64), Fault> {
        let (matcher, revision) = self.instruction_matcher(draw)?;
        let (matcher, seed) = (&matcher, draw.seed);
        let work =
            |ids, vectors| Ok(self.drawn(matcher, self.found(matcher, ids, vectors, seed)?, seed));
        let share = ids.len().div_ceil(rayon::current_num_threads()).max(MIN_SHARE);
        if ids.len() <= share {
            return Ok((work(ids, vectors)?, revision));
        }
        let (mut ids, mut vectors) = (ids.into_iter(), vectors.into_iter());
        let mut next = || -> (Vec<_>, Vec<_>) {
            (ids.by_ref().take(share).collect(), vectors.by_ref().take(share).collect())
        };
        let parts = std::iter::from_fn(|| Some(next()).filter(|(ids, _)| !ids.is_empty()));
        // Threads of their own: each part waits for the library's lock, and a search holds that lock
        // while it waits for the index's threads, which therefore must never wait for it.
        let parts: Vec<Result<Vec<_>, Fault>> = thread::scope(|scope| {
            let running: Vec<_> =
                parts.map(|(ids, vectors)| scope.spawn(move || work(ids, vectors))).collect();
            let ended = running.into_iter().map(|part| part.join());
            ended.map(|part| part.unwrap_or_else(|panic| resume_unwind(panic))).collect()
        });
        let parts = parts.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok((parts.into_iter().flatten().collect(), revision))
    }

    fn drawn(&self, matcher: &Matcher, found: Found, seed: u64) -> Vec<pb::MatchResult> {
        let mut quota = QuotaBook::unlimited();
        let results = found.into_iter().map(|(id, candidates)| {
            let seed = hash::seed(seed, &["match", &id]);
            let mut draw = |found: Candidates| matcher.draw(found.list, &mut quota, seed);
            let outcome = candidates.and_then(|found| draw(found).map_err(Fault::from));
            let result = match outcome {
                Ok(outcome) => match_result::Result::Match(self.shown(outcome)),
                Err(fault) => match_result::Result::Error(fault.into_item()),
            };
            pb::MatchResult { id, result: Some(result) }
        });
        results.collect()
    }

    /// A matcher of the instructions as they are now, and the library's revision.
    fn instruction_matcher(&self, draw: &Draw) -> Result<(Matcher, i64), Fault> {
        let revision = convert::whole(self.library.revision());
        if self.library.is_empty() {
            return Err(Fault::library_empty());
        }
        let index = self.library.filtered_index(&draw.filter);
        let matcher = Matcher::new(draw.rules.clone(), index, None).map_err(Fault::from)?;
        let matcher = matcher.with_recall(draw.recall);
        if draw.rules.checks().is_empty() {
            return Ok((matcher, revision));
        }
        let library = Arc::clone(&self.library);
        let wordings = move |key: &str| {
            let StoredInstruction { text, requires, .. } = library.by_key(key)?;
            Some(Wording { text, requires })
        };
        let checker = self.checker.with_kinds(draw.rules.checks());
        let check = CandidateCheck { checker, wordings: Arc::new(wordings) };
        Ok((matcher.with_check(check), revision))
    }

    fn shown(&self, outcome: Outcome) -> pb::Match {
        let Outcome { picks, considered, inapplicable, refused, no_match, .. } = outcome;
        let picks = picks.into_iter().filter_map(|pick| {
            // An instruction that was deleted meanwhile is no longer one.
            let stored = self.library.by_key(&pick.id)?;
            Some(pb::Pick {
                instruction: convert::instruction_name(&stored.id),
                text: stored.text.to_string(),
                similarity: pick.similarity,
                score: pick.score,
                probability: pick.probability,
                rank: i32::try_from(pick.rank).unwrap_or(i32::MAX),
            })
        });
        let candidates =
            |list: Vec<Candidate>| list.into_iter().filter_map(|one| self.candidate(one)).collect();
        pb::Match {
            picks: picks.collect(),
            candidates: candidates(considered),
            refused_candidates: candidates(inapplicable),
            refused_count: convert::count(refused.inapplicable),
            no_match_reason: no_match.as_ref().map(|no| no.code().to_owned()).unwrap_or_default(),
            no_match_message: no_match.map(|no| no.to_string()).unwrap_or_default(),
            below_floor_count: convert::count(refused.below_floor),
        }
    }

    /// A candidate as it travels; `None` where the instruction was deleted meanwhile.
    fn candidate(&self, candidate: Candidate) -> Option<pb::Candidate> {
        let stored = self.library.by_key(&candidate.id)?;
        let findings = candidate.verdict.iter().flat_map(|verdict| &verdict.findings);
        Some(pb::Candidate {
            instruction: convert::instruction_name(&stored.id),
            similarity: candidate.similarity,
            score: candidate.score,
            checks: findings.map(finding).collect(),
        })
    }
}

fn finding(found: &Finding) -> pb::CheckFinding {
    let kind = match found.kind {
        CheckKind::Text => pb::CheckKind::Text,
        CheckKind::Encoder => pb::CheckKind::Encoder,
        CheckKind::Llm => pb::CheckKind::Llm,
    };
    pb::CheckFinding { kind: kind.into(), score: found.score, missing: found.missing.clone() }
}

/// The photo of a query that has to be loaded.
fn photo(query: &pb::MatchQuery) -> Option<pb::Image> {
    match &query.image_source {
        Some(ImageSource::Image(image)) => Some(image.clone()),
        _ => None,
    }
}
