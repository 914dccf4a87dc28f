//! What is asked of an index.

use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

/// Which vectors a search may give.
#[derive(Debug, Clone, Copy, Default)]
pub enum Among<'a> {
    /// All there are.
    #[default]
    All,
    /// Those of these ids, as far as they are there. The work grows with their number.
    Ids(&'a [&'a str]),
}

/// What queries were embedded from. Photos lie apart from the texts among which their neighbours
/// are looked for, so that the same graph takes a wider search for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Modality {
    #[default]
    Text,
    Image,
}

impl Modality {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Text, Self::Image];

    /// The name used in files, metrics and reports.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// One search, of one or more queries.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ask<'a> {
    /// Results for each query, at least 1.
    pub k: usize,
    /// Which vectors may be given.
    pub among: Among<'a>,
    /// What the queries were embedded from.
    pub of: Modality,
    /// The recall@10 wished for, in (0, 1], where it is not that of the settings. The width of the
    /// search follows from what the index measured, and never passes the largest one measured.
    pub recall: Option<f64>,
}

impl<'a> Ask<'a> {
    /// The `k` nearest of all vectors, for queries embedded from texts.
    pub fn top(k: usize) -> Self {
        Self { k, ..Self::default() }
    }

    /// The same among these ids only.
    #[must_use]
    pub fn among(self, ids: &'a [&'a str]) -> Self {
        Self { among: Among::Ids(ids), ..self }
    }

    /// The same for queries embedded from these.
    #[must_use]
    pub fn of(self, of: Modality) -> Self {
        Self { of, ..self }
    }

    /// The same with another number of results.
    #[must_use]
    pub fn first(self, k: usize) -> Self {
        Self { k, ..self }
    }
}
