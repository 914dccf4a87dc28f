//! Thresholds: which samples an export takes.
//!
//! A list of expressions such as `sentence_similarity_min >= 0.2`, each over one measure or one field
//! that every sample has; a sample is kept when all of them let it pass. Nothing is deleted: the
//! same run under another list gives another export. Whatever else decides about single samples,
//! such as a person who has looked at them, becomes one more [`Subject`] and is decided here.

mod error;
mod expression;
mod subject;

use serde::{Deserialize, Serialize};

pub use error::KeepError;
pub use expression::{Expression, Literal, Operator, Outcome};
pub use subject::{Field, Subject, Value};

use super::MeasureName;
use crate::dataset::record::Sample;

/// The most expressions of one list.
pub const MAX_EXPRESSIONS: usize = 64;

/// The expressions that a sample must pass, all of them; none keeps everything.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Keep {
    expressions: Vec<Expression>,
}

/// Which expressions spoke against a sample, and which had no value to go by: one bit for each, in
/// their order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Findings {
    pub refused: u64,
    pub missing: u64,
}

/// What a list of expressions did to a run's samples.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeepCounts {
    /// Samples that were looked at.
    pub samples: u64,
    /// Those that all expressions let pass.
    pub kept: u64,
    /// In the order of the list.
    pub expressions: Vec<ExpressionCounts>,
}

/// What one expression did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpressionCounts {
    pub expression: String,
    /// Samples that it leaves out, whatever the others say.
    pub left_out: u64,
    /// Those of them that no other leaves out.
    pub alone: u64,
    /// Samples of which there is no value: kept, unless the expression demands one.
    pub missing: u64,
}

impl Keep {
    /// Reads expressions; empty ones are skipped.
    ///
    /// # Errors
    /// The first one that is wrong, or more than [`MAX_EXPRESSIONS`].
    pub fn parse<T: AsRef<str>>(texts: &[T]) -> Result<Self, KeepError> {
        let given = texts.iter().map(AsRef::as_ref).filter(|text| !text.trim().is_empty());
        let expressions: Vec<_> = given.map(str::parse).collect::<Result<_, _>>()?;
        if expressions.len() > MAX_EXPRESSIONS {
            return Err(KeepError::TooMany { found: expressions.len(), limit: MAX_EXPRESSIONS });
        }
        Ok(Self { expressions })
    }

    /// The expressions in their order.
    pub fn expressions(&self) -> &[Expression] {
        &self.expressions
    }

    /// Whether everything is kept.
    pub fn is_empty(&self) -> bool {
        self.expressions.is_empty()
    }

    /// The measures that the expressions look at.
    pub fn measures(&self) -> impl Iterator<Item = (&Expression, MeasureName)> {
        self.expressions.iter().filter_map(|one| match one.subject {
            Subject::Measure(name) => Some((one, name)),
            Subject::Field(_) => None,
        })
    }

    /// Refuses expressions over measures that a run does not take.
    ///
    /// # Errors
    /// The first such expression, with the setting that would take its measure.
    pub fn require_enabled(&self, enabled: &[MeasureName]) -> Result<(), KeepError> {
        match self.measures().find(|(_, name)| !enabled.contains(name)) {
            Some((one, name)) => {
                Err(KeepError::NotEnabled { expression: one.to_string(), name: name.name() })
            }
            None => Ok(()),
        }
    }

    /// What the expressions find in a sample.
    pub fn look(&self, sample: &Sample) -> Findings {
        let mut findings = Findings::default();
        for (place, expression) in self.expressions.iter().enumerate() {
            let outcome = expression.look(sample);
            findings.missing |= u64::from(outcome == Outcome::Missing) << place;
            findings.refused |= u64::from(!expression.passes(outcome)) << place;
        }
        findings
    }

    /// Counts for these expressions, of no sample yet.
    pub fn counts(&self) -> KeepCounts {
        let counts = |one: &Expression| ExpressionCounts {
            expression: one.to_string(),
            ..ExpressionCounts::default()
        };
        let expressions = self.expressions.iter().map(counts).collect();
        KeepCounts { expressions, ..KeepCounts::default() }
    }
}

impl Findings {
    /// Whether the sample is kept.
    pub fn keeps(self) -> bool {
        self.refused == 0
    }

    /// Whether the expression at `place` leaves the sample out.
    pub fn refused_by(self, place: usize) -> bool {
        self.refused >> place & 1 == 1
    }
}

impl KeepCounts {
    /// Samples that were left out.
    pub fn left_out(&self) -> u64 {
        self.samples - self.kept
    }

    /// Counts one sample more.
    pub fn add(&mut self, findings: Findings) {
        self.samples += 1;
        self.kept += u64::from(findings.keeps());
        for (place, one) in self.expressions.iter_mut().enumerate() {
            let refused = findings.refused_by(place);
            one.left_out += u64::from(refused);
            one.alone += u64::from(refused && findings.refused.count_ones() == 1);
            one.missing += findings.missing >> place & 1;
        }
    }
}

#[cfg(test)]
mod tests;
