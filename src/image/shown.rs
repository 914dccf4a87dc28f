//! Photos made small enough to be sent to a model.

use std::panic::{AssertUnwindSafe, catch_unwind};

use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ImageReader};

use super::decode::decode;
use super::preprocess::upright;
use super::thumbnail::shrink;
use super::{DecodeOptions, ImageError};

/// JPEG qualities that are tried before the photo is made smaller, best first.
const QUALITIES: [u8; 3] = [88, 75, 60];

/// No photo is made smaller than this on its longer side to spare bytes: 64 pixels in the lowest
/// quality stay below 8 KiB.
const LEAST_SIDE: u32 = 64;

/// A JPEG of the whole photo, turned upright, without metadata, no side longer than `max_side` pixels
/// and no larger than `max_bytes` (at least 8 KiB). Photos that are smaller keep their size.
///
/// # Errors
/// Any [`ImageError`] that bytes can cause.
pub fn jpeg_within(
    bytes: &[u8],
    options: &DecodeOptions,
    max_side: u32,
    max_bytes: usize,
) -> Result<Vec<u8>, ImageError> {
    let (_, decoded) = decode(bytes, options)?;
    let small = shrink(decoded.raster, max_side.max(1))?;
    let mut photo = upright(small, decoded.orientation);
    loop {
        let longest = photo.width().max(photo.height());
        for quality in QUALITIES {
            let jpeg = encode(&photo, quality)?;
            if jpeg.len() <= max_bytes || (longest <= LEAST_SIDE && quality == QUALITIES[2]) {
                return Ok(jpeg);
            }
        }
        let side = (longest / 2).max(LEAST_SIDE);
        photo = photo.resize(side, side, image::imageops::FilterType::CatmullRom);
    }
}

/// The longer side of an encoded image in pixels, by its header; `None` where it has none.
pub fn longer_side(bytes: &[u8]) -> Option<u32> {
    dimensions(bytes).map(|(width, height)| width.max(height))
}

/// How many pixels an encoded image has, by its header; `None` where it has none.
pub fn pixels(bytes: &[u8]) -> Option<u64> {
    // A hostile file is refused when it is decoded; here it only has no header.
    let found = catch_unwind(AssertUnwindSafe(|| dimensions(bytes))).ok()?;
    found.map(|(width, height)| u64::from(width) * u64::from(height))
}

fn dimensions(bytes: &[u8]) -> Option<(u32, u32)> {
    match super::Format::sniff(bytes) {
        #[cfg(feature = "jxl")]
        Ok(super::Format::Jxl) => return super::jxl::dimensions(bytes),
        #[cfg(feature = "avif")]
        Ok(super::Format::Avif) => return super::avif::dimensions(bytes),
        _ => {}
    }
    let reader = ImageReader::new(std::io::Cursor::new(bytes)).with_guessed_format().ok()?;
    reader.into_dimensions().ok()
}

fn encode(photo: &DynamicImage, quality: u8) -> Result<Vec<u8>, ImageError> {
    let mut jpeg = Vec::new();
    photo.write_with_encoder(JpegEncoder::new_with_quality(&mut jpeg, quality)).map_err(
        |error| ImageError::Internal { action: "encode a photo to be sent", source: error.into() },
    )?;
    Ok(jpeg)
}

#[cfg(test)]
mod tests {
    use super::super::fixtures;
    use super::*;

    fn size(jpeg: &[u8]) -> (u32, u32) {
        let image = image::load_from_memory(jpeg).expect("a JPEG");
        (image.width(), image.height())
    }

    #[test]
    fn sides_and_bytes_are_bounded_and_the_photo_stands_upright() {
        let options = DecodeOptions::default();
        let photo = fixtures::jpeg_with_orientation(&fixtures::gradient(300, 200), 6);
        let shown = jpeg_within(&photo, &options, 150, 1 << 20).expect("valid");
        assert_eq!(size(&shown), (100, 150));
        assert_eq!((longer_side(&shown), pixels(&shown)), (Some(150), Some(15_000)));
        assert_eq!(pixels(b"no image"), None);
        #[cfg(feature = "jxl")]
        {
            let name = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/jxl/lossy.jxl");
            assert_eq!(pixels(&fs_err::read(name).expect("a photo")), Some(96 * 72));
        }
        assert_eq!(size(&jpeg_within(&photo, &options, 1024, 1 << 20).expect("valid")), (200, 300));

        // Noise is what JPEG cannot make small.
        let noise = image::RgbImage::from_fn(1000, 800, |x, y| {
            let mixed = (x * 7919 + y * 104_729).wrapping_mul(2_654_435_761);
            image::Rgb([mixed as u8, (mixed >> 8) as u8, (mixed >> 16) as u8])
        });
        let noise = fixtures::encode(&noise, image::ImageFormat::Png);
        for most in [400_000, 100_000, 8 << 10] {
            let shown = jpeg_within(&noise, &options, 1024, most).expect("valid");
            assert!(shown.len() <= most, "{} > {most}", shown.len());
        }
        assert_eq!(longer_side(b"no image"), None);
    }
}
