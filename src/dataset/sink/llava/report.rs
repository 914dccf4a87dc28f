use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How many problems a report lists; all are counted.
pub const LISTED_PROBLEMS: usize = 100;

/// What is wrong with one row of a LLaVA file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowProblem {
    /// The row's place in the array, from 1.
    pub row: u64,
    /// The row's id; empty where it has none.
    pub id: String,
    /// A stable, snake_case code, for instance `image_not_found`.
    pub code: String,
    /// One sentence for a person.
    pub message: String,
}

/// The outcome of a check.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LlavaReport {
    /// Rows looked at.
    pub rows: u64,
    /// The first [`LISTED_PROBLEMS`] problems, in the order of the rows.
    pub problems: Vec<RowProblem>,
    /// Every problem counted by its code.
    pub counts: BTreeMap<String, u64>,
}

impl LlavaReport {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.counts.is_empty()
    }

    /// The number of all problems, listed or not.
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    pub(super) fn add(&mut self, problem: RowProblem) {
        *self.counts.entry(problem.code.clone()).or_default() += 1;
        if self.problems.len() < LISTED_PROBLEMS {
            self.problems.push(problem);
        }
    }
}
