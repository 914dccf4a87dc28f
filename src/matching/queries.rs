//! Many photos at once: embed what is no vector yet, search, draw. The service and a run go this
//! one way; a run brings vectors that its embed stage has made.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{MatchError, Matcher, Outcome, Query, QuotaBook};
use crate::encoder::EncoderError;
use crate::encoder::queue::{CallContext, EncoderService, ItemError, QueueError, Timings};

/// A photo to be matched, or a text in the place of one.
#[derive(Debug, Clone)]
pub struct MatchQuery {
    pub subject: Subject,
    pub caption: Option<String>,
}

/// What instructions are sought for.
#[derive(Debug, Clone)]
pub enum Subject {
    /// The bytes of an image file.
    Photo(Bytes),
    Text(String),
    /// An embedding, of any length but zero.
    Vector(Vec<f32>),
}

/// The embeddings of one query.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryVectors {
    pub subject: Vec<f32>,
    pub caption: Option<Vec<f32>>,
}

/// Embeds queries, photos and texts at once. What is wrong with one is its own result, in the
/// queries' order; the times are those of the slowest.
///
/// # Errors
/// The queue refused the photos or the texts as a whole.
pub async fn embed_queries(
    encoder: &EncoderService,
    queries: Vec<MatchQuery>,
    call: &CallContext,
) -> Result<(Vec<Result<QueryVectors, ItemError>>, Timings), QueueError> {
    let (mut photos, mut texts) = (Vec::new(), Vec::new());
    let parts: Vec<_> = queries
        .into_iter()
        .map(|MatchQuery { subject, caption }| {
            let subject = match subject {
                Subject::Vector(vector) => Part::Given(vector),
                Subject::Photo(photo) => {
                    photos.push(photo);
                    Part::Photo
                }
                Subject::Text(text) => {
                    texts.push(text);
                    Part::Text
                }
            };
            (subject, caption.map(|caption| texts.push(caption)).is_some())
        })
        .collect();
    let embedding_photos = async {
        if photos.is_empty() {
            return Ok((VecDeque::new(), Timings::default()));
        }
        let embedded = encoder.embed_images(photos, call).await?;
        let vectors = embedded.items.into_iter().map(|item| item.map(|photo| photo.vector));
        Ok::<_, QueueError>((vectors.collect(), embedded.timings))
    };
    let embedding_texts = async {
        if texts.is_empty() {
            return Ok((VecDeque::new(), Timings::default()));
        }
        let embedded = encoder.embed_texts(texts, call).await?;
        let vectors = embedded.items.into_iter().map(|item| item.map(|text| text.vector));
        Ok::<_, QueueError>((vectors.collect(), embedded.timings))
    };
    let (photos, texts) = tokio::join!(embedding_photos, embedding_texts);
    let ((photos, photo_time), (texts, text_time)) = (photos?, texts?);
    let mut embedded = Embedded { photos, texts };
    let vectors = parts.into_iter().map(|part| embedded.take(part)).collect();
    Ok((vectors, photo_time.longest(text_time)))
}

/// Where a subject's vector comes from.
enum Part {
    Given(Vec<f32>),
    Photo,
    Text,
}

/// Vectors not taken yet, in the queries' order.
struct Embedded {
    photos: VecDeque<Result<Vec<f32>, ItemError>>,
    texts: VecDeque<Result<Vec<f32>, ItemError>>,
}

impl Embedded {
    /// Takes the vectors of the next query: both, even when one has failed, so that the query
    /// after it gets its own.
    fn take(&mut self, (subject, captioned): (Part, bool)) -> Result<QueryVectors, ItemError> {
        // The queue answers each item, unless it ends.
        let closed = || Err(ItemError::Encoder(EncoderError::Closed));
        let next = |from: &mut VecDeque<_>| from.pop_front().unwrap_or_else(closed);
        let subject = match subject {
            Part::Given(vector) => Ok(vector),
            Part::Photo => next(&mut self.photos),
            Part::Text => next(&mut self.texts),
        };
        let caption = captioned.then(|| next(&mut self.texts)).transpose();
        Ok(QueryVectors { subject: subject?, caption: caption? })
    }
}

/// The embeddings of one photo, and the seed of its draw.
#[derive(Debug, Clone, Copy)]
pub struct Drawing<'a> {
    pub subject: &'a [f32],
    pub caption: Option<&'a [f32]>,
    pub seed: u64,
}

/// Searches all queries together, then draws for one after the other, counting in `quota`. What
/// is wrong with one query is its own result, in the queries' order.
///
/// # Errors
/// The index failed, or the hubness statistics do not know a candidate.
pub fn match_queries(
    matcher: &Matcher,
    quota: &mut QuotaBook,
    queries: &[Drawing<'_>],
) -> Result<Vec<Result<Outcome, MatchError>>, MatchError> {
    let mut sound: Vec<Query> = Vec::with_capacity(queries.len());
    let refused: Vec<Option<MatchError>> = queries
        .iter()
        .map(|one| matcher.query(one.subject, one.caption).map(|query| sound.push(query)).err())
        .collect();
    let mut found = matcher.candidates(&sound)?.into_iter();
    let drawn = queries.iter().zip(refused).map(|(query, refused)| match refused {
        Some(refused) => Err(refused),
        None => matcher.draw(found.next().unwrap_or_default(), quota, query.seed),
    });
    Ok(drawn.collect())
}
