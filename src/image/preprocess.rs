//! From the bytes of a photo to the pixels of an encoder.

use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, RgbImage};
use serde::{Deserialize, Serialize};

use super::decode::decode;
use super::geometry::{crop_box, lies_on_its_side};
use super::pixels::Normaliser;
use super::raster::{Channels, Raster};
use super::resize::{Order, resize};
use super::{DecodeOptions, Format, ImageError, Pixels, PreprocessConfig};

/// What is known of a photo once it is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageInfo {
    /// The format its bytes showed.
    pub format: Format,
    /// Pixels, as the viewer sees them.
    pub width: u32,
    /// Pixels, as the viewer sees them.
    pub height: u32,
    /// The EXIF orientation that was applied, 1 (upright) to 8.
    pub orientation: u8,
}

/// Turns files into pixels. Cheap to share between threads; each call works on its own.
#[derive(Debug, Clone)]
pub struct Preprocessor {
    config: PreprocessConfig,
    options: DecodeOptions,
    normaliser: Box<Normaliser>,
}

impl Preprocessor {
    /// Checks the settings and prepares what all photos share.
    ///
    /// # Errors
    /// [`ImageError::Config`] for a setting that cannot work.
    pub fn new(config: PreprocessConfig, options: DecodeOptions) -> Result<Self, ImageError> {
        config.validate()?;
        let normaliser = Box::new(Normaliser::new(&config));
        Ok(Self { config, options, normaliser })
    }

    /// The settings it was made with.
    pub fn config(&self) -> &PreprocessConfig {
        &self.config
    }

    /// How it decodes.
    pub fn options(&self) -> &DecodeOptions {
        &self.options
    }

    /// Floats that one photo takes in a batch: 3 × `crop` × `crop`.
    pub fn tensor_len(&self) -> usize {
        let side = self.config.crop as usize;
        3 * side * side
    }

    /// Decodes, resizes, crops and turns one photo.
    ///
    /// # Errors
    /// Any [`ImageError`] that bytes can cause; see the variants.
    pub fn prepare(&self, bytes: &[u8]) -> Result<(Pixels, ImageInfo), ImageError> {
        let (format, decoded) = decode(bytes, &self.options)?;
        let (raster, orientation) = (decoded.raster, decoded.orientation);
        let PreprocessConfig { crop, resample, .. } = self.config;
        let size = (raster.width, raster.height);
        let kept = crop_box(size, orientation, &self.config);
        let on_its_side = lies_on_its_side(orientation);
        let order = if on_its_side { Order::ColumnsFirst } else { Order::RowsFirst };
        let square = resize(&raster, kept, (crop, crop), resample, order)?;
        let (width, height) = if on_its_side { (size.1, size.0) } else { size };
        let info = ImageInfo { format, width, height, orientation: orientation.to_exif() };
        Ok((Pixels { side: crop, rgb: upright_rgb(square, orientation) }, info))
    }

    /// Writes a photo into its place in a batch: `(byte * rescale_factor - mean) / std`, one plane
    /// per channel (CHW).
    ///
    /// # Panics
    /// If `pixels` came from another preprocessor or `out` does not hold
    /// [`tensor_len`](Self::tensor_len) floats.
    pub fn write_nchw(&self, pixels: &Pixels, out: &mut [f32]) {
        assert_eq!(pixels.rgb.len(), self.tensor_len(), "pixels of another size");
        assert_eq!(out.len(), self.tensor_len(), "a buffer of another size");
        self.normaliser.write_planes(&pixels.rgb, out);
    }
}

/// RGB, turned as the viewer sees it.
fn upright_rgb(raster: Raster, orientation: Orientation) -> Vec<u8> {
    upright(raster, orientation).into_rgb8().into_raw()
}

/// An image turned as the viewer sees it.
pub(super) fn upright(raster: Raster, orientation: Orientation) -> DynamicImage {
    let Raster { width, height, channels, data } = raster;
    let image = match channels {
        Channels::Grey => GrayImage::from_raw(width, height, data).map(DynamicImage::ImageLuma8),
        Channels::Rgb => RgbImage::from_raw(width, height, data).map(DynamicImage::ImageRgb8),
    };
    let mut image = image.expect("a raster holds exactly the samples of its size");
    image.apply_orientation(orientation);
    image
}

#[cfg(test)]
#[path = "preprocess_tests.rs"]
mod tests;
