//! What callers get.

use super::call::{Answer, Embedded, Timings};
use super::error::{ItemError, ProbeError};
use super::tower::TextFacts;
use crate::encoder::Embedding;
use crate::image::ImageInfo;

/// A photo's vector.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageEmbedded {
    pub vector: Embedding,
    pub info: ImageInfo,
    pub timings: Timings,
}

/// A text's vector.
#[derive(Debug, Clone, PartialEq)]
pub struct TextEmbedded {
    pub vector: Embedding,
    /// Tokens that went in, specials included.
    pub tokens: usize,
    /// True when the text was longer than the model's context and lost its end.
    pub truncated: bool,
    pub timings: Timings,
}

/// A call's results, one per item in order, and the longest of its items' times.
#[derive(Debug)]
pub struct Embeddings<T> {
    pub items: Vec<Result<T, ItemError>>,
    pub timings: Timings,
}

/// A call's photos.
pub type ImagesEmbedded = Embeddings<ImageEmbedded>;

/// A call's texts.
pub type TextsEmbedded = Embeddings<TextEmbedded>;

pub(super) fn images(answers: Vec<Answer<ImageInfo>>) -> ImagesEmbedded {
    Embeddings::of(answers, |embedded, timings| {
        let Embedded { vector, facts: info } = embedded;
        ImageEmbedded { vector, info, timings }
    })
}

pub(super) fn texts(answers: Vec<Answer<TextFacts>>) -> TextsEmbedded {
    Embeddings::of(answers, |embedded, timings| {
        let Embedded { vector, facts: TextFacts { tokens, truncated } } = embedded;
        TextEmbedded { vector, tokens, truncated, timings }
    })
}

impl<T> Embeddings<T> {
    fn of<F>(answers: Vec<Answer<F>>, one: impl Fn(Embedded<F>, Timings) -> T) -> Self {
        let longest = |longest: Timings, answer: &Answer<F>| longest.longest(answer.timings);
        let timings = answers.iter().fold(Timings::default(), longest);
        let item = |Answer { result, timings, .. }: Answer<F>| {
            result.map(|embedded| one(embedded, timings))
        };
        Self { items: answers.into_iter().map(item).collect(), timings }
    }
}

pub(super) fn first_error<F>(answers: Vec<Answer<F>>) -> Result<(), ProbeError> {
    answers.into_iter().try_for_each(|answer| Ok(answer.result.map(drop)?))
}
