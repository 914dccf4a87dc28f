//! What an image may cost before it is refused.

use serde::{Deserialize, Serialize};

use super::ImageError;

/// Upper bounds on one image. All but the first are checked against the header, before any pixel
/// is decoded. A value equal to the limit passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImageLimits {
    /// Bytes of the file. Default 64 MiB.
    pub max_file_bytes: u64,
    /// Pixels along the longer side. Default 30,000.
    pub max_side: u32,
    /// Width × height. Default 100 million.
    pub max_pixels: u64,
    /// Width × height × channels × bytes per sample. Default 512 MiB. Decoders may hold as much
    /// again for intermediate data (the coefficients of a progressive JPEG, two bytes each).
    pub max_decoded_bytes: u64,
}

impl Default for ImageLimits {
    fn default() -> Self {
        Self {
            max_file_bytes: 64 << 20,
            max_side: 30_000,
            max_pixels: 100_000_000,
            max_decoded_bytes: 512 << 20,
        }
    }
}

impl ImageLimits {
    /// Refuses files that are empty or over the size limit.
    ///
    /// # Errors
    /// [`ImageError::EmptyFile`] or [`ImageError::FileTooLarge`].
    pub fn check_file(&self, bytes: u64) -> Result<(), ImageError> {
        match bytes {
            0 => Err(ImageError::EmptyFile),
            _ if bytes > self.max_file_bytes => {
                Err(ImageError::FileTooLarge { bytes, limit: self.max_file_bytes })
            }
            _ => Ok(()),
        }
    }

    /// Refuses what the header promises when decoding it would cost too much.
    pub(super) fn check_header(
        &self,
        width: u32,
        height: u32,
        decoded_bytes: u64,
    ) -> Result<(), ImageError> {
        let pixels = u64::from(width) * u64::from(height);
        if width.max(height) > self.max_side {
            let limit = self.max_side;
            return Err(ImageError::SideTooLong { width, height, limit });
        }
        if pixels > self.max_pixels {
            let limit = self.max_pixels;
            return Err(ImageError::TooManyPixels { width, height, pixels, limit });
        }
        if decoded_bytes > self.max_decoded_bytes {
            let (bytes, limit) = (decoded_bytes, self.max_decoded_bytes);
            return Err(ImageError::DecodedTooLarge { width, height, bytes, limit });
        }
        Ok(())
    }
}

/// How files are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DecodeOptions {
    /// What is refused.
    pub limits: ImageLimits,
    /// Whether the EXIF (or TIFF) orientation turns the image. Default true.
    pub exif_orientation: bool,
}

impl Default for DecodeOptions {
    fn default() -> Self {
        Self { limits: ImageLimits::default(), exif_orientation: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::failure::Failure;

    #[test]
    fn a_value_at_the_limit_passes_and_one_more_does_not() {
        let limits =
            ImageLimits { max_file_bytes: 10, max_side: 4, max_pixels: 12, max_decoded_bytes: 36 };
        assert!(limits.check_file(10).is_ok());
        assert_eq!(limits.check_file(11).expect_err("11 > 10").code(), "image_file_too_large");
        assert_eq!(limits.check_file(0).expect_err("empty").code(), "image_empty_file");
        assert!(limits.check_header(4, 3, 36).is_ok());
        let code = |w, h, bytes| limits.check_header(w, h, bytes).expect_err("over").code();
        assert_eq!(code(5, 1, 5), "image_side_too_long");
        assert_eq!(code(4, 4, 16), "image_too_many_pixels");
        assert_eq!(code(4, 3, 37), "image_decoded_too_large");
    }

    #[test]
    fn largest_possible_header_does_not_overflow() {
        let limits = ImageLimits { max_side: u32::MAX, ..ImageLimits::default() };
        let error = limits.check_header(u32::MAX, u32::MAX, u64::MAX).expect_err("far too large");
        assert_eq!(error.code(), "image_too_many_pixels");
    }

    #[test]
    fn unknown_keys_are_refused() {
        let parsed: Result<ImageLimits, _> = toml::from_str("max_pixel = 5");
        assert!(parsed.expect_err("typo").to_string().contains("max_pixel"));
        let parsed: ImageLimits = toml::from_str("max_pixels = 5").expect("one known key");
        assert_eq!(parsed, ImageLimits { max_pixels: 5, ..ImageLimits::default() });
    }
}
