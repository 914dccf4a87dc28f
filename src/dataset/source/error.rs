use std::path::PathBuf;

use crate::ErrorKind;
use crate::base::failure::{Failure, code_of_io};
use crate::sandbox::ConfineError;

/// A source that cannot be used as a whole.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error(
        "no such source: {}; expected {}",
        path.display(),
        super::expected()
    )]
    NotFound { path: PathBuf },

    #[error("{} is not {expected}, which this kind of source reads", path.display())]
    WrongType { path: PathBuf, expected: &'static str },

    #[error(
        "cannot tell what {} is: name it {}, or give the kind ({})",
        path.display(),
        super::endings(),
        super::names()
    )]
    UnknownKind { path: PathBuf },

    #[error("the image folder {} does not exist or is not a folder", images.display())]
    ImagesNotFound { images: PathBuf },

    #[error(
        "an image folder ({}) was given for a source that holds its photos: it serves manifests \
         and COCO files; a folder or tar has its photos in itself",
        images.display()
    )]
    ImagesNotUsed { images: PathBuf },

    #[error("{} is empty; expected {expected}", path.display())]
    Empty { path: PathBuf, expected: String },

    #[error(
        "{} has no usable item: {rejected} rejected, the first because of {first}; expected \
         {expected}",
        path.display()
    )]
    NoUsableItem {
        path: PathBuf,
        rejected: u64,
        /// The reason of the first refusal.
        first: String,
        expected: String,
    },

    #[error("{}:{line}:{column}: not valid JSON: {detail}", path.display())]
    InvalidJson { path: PathBuf, line: usize, column: usize, detail: String },

    #[error(
        "{} is not a COCO captions file: {detail}; expected an object with `images` \
         ([{{id, file_name}}]) and `annotations` ([{{image_id, id, caption}}])",
        path.display()
    )]
    NotCoco { path: PathBuf, detail: String },

    #[error("{} is {detail}", path.display())]
    NotText { path: PathBuf, detail: String },

    #[error("{}: {detail}", path.display())]
    NoColumns { path: PathBuf, detail: String },

    #[error("{} cannot be read: {detail}", path.display())]
    Damaged { path: PathBuf, detail: String },

    #[error("{}: {detail}", path.display())]
    BadPattern { path: PathBuf, detail: String },

    /// The source itself may not be read.
    #[error(transparent)]
    Confined(ConfineError),

    /// Reading failed; the message names the path.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl SourceError {
    /// Whether the same file may be read whole the next time: the fault is not the file's own.
    pub(super) fn could_pass(&self) -> bool {
        match self {
            Self::Io(error) => could_pass(error),
            _ => false,
        }
    }
}

/// Whether reading failed for a reason that could pass, such as a disk that does not answer, too
/// many open files or a want of rights; not where the file is away, damaged or no file.
pub(super) fn could_pass(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{
        InvalidData, InvalidFilename, InvalidInput, IsADirectory, NotADirectory, NotFound,
        UnexpectedEof,
    };
    let lasting = matches!(
        error.kind(),
        NotFound
            | InvalidData
            | InvalidInput
            | InvalidFilename
            | IsADirectory
            | NotADirectory
            | UnexpectedEof
    );
    !lasting
}

impl Failure for SourceError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound { .. } | Self::ImagesNotFound { .. } => ErrorKind::NotFound,
            Self::WrongType { .. }
            | Self::UnknownKind { .. }
            | Self::ImagesNotUsed { .. }
            | Self::Empty { .. }
            | Self::NoUsableItem { .. }
            | Self::InvalidJson { .. }
            | Self::NotText { .. }
            | Self::NoColumns { .. }
            | Self::Damaged { .. }
            | Self::BadPattern { .. }
            | Self::NotCoco { .. } => ErrorKind::InvalidInput,
            Self::Confined(error) => error.kind(),
            Self::Io(error) => ErrorKind::of_io(error),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "source_not_found",
            Self::WrongType { .. } => "source_wrong_type",
            Self::UnknownKind { .. } => "source_unknown_kind",
            Self::ImagesNotFound { .. } => "image_folder_not_found",
            Self::ImagesNotUsed { .. } => "image_folder_not_used",
            Self::Empty { .. } => "source_empty",
            Self::NoUsableItem { .. } => "source_no_usable_item",
            Self::InvalidJson { .. } => "source_invalid_json",
            Self::NotCoco { .. } => "source_not_coco",
            Self::NotText { .. } => "source_not_text",
            Self::NoColumns { .. } => "source_no_columns",
            Self::Damaged { .. } => "source_damaged",
            Self::BadPattern { .. } => "source_bad_pattern",
            Self::Confined(error) => error.code(),
            Self::Io(error) => code_of_io(error, "source_io"),
        }
    }
}

impl From<ConfineError> for SourceError {
    fn from(error: ConfineError) -> Self {
        match error {
            ConfineError::Io(error) => Self::Io(error),
            other => Self::Confined(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use super::*;

    #[test]
    fn what_could_pass_is_told_from_what_is_wrong_with_a_file() {
        // An error of the disk, and too many open files.
        for number in [5, 24] {
            assert!(SourceError::from(Error::from_raw_os_error(number)).could_pass(), "{number}");
        }
        assert!(SourceError::from(Error::from(ErrorKind::PermissionDenied)).could_pass());
        for kind in [ErrorKind::NotFound, ErrorKind::InvalidData, ErrorKind::UnexpectedEof] {
            assert!(!SourceError::from(Error::from(kind)).could_pass(), "{kind}");
        }
        let damaged = SourceError::Damaged { path: "a".into(), detail: "damaged".into() };
        assert!(!damaged.could_pass());
    }
}
