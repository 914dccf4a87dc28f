//! The image path: from the bytes of a photo to the pixels a vision encoder takes.
//!
//! The order is binding, because each step protects the next: file size → header only (format,
//! sides, pixels, decoded bytes) → decode → RGB over white → resize of the shortest edge → centre
//! crop → EXIF orientation → mean and deviation, NCHW. Resizing agrees with Pillow's; the golden
//! tests in `tests/engine/image_golden.rs` hold it to that.
//!
//! Transparency is where it differs on purpose: Pillow's `convert("RGB")` drops the alpha and keeps
//! the colours stored below it.
//!
//! Two shortcuts leave the pixels as they would be: only the part of the photo that the crop keeps
//! is resized, and the orientation turns the small crop rather than the whole photo.
//!
//! Not read, and refused as unsupported: palette and floating-point TIFF, JPEG with arithmetic
//! coding, lossless JPEG, JPEG of 12 bits (which reads as corrupt), JPEG of two components, JPEG XL
//! of four colours, AVIF whose transparency is that of a grid or has another size, whose colours are told by a
//! matrix that few use, or that is an animation without a still picture. A crop that an AVIF's container asks for (`clap`) is not made, as in Pillow. Colour profiles are ignored, as Pillow's `convert` ignores them.

#[cfg(feature = "avif")]
mod avif;
mod decode;
mod error;
mod format;
mod geometry;
mod jpeg;
#[cfg(feature = "jxl")]
mod jxl;
mod limits;
mod look;
mod markers;
mod pixels;
mod preprocess;
mod preprocess_config;
mod raster;
mod resize;
mod shown;
mod sniff;
mod thumbnail;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod hostile_tests;

pub use error::ImageError;
pub use format::Format;
pub use limits::{DecodeOptions, ImageLimits};
pub use look::look_distance;
pub use pixels::Pixels;
pub use preprocess::{ImageInfo, Preprocessor};
pub use preprocess_config::{Fit, LongEdge, PreprocessConfig, Resample};
pub use shown::{jpeg_within, longer_side, pixels};
