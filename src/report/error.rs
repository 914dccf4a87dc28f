//! What can go wrong with a report.

use std::path::PathBuf;

use crate::ErrorKind;
use crate::base::failure::Failure;

/// Why a report could not be made or saved.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The page's template refused the data: a fault of this program.
    #[error("cannot render the report: {0:#}")]
    Template(#[from] minijinja::Error),
    /// The report could not be written; a report that was there before is untouched.
    #[error("cannot write the report {}: {source}", path.display())]
    Write {
        /// The report's final path.
        path: PathBuf,
        /// What the file system said.
        source: std::io::Error,
    },
    /// Bytes meant as a photo are not of a form that browsers show.
    #[error("cannot show a thumbnail: {length} bytes that are neither JPEG, PNG nor WebP")]
    ThumbnailFormat {
        /// How many bytes were given.
        length: usize,
    },
}

impl Failure for ReportError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Template(_) => ErrorKind::Internal,
            Self::ThumbnailFormat { .. } => ErrorKind::InvalidInput,
            Self::Write { source, .. } => ErrorKind::of_io(source),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Template(_) => "report_template",
            Self::Write { .. } => "report_write",
            Self::ThumbnailFormat { .. } => "thumbnail_format",
        }
    }
}
