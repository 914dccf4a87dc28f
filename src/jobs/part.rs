//! What the data folder is made of.

use std::path::{Path, PathBuf};

use strum::IntoStaticStr;

/// A part of the data folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum DataPart {
    /// Run folders.
    Runs,
    /// The library as each job began.
    Libraries,
    /// The seeds that requests gave to jobs.
    Seeds,
    /// The databases and the library's index.
    Databases,
}

impl DataPart {
    /// Every part.
    pub const ALL: [Self; 4] = [Self::Runs, Self::Libraries, Self::Seeds, Self::Databases];

    /// A name for labels.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Where it is below `data`, unless it is [`DataPart::Databases`], which lie there themselves.
    pub(super) fn folder(self, data: &Path) -> PathBuf {
        data.join(self.name())
    }
}
