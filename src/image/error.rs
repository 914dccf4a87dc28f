//! Why an image was refused.

use std::path::PathBuf;

use super::Format;
use crate::ErrorKind;
use crate::base::failure::{Failure, code_of_io, kind_of_io};
use crate::sandbox::ConfineError;

/// The error of a decoder, kept as the source.
pub(super) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why an image was refused. One variant per reason, each with the limit and the value seen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// The file cannot be opened or read. The source names the path.
    #[error("cannot read the image: {0}")]
    Io(#[source] std::io::Error),
    /// The file may not be read, or is not there below the folders that may.
    #[error(transparent)]
    Confined(ConfineError),
    /// A folder, pipe or device stands where a file is expected.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// What was asked for.
        path: PathBuf,
    },
    /// Zero bytes.
    #[error("the file is empty (0 bytes)")]
    EmptyFile,
    /// More bytes than [`ImageLimits::max_file_bytes`](super::ImageLimits::max_file_bytes).
    #[error("the file has {bytes} bytes, the limit is {limit} (max_file_bytes)")]
    FileTooLarge {
        /// Bytes seen; for a file that grows while it is read, at least this many.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The first bytes belong to no [`Format`] that is read.
    #[error("not an image that is read ({}): it looks like {looks_like}", Format::ENDINGS.join(", "))]
    UnknownFormat {
        /// What the first bytes look like, and these bytes.
        looks_like: String,
    },
    /// A known format that uses something its decoder lacks.
    #[error("this {format} image uses something that is not supported: {feature}")]
    Unsupported {
        /// The format found.
        format: Format,
        /// What is missing.
        feature: String,
    },
    /// The header promises a side over [`ImageLimits::max_side`](super::ImageLimits::max_side).
    #[error(
        "the image is {width} x {height} pixels, the longest side allowed is {limit} (max_side)"
    )]
    SideTooLong {
        /// Pixels, as stored.
        width: u32,
        /// Pixels, as stored.
        height: u32,
        /// The limit.
        limit: u32,
    },
    /// The header promises more than [`ImageLimits::max_pixels`](super::ImageLimits::max_pixels).
    #[error("the image is {width} x {height} = {pixels} pixels, the limit is {limit} (max_pixels)")]
    TooManyPixels {
        /// Pixels, as stored.
        width: u32,
        /// Pixels, as stored.
        height: u32,
        /// Their product.
        pixels: u64,
        /// The limit.
        limit: u64,
    },
    /// The header promises more bytes than
    /// [`ImageLimits::max_decoded_bytes`](super::ImageLimits::max_decoded_bytes).
    #[error(
        "the image of {width} x {height} pixels decodes to {bytes} bytes, the limit is {limit} \
         (max_decoded_bytes)"
    )]
    DecodedTooLarge {
        /// Pixels, as stored.
        width: u32,
        /// Pixels, as stored.
        height: u32,
        /// Width × height × channels × bytes per sample.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The decoder would have needed more working memory than the limit on decoded bytes.
    #[error("decoding this {format} image needs more than {limit} bytes (max_decoded_bytes)")]
    DecoderMemory {
        /// The format found.
        format: Format,
        /// The limit.
        limit: u64,
        /// The decoder's own words.
        source: Cause,
    },
    /// The data end before the image does.
    #[error("the {format} image is truncated: its data end after {bytes} bytes")]
    Truncated {
        /// The format found.
        format: Format,
        /// Bytes present.
        bytes: u64,
        /// The decoder's own words, when it was the decoder that noticed.
        source: Option<Cause>,
    },
    /// The data contradict the format.
    #[error("the {format} image is corrupt: {source}")]
    Corrupt {
        /// The format found.
        format: Format,
        /// The decoder's own words.
        source: Cause,
    },
    /// A preprocessing setting that cannot work.
    #[error("vision.preprocess.{field} is {value}, it must be {allowed}")]
    Config {
        /// The setting.
        field: &'static str,
        /// The value seen.
        value: String,
        /// The values allowed.
        allowed: String,
    },
    /// Resizing or encoding pixels that were already decoded failed: our fault.
    #[error("cannot {action}: {source}")]
    Internal {
        /// What was being done.
        action: &'static str,
        /// Why it failed.
        source: Cause,
    },
}

impl ImageError {
    /// Damage, in the decoder's words.
    pub(super) fn corrupt(format: Format, source: impl Into<Cause>) -> Self {
        Self::Corrupt { format, source: source.into() }
    }
}

impl Failure for ImageError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Io(error) if error.kind() == std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            Self::Io(error) => kind_of_io(error, ErrorKind::FailedPrecondition),
            Self::Confined(error) => error.kind(),
            Self::Internal { .. } => ErrorKind::Internal,
            Self::NotAFile { .. }
            | Self::EmptyFile
            | Self::FileTooLarge { .. }
            | Self::UnknownFormat { .. }
            | Self::Unsupported { .. }
            | Self::SideTooLong { .. }
            | Self::TooManyPixels { .. }
            | Self::DecodedTooLarge { .. }
            | Self::DecoderMemory { .. }
            | Self::Truncated { .. }
            | Self::Corrupt { .. }
            | Self::Config { .. } => ErrorKind::InvalidInput,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Io(error) => code_of_io(error, "image_unreadable"),
            Self::Confined(error) => error.code(),
            Self::NotAFile { .. } => "image_not_a_file",
            Self::EmptyFile => "image_empty_file",
            Self::FileTooLarge { .. } => "image_file_too_large",
            Self::UnknownFormat { .. } => "image_unknown_format",
            Self::Unsupported { .. } => "image_unsupported",
            Self::SideTooLong { .. } => "image_side_too_long",
            Self::TooManyPixels { .. } => "image_too_many_pixels",
            Self::DecodedTooLarge { .. } => "image_decoded_too_large",
            Self::DecoderMemory { .. } => "image_decoder_memory",
            Self::Truncated { .. } => "image_truncated",
            Self::Corrupt { .. } => "image_corrupt",
            Self::Config { .. } => "image_config",
            Self::Internal { .. } => "image_internal",
        }
    }
}

impl From<ConfineError> for ImageError {
    fn from(error: ConfineError) -> Self {
        match error {
            ConfineError::Io(error) => Self::Io(error),
            ConfineError::NotAFile { path } => Self::NotAFile { path },
            other => Self::Confined(other),
        }
    }
}
