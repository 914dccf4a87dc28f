//! Which of several graphs of a tower to take.

use std::path::Path;

use super::layout::Candidate;
use crate::model::{ModelError, Precision};

/// The first pair of towers of the same precision, the most exact first; where none match, the
/// most exact of each. With a precision given, only that.
pub(super) fn choose<'a>(
    visions: &[&'a Candidate],
    texts: &[&'a Candidate],
    wanted: Option<Precision>,
) -> Option<(&'a Candidate, &'a Candidate)> {
    let first = |all: &[&'a Candidate], precision: Precision| {
        all.iter().find(|one| one.precision == precision).copied()
    };
    let pair = |precision| Some((first(visions, precision)?, first(texts, precision)?));
    if let Some(precision) = wanted {
        return pair(precision);
    }
    let most_exact = |all: &[&'a Candidate]| {
        Precision::ALL.into_iter().find_map(|precision| first(all, precision))
    };
    let mixed = || Some((most_exact(visions)?, most_exact(texts)?));
    Precision::ALL.into_iter().find_map(pair).or_else(mixed)
}

/// Why no pair is left: the precision that is wanted is not there.
pub(super) fn no_precision(
    root: &Path,
    wanted: Option<Precision>,
    visions: &[&Candidate],
    texts: &[&Candidate],
) -> ModelError {
    let of = |tower: &str, all: &[&Candidate]| {
        let mut found: Vec<Precision> = all.iter().map(|one| one.precision).collect();
        found.sort();
        found.dedup();
        let found: Vec<String> = found.iter().map(Precision::to_string).collect();
        format!("{tower} {}", found.join(", "))
    };
    ModelError::NoPrecision {
        path: root.to_owned(),
        wanted: wanted.map(|precision| precision.to_string()).unwrap_or_default(),
        found: format!("{}; {}", of("vision", visions), of("text", texts)),
    }
}
