//! The vectors themselves, exactly as they were given: what every similarity a caller sees is
//! computed from, whichever way the candidates were found.

use std::ops::Range;

use numkong::{bf16, cast};

use super::vector::{clamp, dot};

/// A row-major f32 matrix of vectors of length 1.
#[derive(Debug)]
pub(super) struct Rows {
    dim: usize,
    values: Vec<f32>,
    /// The same in 16 bits, where every row is compared again and again.
    short: Option<Vec<bf16>>,
}

impl Rows {
    pub(super) fn new(dim: usize) -> Self {
        Self { dim, values: Vec::new(), short: None }
    }

    /// The same rows with a short form beside each: half as much memory again.
    pub(super) fn shortened(mut self) -> Self {
        self.short = Some(shortened(&self.values));
        self
    }

    /// These rows in 16 bits, where they are kept.
    pub(super) fn short(&self, rows: Range<usize>) -> Option<&[bf16]> {
        Some(&self.short.as_ref()?[rows.start * self.dim..rows.end * self.dim])
    }

    /// Rows from the little-endian bytes that [`Self::bytes`] gave; `None` where they are not
    /// `count` rows.
    pub(super) fn from_bytes(dim: usize, count: usize, bytes: &[u8]) -> Option<Self> {
        if Some(bytes.len()) != Self::size(dim, count) {
            return None;
        }
        let value = |bytes: &[u8]| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        Some(Self { dim, values: bytes.chunks_exact(4).map(value).collect(), short: None })
    }

    /// Bytes that `count` rows take; `None` where no memory could hold them.
    pub(super) fn size(dim: usize, count: usize) -> Option<usize> {
        count.checked_mul(dim)?.checked_mul(4)
    }

    pub(super) fn bytes(&self) -> impl Iterator<Item = u8> {
        self.values.iter().flat_map(|value| value.to_le_bytes())
    }

    pub(super) fn dim(&self) -> usize {
        self.dim
    }

    pub(super) fn len(&self) -> usize {
        self.values.len() / self.dim
    }

    pub(super) fn push(&mut self, vector: &[f32]) {
        self.values.extend_from_slice(vector);
        if let Some(short) = &mut self.short {
            short.extend(shortened(vector));
        }
    }

    pub(super) fn row(&self, at: usize) -> &[f32] {
        &self.values[at * self.dim..(at + 1) * self.dim]
    }

    /// Replaces a row, of rows that have no short form.
    pub(super) fn set(&mut self, at: usize, vector: &[f32]) {
        self.values[at * self.dim..(at + 1) * self.dim].copy_from_slice(vector);
    }

    /// Puts the last row in the place of row `at` and forgets the last one.
    pub(super) fn swap_remove(&mut self, at: usize) {
        let last = self.len() - 1;
        self.values.copy_within(last * self.dim.., at * self.dim);
        self.values.truncate(last * self.dim);
        if let Some(short) = &mut self.short {
            short.copy_within(last * self.dim.., at * self.dim);
            short.truncate(last * self.dim);
        }
    }

    /// The cosine similarity of a row with a query of length 1: the same bits whoever asks.
    pub(super) fn similarity(&self, at: usize, query: &[f32]) -> f32 {
        clamp(dot(self.row(at), query))
    }

    pub(super) fn values(&self, rows: Range<usize>) -> &[f32] {
        &self.values[rows.start * self.dim..rows.end * self.dim]
    }
}

/// Values in 16 bits.
pub(super) fn shortened(values: &[f32]) -> Vec<bf16> {
    let mut short = vec![bf16::ZERO; values.len()];
    // They are equally many, which is all that it asks for.
    let _done = cast(values, &mut short);
    short
}
