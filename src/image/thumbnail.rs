//! Small JPEGs for the report.

use image::codecs::jpeg::JpegEncoder;

use super::decode::decode;
use super::geometry::SourceBox;
use super::preprocess::upright;
use super::raster::Raster;
use super::resize::{Order, resize};
use super::{ImageError, Preprocessor, Resample};

impl Preprocessor {
    /// A JPEG of the whole photo, turned upright, no side longer than `max_side` pixels. Photos
    /// that are smaller keep their size. `quality` runs from 1 to 100.
    ///
    /// # Errors
    /// Any [`ImageError`] that bytes can cause.
    pub fn thumbnail(
        &self,
        bytes: &[u8],
        max_side: u32,
        quality: u8,
    ) -> Result<Vec<u8>, ImageError> {
        let (_, decoded) = decode(bytes, self.options())?;
        let small = shrink(decoded.raster, max_side.max(1))?;
        let mut jpeg = Vec::new();
        upright(small, decoded.orientation)
            .write_with_encoder(JpegEncoder::new_with_quality(&mut jpeg, quality.clamp(1, 100)))
            .map_err(|error| ImageError::Internal {
                action: "encode a thumbnail",
                source: error.into(),
            })?;
        Ok(jpeg)
    }
}

/// The raster, no side longer than `max_side` pixels.
pub(super) fn shrink(raster: Raster, max_side: u32) -> Result<Raster, ImageError> {
    let (width, height) = (raster.width, raster.height);
    let longest = width.max(height);
    if longest <= max_side {
        return Ok(raster);
    }
    let whole =
        SourceBox { left: 0.0, top: 0.0, width: f64::from(width), height: f64::from(height) };
    let size = (scaled(width, longest, max_side), scaled(height, longest, max_side));
    resize(&raster, whole, size, Resample::Bicubic, Order::RowsFirst)
}

fn scaled(side: u32, longest: u32, max_side: u32) -> u32 {
    let scaled = u64::from(side) * u64::from(max_side) / u64::from(longest);
    // At most `max_side`, so it fits; a thin strip keeps one pixel.
    (scaled as u32).max(1)
}

#[cfg(test)]
mod tests {
    use super::super::fixtures;

    fn size(jpeg: &[u8]) -> (u32, u32) {
        let image = image::load_from_memory(jpeg).expect("a thumbnail decodes");
        (image.width(), image.height())
    }

    #[test]
    fn the_longer_side_is_bounded_and_small_photos_keep_their_size() {
        let tool = fixtures::preprocessor();
        let photo = fixtures::encode(&fixtures::gradient(300, 200), image::ImageFormat::Png);
        assert_eq!(size(&tool.thumbnail(&photo, 150, 80).expect("valid")), (150, 100));
        assert_eq!(size(&tool.thumbnail(&photo, 301, 80).expect("valid")), (300, 200));
        let strip = fixtures::encode(&fixtures::gradient(400, 2), image::ImageFormat::Png);
        assert_eq!(size(&tool.thumbnail(&strip, 100, 80).expect("valid")), (100, 1));
    }

    #[test]
    fn it_is_upright() {
        let tool = fixtures::preprocessor();
        let photo = fixtures::jpeg_with_orientation(&fixtures::gradient(300, 200), 6);
        assert_eq!(size(&tool.thumbnail(&photo, 150, 80).expect("valid")), (100, 150));
    }
}
