//! Image and caption in one query.

use super::MatchError;
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
