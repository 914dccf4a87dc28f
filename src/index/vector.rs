//! Checks and arithmetic on single vectors and ids.

use std::collections::HashSet;

use super::{IndexError, threads};

/// Below this Euclidean length a vector has no direction that rounding has not made up.
const SHORTEST: f64 = 1e-12;

/// `vector` scaled to Euclidean length 1, and its length before. The sums are in f64, so neither
/// tiny nor huge values lose the direction.
///
/// `subject` names the vector in the error, for instance `query 3`.
///
/// # Errors
/// The width is not `dim`, a value is not finite, or the length is zero.
pub fn unit(
    vector: &[f32],
    dim: usize,
    subject: impl FnOnce() -> String,
) -> Result<(Vec<f32>, f64), IndexError> {
    if vector.len() != dim {
        return Err(IndexError::WrongWidth {
            subject: subject(),
            expected: dim,
            actual: vector.len(),
        });
    }
    if let Some(position) = vector.iter().position(|value| !value.is_finite()) {
        let value = vector[position];
        return Err(IndexError::NotFinite { subject: subject(), position, value });
    }
    let length = vector.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
    if length < SHORTEST {
        return Err(IndexError::ZeroVector { subject: subject() });
    }
    let scaled = vector.iter().map(|&value| (f64::from(value) / length) as f32).collect();
    Ok((scaled, length))
}

/// The queries brought to length 1, on at most `threads` threads.
///
/// # Errors
/// As [`unit`]; a query is named by its place.
pub fn units(queries: &[&[f32]], dim: usize, threads: usize) -> Result<Vec<Vec<f32>>, IndexError> {
    threads::map(queries, threads, |position, query| {
        unit(query, dim, || format!("query {position}")).map(|(query, _)| query)
    })
}

/// Refuses ids that cannot name a vector.
pub(super) fn check_id(id: &str) -> Result<(), IndexError> {
    let problem = if id.is_empty() {
        "is empty"
    } else if id.contains('\0') {
        "holds a NUL character"
    } else {
        return Ok(());
    };
    Err(IndexError::BadId { id: id.to_owned(), problem })
}

/// Checks items that are to be added together; their vectors scaled to length 1.
pub(super) fn check_many(
    items: &[(String, Vec<f32>)],
    dim: usize,
    threads: usize,
    known: impl Fn(&str) -> bool,
) -> Result<Vec<Vec<f32>>, IndexError> {
    let mut seen = HashSet::with_capacity(items.len());
    for (id, _) in items {
        check_id(id)?;
        if known(id) || !seen.insert(id) {
            return Err(IndexError::DuplicateId { id: id.clone() });
        }
    }
    threads::map(items, threads, |_, (id, vector)| {
        unit(vector, dim, || format!("the vector of {id:?}")).map(|(unit, _)| unit)
    })
}

/// Inner product of two vectors of one width, always summed in the same order.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    // Eight independent sums let the compiler use SIMD without changing the result.
    let mut sums = [0f32; 8];
    let (left, right) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f32 = left.remainder().iter().zip(right.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in left.zip(right) {
        for lane in 0..8 {
            sums[lane] += x[lane] * y[lane];
        }
    }
    sums.iter().sum::<f32>() + rest
}

/// Rounding may carry the cosine of two unit vectors past 1; `+ 0.0` makes -0 and 0 one value,
/// so that they tie.
pub(super) fn clamp(similarity: f32) -> f32 {
    similarity.clamp(-1.0, 1.0) + 0.0
}
