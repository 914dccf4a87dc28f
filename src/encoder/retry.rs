//! One bad row must not fail the rows beside it.

use super::EncoderError;

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
