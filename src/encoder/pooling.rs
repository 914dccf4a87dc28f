//! A graph's output to one unit vector per row.

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

#[cfg(test)]
mod tests {
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
}
