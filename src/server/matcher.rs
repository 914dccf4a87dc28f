//! Matching queries of a request: embed what has to be embedded, search, draw.

use std::collections::VecDeque;
use std::sync::Arc;

use super::app::{App, Embedded, merge, split};
use super::fault::Fault;
use super::options::Draw;
use super::pb::{self, match_query::ImageSource, match_result};
use super::{convert, validate};
use crate::base::hash;
use crate::encoder::queue::{CallContext, ImageEmbedded, TextEmbedded, Timings};
use crate::matching::{Candidate, Matcher, Outcome, Query, QuotaBook};

/// A query's vectors; at least one is there.
struct Vectors {
    image: Option<Vec<f32>>,
    caption: Option<Vec<f32>>,
}

/// Where a query's vectors come from.
struct Plan {
    image: Part,
    caption: Part,
}

enum Part {
    Absent,
    /// The next of those that are being embedded.
    Embedded,
    Given(Vec<f32>),
}

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
        let (vectors, timings) = self.vectors(queries, context).await?;
        let work = move |app: &Self| app.match_vectors(ids, vectors, &draw);
        let (results, revision) = self.blocking(work).await?;
        Ok(Matched { results, revision, timings })
    }

    /// The vectors of each query; images and captions are embedded at once.
    async fn vectors(
        &self,
        queries: Vec<pb::MatchQuery>,
        context: &CallContext,
    ) -> Result<Embedded<Vectors>, Fault> {
        let (mut images, mut captions) = (Vec::new(), Vec::new());
        let plans: Vec<_> = queries
            .into_iter()
            .enumerate()
            .map(|(at, query)| {
                let field = format!("queries[{at}]");
                plan(query, &field, self.dim(), &mut images, &mut captions)
            })
            .collect();
        let embedding_images = self.embed_images(images, "image", context);
        let embedding_captions = self.embed_texts(captions, "caption", context);
        let (images, captions) = tokio::join!(embedding_images, embedding_captions);
        let ((images, image_time), (captions, caption_time)) = (images?, captions?);
        let (mut images, mut captions) = (VecDeque::from(images), VecDeque::from(captions));
        let vectors = plans.into_iter().map(|plan| fill(plan?, &mut images, &mut captions));
        Ok((vectors.collect(), image_time.longest(caption_time)))
    }

    fn match_vectors(
        &self,
        ids: Vec<String>,
        vectors: Vec<Result<Vectors, Fault>>,
        draw: &Draw,
    ) -> Result<(Vec<pb::MatchResult>, i64), Fault> {
        let revision = convert::whole(self.library.revision());
        if self.library.is_empty() {
            return Err(Fault::library_empty());
        }
        let matcher = Matcher::new(draw.rules.clone(), self.library.live_index(), None)
            .map_err(Fault::from)?;
        let queries = vectors.into_iter().map(|vectors| query(&matcher, &vectors?));
        let (queries, gaps) = split(queries);
        let candidates = matcher.candidates(&queries).map_err(Fault::from)?;
        let candidates = merge(candidates.into_iter().map(Ok).collect(), gaps);
        let results = ids.into_iter().zip(candidates).map(|(id, candidates)| {
            let drawn = candidates.and_then(|found| self.draw(&matcher, &id, found, draw.seed));
            let result = match drawn {
                Ok(matched) => match_result::Result::Match(matched),
                Err(fault) => match_result::Result::Error(fault.into_item()),
            };
            pb::MatchResult { id, result: Some(result) }
        });
        Ok((results.collect(), revision))
    }

    fn draw(
        &self,
        matcher: &Matcher,
        id: &str,
        candidates: Vec<Candidate>,
        seed: u64,
    ) -> Result<pb::Match, Fault> {
        let mut no_quota = QuotaBook::with_share(0.0, 0);
        let outcome = matcher.draw(candidates, &mut no_quota, hash::seed(seed, &["match", id]));
        Ok(self.shown(outcome.map_err(Fault::from)?))
    }

    fn shown(&self, outcome: Outcome) -> pb::Match {
        let Outcome { picks, considered, refused, no_match } = outcome;
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
        let candidates = considered.into_iter().filter_map(|candidate| {
            let stored = self.library.by_key(&candidate.id)?;
            Some(pb::Candidate {
                instruction: convert::instruction_name(&stored.id),
                similarity: candidate.similarity,
                score: candidate.score,
            })
        });
        pb::Match {
            picks: picks.collect(),
            candidates: candidates.collect(),
            no_match_reason: no_match.as_ref().map(|no| no.code().to_owned()).unwrap_or_default(),
            no_match_message: no_match.map(|no| no.to_string()).unwrap_or_default(),
            below_floor_count: convert::count(refused.below_floor),
        }
    }
}

fn plan(
    query: pb::MatchQuery,
    field: &str,
    dim: usize,
    images: &mut Vec<pb::Image>,
    captions: &mut Vec<String>,
) -> Result<Plan, Fault> {
    let pb::MatchQuery { id: _, image_source, caption } = query;
    if image_source.is_none() && caption.trim().is_empty() {
        return Err(Fault::required(format!("{field}: an image or a caption")));
    }
    let image = match image_source {
        None => Part::Absent,
        Some(ImageSource::ImageEmbedding(given)) => {
            validate::embedding(&format!("{field}.image_embedding"), &given, dim)?;
            Part::Given(given.values)
        }
        Some(ImageSource::Image(image)) => {
            images.push(image);
            Part::Embedded
        }
    };
    let caption = if caption.trim().is_empty() {
        Part::Absent
    } else {
        captions.push(caption);
        Part::Embedded
    };
    Ok(Plan { image, caption })
}

/// Takes a query's vectors from those embedded. Both are taken even when one is a fault, so that
/// the next query gets its own.
fn fill(
    plan: Plan,
    images: &mut VecDeque<Result<ImageEmbedded, Fault>>,
    captions: &mut VecDeque<Result<TextEmbedded, Fault>>,
) -> Result<Vectors, Fault> {
    let image = part(plan.image, images, |image| image.vector);
    let caption = part(plan.caption, captions, |text| text.vector);
    Ok(Vectors { image: image?, caption: caption? })
}

fn part<T>(
    part: Part,
    embedded: &mut VecDeque<Result<T, Fault>>,
    vector: fn(T) -> Vec<f32>,
) -> Result<Option<Vec<f32>>, Fault> {
    match part {
        Part::Absent => Ok(None),
        Part::Given(vector) => Ok(Some(vector)),
        Part::Embedded => match embedded.pop_front() {
            Some(embedded) => embedded.map(vector).map(Some),
            None => Err(Fault::internal("no embedding for this query")),
        },
    }
}

fn query(matcher: &Matcher, vectors: &Vectors) -> Result<Query, Fault> {
    let query = match (&vectors.image, &vectors.caption) {
        (Some(image), caption) => matcher.query(image, caption.as_deref()),
        (None, Some(caption)) => matcher.query(caption, None),
        (None, None) => return Err(Fault::required("an image or a caption")),
    };
    query.map_err(Fault::from)
}
