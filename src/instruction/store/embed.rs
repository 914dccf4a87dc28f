//! Vectors from the encoder: for a library that another model embedded, and for a seed.

use super::error::LibraryStoreError;
use super::rows::{self, Rows};
use crate::encoder::EncoderError;
use crate::index::unit;

/// Texts embedded in one call, and rows changed in one transaction.
const BATCH: usize = 256;

/// Embeds texts: one vector each, in order, of the library's width.
pub type EmbedTexts<'a> = &'a dyn Fn(&[&str]) -> Result<Vec<Vec<f32>>, EncoderError>;

/// Vectors of length 1 for all texts.
pub(super) fn all(
    texts: &[&str],
    dim: usize,
    embed: EmbedTexts<'_>,
) -> Result<Vec<Vec<f32>>, LibraryStoreError> {
    let mut vectors = Vec::with_capacity(texts.len());
    for part in texts.chunks(BATCH) {
        vectors.extend(batch(part, dim, embed)?);
    }
    Ok(vectors)
}

fn batch(
    texts: &[&str],
    dim: usize,
    embed: EmbedTexts<'_>,
) -> Result<Vec<Vec<f32>>, LibraryStoreError> {
    let vectors = embed(texts)?;
    if vectors.len() != texts.len() {
        let (tower, found) = ("text", format!("{} vectors", vectors.len()));
        return Err(EncoderError::Shape { tower, found, rows: texts.len(), dim }.into());
    }
    let unit = |(vector, text): (&Vec<f32>, &&str)| {
        unit(vector, dim, || format!("the vector of {text:?}")).map(|(unit, _)| unit)
    };
    Ok(vectors.iter().zip(texts).map(unit).collect::<Result<_, _>>()?)
}

/// Embeds anew what another model embedded. Each batch is kept, so an interrupted pass goes on
/// where it was.
pub(super) fn refresh(
    rows: &Rows,
    model: i64,
    dim: usize,
    embed: EmbedTexts<'_>,
) -> Result<(), LibraryStoreError> {
    let of = rows.count_stale(model)?;
    let (mut done, mut last) = (0, 0);
    if of > 0 {
        tracing::info!(of, "another model embedded these instructions: embedding them anew");
    }
    loop {
        let stale = rows.stale(model, last, BATCH)?;
        let Some((row, _)) = stale.last() else {
            return Ok(());
        };
        last = *row;
        let texts: Vec<&str> = stale.iter().map(|(_, text)| text.as_str()).collect();
        let vectors = batch(&texts, dim, embed)?;
        rows.write(|transaction| {
            for ((row, _), vector) in stale.iter().zip(&vectors) {
                rows::replace_vector(transaction, *row, model, vector)?;
            }
            rows::raise_revision(transaction)
        })?;
        done += stale.len() as u64;
        tracing::info!(done, of, "embedded anew");
    }
}
