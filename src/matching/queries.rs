//! Queries: image and caption in one vector, and the way of many photos at once. The service and a
//! run go that one way; a run brings vectors that its embed stage has made.

use std::collections::VecDeque;

use bytes::Bytes;

use super::applicable::find_candidates;
use super::check::PhotoView;
use super::{Candidate, MatchError, Matcher, Outcome, QuotaBook};
use crate::encoder::EncoderError;
use crate::encoder::queue::{CallContext, EncoderService, ItemError, QueueError, Timings};
use crate::index::unit;

/// Below this length the sum of two unit vectors is mostly rounding.
const SHORTEST: f64 = 1e-6;

/// A search vector of length 1 and the factor that turns its cosines into similarities.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    vector: Vec<f32>,
    norm: f64,
}

impl Query {
    /// The vector to search with, of length 1.
    pub fn vector(&self) -> &[f32] {
        &self.vector
    }

    /// Length of the weighted sum, in (0, 1]: similarity = `norm` · cosine.
    pub fn norm(&self) -> f64 {
        self.norm
    }

    /// The similarity that belongs to a cosine with [`Self::vector`].
    pub fn similarity(&self, cosine: f32) -> f64 {
        self.norm * f64::from(cosine)
    }
}

/// Makes one query of an image and its caption, both embeddings of one width, of any length.
///
/// The similarity wanted is (1 − w) · cos(image, t) + w · cos(caption, t) for an instruction t.
/// It is linear in t, so it equals the inner product of t with the weighted sum of both unit
/// vectors, and one search serves. Without a caption the weight plays no part.
///
/// # Errors
/// A vector is refused as the index would refuse it, or the two cancel out.
pub fn combined_query(
    image: &[f32],
    caption: Option<&[f32]>,
    caption_weight: f64,
) -> Result<Query, MatchError> {
    let (image, _) = unit(image, image.len(), || "the image's embedding".to_owned())?;
    let Some(caption) = caption else {
        return Ok(Query { vector: image, norm: 1.0 });
    };
    let (caption, _) = unit(caption, image.len(), || "the caption's embedding".to_owned())?;
    let weigh = |(&a, &b): (&f32, &f32)| {
        (1.0 - caption_weight) * f64::from(a) + caption_weight * f64::from(b)
    };
    let sum: Vec<f64> = image.iter().zip(&caption).map(weigh).collect();
    let norm = sum.iter().map(|value| value * value).sum::<f64>().sqrt();
    if norm < SHORTEST {
        return Err(MatchError::OppositeCaption { length: norm, caption_weight });
    }
    // Two equal unit vectors may round to a hair above 1.
    let vector = sum.iter().map(|value| (value / norm) as f32).collect();
    Ok(Query { vector, norm: norm.min(1.0) })
}

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

/// The embeddings of one query, and what people say of its photo.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryVectors {
    pub subject: Vec<f32>,
    pub caption: Option<Vec<f32>>,
    /// The caption, or the text that stands in the place of a photo.
    pub descriptions: Vec<String>,
    /// Whether `subject` is a photo's embedding and not a text's.
    pub is_photo: bool,
}

impl QueryVectors {
    /// These for a draw by `seed`.
    pub fn drawing(&self, seed: u64) -> Drawing<'_> {
        let Self { subject, caption, descriptions, is_photo } = self;
        let (caption, is_photo) = (caption.as_deref(), *is_photo);
        Drawing { subject, caption, descriptions, is_photo, seed }
    }
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
            let mut descriptions: Vec<String> = caption.iter().cloned().collect();
            let subject = match subject {
                Subject::Vector(vector) => Part::Given(vector),
                Subject::Photo(photo) => {
                    photos.push(photo);
                    Part::Photo
                }
                Subject::Text(text) => {
                    descriptions.push(text.clone());
                    texts.push(text);
                    Part::Text
                }
            };
            (subject, caption.map(|caption| texts.push(caption)).is_some(), descriptions)
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
    fn take(
        &mut self,
        (subject, captioned, descriptions): (Part, bool, Vec<String>),
    ) -> Result<QueryVectors, ItemError> {
        // The queue answers each item, unless it ends.
        let closed = || Err(ItemError::Encoder(EncoderError::Closed));
        let next = |from: &mut VecDeque<_>| from.pop_front().unwrap_or_else(closed);
        let is_photo = !matches!(subject, Part::Text);
        let subject = match subject {
            Part::Given(vector) => Ok(vector),
            Part::Photo => next(&mut self.photos),
            Part::Text => next(&mut self.texts),
        };
        let caption = captioned.then(|| next(&mut self.texts)).transpose();
        Ok(QueryVectors { subject: subject?, caption: caption?, descriptions, is_photo })
    }
}

/// What is known of one photo, and the seed of its draw.
#[derive(Debug, Clone, Copy)]
pub struct Drawing<'a> {
    pub subject: &'a [f32],
    pub caption: Option<&'a [f32]>,
    /// What people say is in the photo; checks go by it.
    pub descriptions: &'a [String],
    /// Whether `subject` is a photo's embedding and not a text's.
    pub is_photo: bool,
    pub seed: u64,
}

/// Searches all queries together, checks what was found, then draws for one after the other,
/// counting in `quota`. What is wrong with one query is its own result, in the queries' order.
///
/// # Errors
/// The index failed, the hubness statistics do not know a candidate, or what an instruction
/// requires could not be embedded.
pub fn match_queries(
    matcher: &Matcher,
    quota: &mut QuotaBook,
    queries: &[Drawing<'_>],
) -> Result<Vec<Result<Outcome, MatchError>>, MatchError> {
    let found = checked_candidates(matcher, queries)?;
    let drawn = queries
        .iter()
        .zip(found)
        .map(|(query, candidates)| matcher.draw(candidates?, quota, query.seed));
    Ok(drawn.collect())
}

/// The part of [`match_queries`] before the draw: the candidates of each query with the verdicts
/// of the checks. Touches no quota.
///
/// # Errors
/// As [`match_queries`].
pub fn checked_candidates(
    matcher: &Matcher,
    queries: &[Drawing<'_>],
) -> Result<Vec<Result<Vec<Candidate>, MatchError>>, MatchError> {
    let units: Vec<_> = queries.iter().map(|one| Units::of(matcher, one)).collect();
    let sound = queries.iter().zip(&units).filter_map(|(query, units)| {
        let units = units.as_ref().ok()?;
        Some((&units.query, units.photo(query)))
    });
    let found = find_candidates(matcher, &sound.collect::<Vec<_>>())?;
    let mut found = found.into_iter();
    let found = units.into_iter().map(|one| one.map(|_| found.next().unwrap_or_default()));
    Ok(found.collect())
}

/// A query, and its photo at length 1.
struct Units {
    query: Query,
    image: Option<Vec<f32>>,
}

impl Units {
    fn of(matcher: &Matcher, one: &Drawing<'_>) -> Result<Self, MatchError> {
        let query = matcher.query(one.subject, one.caption)?;
        let image = one
            .is_photo
            .then(|| unit(one.subject, one.subject.len(), || "an embedding".to_owned()))
            .transpose()?;
        Ok(Self { query, image: image.map(|(image, _)| image) })
    }

    fn photo<'a>(&'a self, one: &Drawing<'a>) -> PhotoView<'a> {
        PhotoView { descriptions: one.descriptions, image: self.image.as_deref() }
    }
}
