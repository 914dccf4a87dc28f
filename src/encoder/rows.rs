//! The rows of a batch: a graph's output becomes one unit vector for each, and one bad row does not
//! fail those beside it.

use super::{Embedding, EncoderError, unit};
use crate::model::manifest::Pooling;

/// What a tower's graph is expected to answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer<'a> {
    pub tower: &'static str,
    pub pooling: Pooling,
    /// Width of the embeddings.
    pub dim: usize,
    /// Of each row, how many of its places are no padding; empty where there is no padding.
    pub lengths: &'a [usize],
}

impl Answer<'_> {
    /// Pools and normalises `values` of this shape, `rows` of them wanted.
    ///
    /// # Errors
    /// The shape is another one, or a vector has no direction.
    pub fn rows(
        &self,
        rows: usize,
        shape: &[usize],
        values: &[f32],
    ) -> Result<Vec<Embedding>, EncoderError> {
        let Self { tower, pooling, dim, .. } = *self;
        let places = match (pooling, shape) {
            (Pooling::None, [found, width]) if (*found, *width) == (rows, dim) => 1,
            (Pooling::None, _) => 0,
            (_, [found, places, width]) if (*found, *width) == (rows, dim) => *places,
            _ => 0,
        };
        if places == 0 {
            let found = format!("{shape:?}");
            return Err(EncoderError::Shape { tower, found, rows, dim });
        }
        let of_row = values.chunks_exact(places * dim).enumerate();
        of_row.map(|(row, values)| unit(tower, row, &self.pool(row, places, values))).collect()
    }

    fn pool(&self, row: usize, places: usize, values: &[f32]) -> Embedding {
        let length = self.lengths.get(row).copied().unwrap_or(places).clamp(1, places);
        let at = |place: usize| values[place * self.dim..][..self.dim].to_vec();
        match self.pooling {
            Pooling::None | Pooling::First => at(0),
            Pooling::End => at(length - 1),
            Pooling::Last => at(places - 1),
            Pooling::Mean => {
                let mut sum = vec![0f32; self.dim];
                for place in values.chunks_exact(self.dim).take(length) {
                    sum.iter_mut().zip(place).for_each(|(sum, value)| *sum += value);
                }
                // The length does not change the direction.
                sum
            }
        }
    }
}

/// Runs a batch; when that fails, its rows one by one, so that only the rows at fault fail. One
/// result per row, in order. A batch of one is not tried twice.
pub fn whole_or_one_by_one<T, R>(
    batch: &[T],
    run: impl Fn(&[T]) -> Result<Vec<R>, EncoderError>,
) -> Vec<Result<R, EncoderError>> {
    match run(batch) {
        Ok(values) if values.len() == batch.len() => values.into_iter().map(Ok).collect(),
        Err(error) if batch.len() == 1 => vec![Err(error)],
        _ => batch.chunks(1).map(|row| only(run(row)?)).collect(),
    }
}

fn only<R>(mut values: Vec<R>) -> Result<R, EncoderError> {
    let rows = values.len();
    match values.pop() {
        Some(value) if rows == 1 => Ok(value),
        _ => Err(EncoderError::Rows { wanted: 1, found: rows }),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn answer(pooling: Pooling, lengths: &[usize]) -> Answer<'_> {
        Answer { tower: "text", pooling, dim: 2, lengths }
    }

    #[test]
    fn rows_become_unit_vectors() {
        let rows = answer(Pooling::None, &[]).rows(2, &[2, 2], &[3.0, 4.0, 0.0, 2.0]);
        assert_eq!(rows.expect("two rows"), [[0.6, 0.8], [0.0, 1.0]]);
    }

    #[test]
    fn each_pooling_takes_its_place() {
        // One row of three places, the last of which is padding.
        let values = [1.0, 0.0, 0.0, 2.0, -3.0, 0.0];
        let pooled = |pooling| {
            answer(pooling, &[2]).rows(1, &[1, 3, 2], &values).expect("one row").remove(0)
        };
        assert_eq!(pooled(Pooling::First), [1.0, 0.0]);
        assert_eq!(pooled(Pooling::End), [0.0, 1.0]);
        assert_eq!(pooled(Pooling::Last), [-1.0, 0.0]);
        let mean = pooled(Pooling::Mean);
        assert!((mean[1] / mean[0] - 2.0).abs() < 1e-6, "{mean:?}");
    }

    #[test]
    fn another_shape_is_an_error_that_names_it() {
        for (pooling, shape) in [(Pooling::None, vec![1, 3]), (Pooling::End, vec![1, 2])] {
            let error = answer(pooling, &[]).rows(1, &shape, &[1.0; 3]).expect_err("refused");
            assert!(error.to_string().contains(&format!("{shape:?}")), "{error}");
        }
        let empty = answer(Pooling::First, &[]).rows(1, &[1, 0, 2], &[]);
        assert!(matches!(empty, Err(EncoderError::Shape { .. })));
    }

    fn odd_fails(batch: &[u32]) -> Result<Vec<u32>, EncoderError> {
        match batch.iter().position(|value| value % 2 == 1) {
            Some(row) => Err(EncoderError::Degenerate { tower: "vision", row }),
            None => Ok(batch.iter().map(|value| value * 10).collect()),
        }
    }

    #[test]
    fn only_the_row_at_fault_fails() {
        let results = whole_or_one_by_one(&[2, 3, 4], odd_fails);
        let values: Vec<_> = results.into_iter().map(Result::ok).collect();
        assert_eq!(values, [Some(20), None, Some(40)]);
    }

    #[test]
    fn a_missing_row_is_an_error() {
        let results = whole_or_one_by_one(&[1, 2], |_: &[u32]| Ok(Vec::<u32>::new()));
        assert!(results.len() == 2 && results.iter().all(Result::is_err));
    }

    #[test]
    fn a_batch_of_one_runs_once() {
        let runs = Cell::new(0);
        let results = whole_or_one_by_one(&[1], |batch| {
            runs.set(runs.get() + 1);
            odd_fails(batch)
        });
        assert!(results.len() == 1 && results[0].is_err());
        assert_eq!(runs.get(), 1);
    }
}
