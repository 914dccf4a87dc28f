use std::path::{Path, PathBuf};
use std::{fmt, io};

use crate::ErrorKind;
use crate::base::failure::Failure;

/// An export that cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    #[error("no room to write {}: {source}; an earlier export is left as it was", path.display())]
    DiskFull { path: PathBuf, source: io::Error },

    #[error("cannot write {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },

    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },

    #[error("cannot encode a sample for {}: {detail}", path.display())]
    Encode { path: PathBuf, detail: String },

    #[error("sample `{id}`: the {field} is empty")]
    EmptyField { id: String, field: &'static str },

    #[error(
        "sample `{id}`: the {field} holds `{token}`, which trainers would take for a photo, a \
         video or a sound; resuming the run has its answers judged again"
    )]
    ImageToken { id: String, field: &'static str, token: String },

    #[error("sample `{id}`: the {field} holds the control character {}", character.escape_unicode())]
    ControlCharacter { id: String, field: &'static str, character: char },

    #[error("sample `{id}`: the {field} is not a finite number")]
    NotFinite { id: String, field: &'static str },

    #[error("sample `{id}`: an earlier sample has the same id")]
    DuplicateId { id: String },

    #[error(
        "sample `{id}`: the photo {image} lies inside another file and cannot be linked to; set \
         export.photos to `copy`"
    )]
    NoLink { id: String, image: String },
}

impl SinkError {
    /// The error of putting into a format's words what goes to the export at `path`.
    pub(crate) fn encoding(path: &Path, detail: impl fmt::Display) -> Self {
        Self::Encode { path: path.to_owned(), detail: detail.to_string() }
    }

    /// The error of writing to the export at `path`.
    pub(super) fn writing(path: &Path, source: io::Error) -> Self {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        let path = path.to_owned();
        match source.kind() {
            StorageFull | QuotaExceeded | FileTooLarge => Self::DiskFull { path, source },
            _ => Self::Io { path, source },
        }
    }
}

impl Failure for SinkError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::DiskFull { .. } => ErrorKind::ResourceExhausted,
            Self::Io { source, .. } | Self::Read { source, .. } => ErrorKind::of_io(source),
            Self::Encode { .. } => ErrorKind::Internal,
            Self::EmptyField { .. }
            | Self::ImageToken { .. }
            | Self::ControlCharacter { .. }
            | Self::NotFinite { .. }
            | Self::NoLink { .. }
            | Self::DuplicateId { .. } => ErrorKind::InvalidInput,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::DiskFull { .. } => "disk_full",
            Self::Io { .. } => "export_io",
            Self::Read { .. } => "export_unreadable",
            Self::Encode { .. } => "export_encoding",
            Self::EmptyField { .. } => "sample_empty_field",
            Self::ImageToken { .. } => "sample_image_token",
            Self::ControlCharacter { .. } => "sample_control_character",
            Self::NotFinite { .. } => "sample_not_finite",
            Self::DuplicateId { .. } => "sample_duplicate_id",
            Self::NoLink { .. } => "photo_not_linkable",
        }
    }
}
