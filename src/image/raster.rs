//! Decoded pixels: eight bits per sample, grey or RGB, without alpha.

use image::DynamicImage;
use image::metadata::Orientation;

use super::{Format, ImageError};

/// A decoded file.
#[derive(Debug)]
pub(super) struct Decoded {
    /// The pixels as stored.
    pub raster: Raster,
    /// How the stored pixels turn into what the viewer sees.
    pub orientation: Orientation,
}

/// Samples per pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Channels {
    /// One.
    Grey,
    /// Three.
    Rgb,
}

impl Channels {
    /// Samples per pixel as a number.
    pub fn count(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::Rgb => 3,
        }
    }
}

/// A decoded image as stored, before its orientation is applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Raster {
    /// Pixels, at least 1.
    pub width: u32,
    /// Pixels, at least 1.
    pub height: u32,
    /// Samples per pixel.
    pub channels: Channels,
    /// Height × width × channels, row by row.
    pub data: Vec<u8>,
}

impl Raster {
    /// Brings what a decoder gave to eight bits, over white where it is transparent.
    ///
    /// # Errors
    /// [`ImageError::Unsupported`] for floating-point samples, whose range is nowhere stated.
    pub fn from_dynamic(image: DynamicImage, format: Format) -> Result<Self, ImageError> {
        let (width, height) = (image.width(), image.height());
        let (channels, data) = match image {
            DynamicImage::ImageLuma8(image) => (Channels::Grey, image.into_raw()),
            DynamicImage::ImageRgb8(image) => (Channels::Rgb, image.into_raw()),
            DynamicImage::ImageLumaA8(image) => (Channels::Grey, over_white::<1>(image.into_raw())),
            DynamicImage::ImageRgba8(image) => (Channels::Rgb, over_white::<3>(image.into_raw())),
            DynamicImage::ImageLuma16(image) => (Channels::Grey, narrow(&image)),
            DynamicImage::ImageRgb16(image) => (Channels::Rgb, narrow(&image)),
            DynamicImage::ImageLumaA16(image) => (Channels::Grey, over_white::<1>(narrow(&image))),
            DynamicImage::ImageRgba16(image) => (Channels::Rgb, over_white::<3>(narrow(&image))),
            other => {
                let feature = format!("samples of type {:?}", other.color());
                return Err(ImageError::Unsupported { format, feature });
            }
        };
        Ok(Self { width, height, channels, data })
    }

    /// Eight bits of one to four samples a pixel: grey or RGB, with alpha or without. Height × width ×
    /// samples, row by row.
    #[cfg(any(feature = "jxl", feature = "avif"))]
    pub fn from_samples((width, height): (u32, u32), samples: usize, data: Vec<u8>) -> Self {
        let (channels, data) = match samples {
            1 => (Channels::Grey, data),
            2 => (Channels::Grey, over_white::<1>(data)),
            3 => (Channels::Rgb, data),
            _ => (Channels::Rgb, over_white::<3>(data)),
        };
        Self { width, height, channels, data }
    }
}

/// 16 bits to 8: the nearest, so that 65535 is 255 and the steps are even.
fn narrow(samples: &[u16]) -> Vec<u8> {
    samples.iter().map(|&sample| ((u32::from(sample) + 128) / 257) as u8).collect()
}

/// Lays pixels of `C` colours and an alpha over white. Works in place: a photo may be large.
fn over_white<const C: usize>(mut data: Vec<u8>) -> Vec<u8> {
    let pixels = data.len() / (C + 1);
    for pixel in 0..pixels {
        let from = pixel * (C + 1);
        let alpha = u32::from(data[from + C]);
        for channel in 0..C {
            let colour = u32::from(data[from + channel]);
            data[pixel * C + channel] = blend(colour, alpha);
        }
    }
    data.truncate(pixels * C);
    data
}

fn blend(colour: u32, alpha: u32) -> u8 {
    ((colour * alpha + 255 * (255 - alpha) + 127) / 255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::failure::Failure;

    #[test]
    fn alpha_goes_over_white() {
        let data = vec![10, 20, 30, 255, 10, 20, 30, 0, 0, 100, 255, 128];
        assert_eq!(over_white::<3>(data), [10, 20, 30, 255, 255, 255, 127, 177, 255]);
        assert_eq!(over_white::<1>(vec![7, 255, 7, 0]), [7, 255]);
    }

    #[test]
    fn sixteen_bits_round_to_the_nearest_of_eight() {
        for value in 0..=255u16 {
            assert_eq!(narrow(&[value * 257]), [value as u8]);
        }
        assert_eq!(narrow(&[128, 129, 65535 - 129, 65535 - 128]), [0, 1, 254, 255]);
    }

    #[test]
    fn float_samples_are_refused() {
        let image = DynamicImage::new_rgb32f(2, 2);
        let error = Raster::from_dynamic(image, Format::Tiff).expect_err("no range is known");
        assert_eq!(error.code(), "image_unsupported");
    }
}
