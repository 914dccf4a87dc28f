//! The formats of photos, and what they are called.

use std::fmt;

use image::ImageFormat;
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

/// The formats that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, IntoStaticStr)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Format {
    /// Baseline and progressive JPEG: grey, YCbCr, RGB, CMYK, YCCK.
    Jpeg,
    /// PNG, and the default image of an animated one.
    Png,
    /// Lossy and lossless WebP, and the first frame of an animated one.
    WebP,
    /// The first frame of a GIF.
    Gif,
    /// BMP.
    Bmp,
    /// The first page of a TIFF.
    Tiff,
    /// The first frame of a JPEG XL, bare or in its container; read where the cargo feature `jxl`
    /// is on, as it is by default.
    Jxl,
    /// The primary picture of an AVIF; read where the cargo feature `avif` is on, which it is not by
    /// default.
    Avif,
}

impl Format {
    /// What the names of photos that are read end in, in lower case, the most usual first.
    pub const ENDINGS: &[&str] = &[
        "jpg",
        "jpeg",
        "png",
        "webp",
        "gif",
        "bmp",
        "tif",
        "tiff",
        #[cfg(feature = "jxl")]
        "jxl",
        #[cfg(feature = "avif")]
        "avif",
    ];

    /// Endings of the formats that only a build with the cargo feature of that name reads.
    pub const BY_FEATURE: [&str; 2] = ["jxl", "avif"];

    /// Whether a photo that is read may be named so, whatever the case.
    pub fn is_ending(ending: &str) -> bool {
        Self::ENDINGS.iter().any(|known| known.eq_ignore_ascii_case(ending))
    }

    /// The name in lower case, as it stands in records.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The media type, such as `image/jpeg`.
    pub fn mime(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::WebP => "image/webp",
            Self::Gif => "image/gif",
            Self::Bmp => "image/bmp",
            Self::Tiff => "image/tiff",
            Self::Jxl => "image/jxl",
            Self::Avif => "image/avif",
        }
    }

    /// The same format in the `image` crate's terms, if it knows it.
    pub(super) fn to_image(self) -> Option<ImageFormat> {
        match self {
            Self::Jpeg => Some(ImageFormat::Jpeg),
            Self::Png => Some(ImageFormat::Png),
            Self::WebP => Some(ImageFormat::WebP),
            Self::Gif => Some(ImageFormat::Gif),
            Self::Bmp => Some(ImageFormat::Bmp),
            Self::Tiff => Some(ImageFormat::Tiff),
            Self::Jxl | Self::Avif => None,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
