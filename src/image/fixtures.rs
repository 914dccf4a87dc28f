//! Small images for the tests of this module.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};

use super::{DecodeOptions, LongEdge, PreprocessConfig, Preprocessor, Resample};

/// A small encoder's settings: 32 × 32 cut out of a shortest edge of 40.
pub fn config() -> PreprocessConfig {
    PreprocessConfig {
        resize_shortest_edge: 40,
        crop: 32,
        resample: Resample::Bicubic,
        long_edge: LongEdge::Floor,
        rescale_factor: 1.0 / 255.0,
        mean: [0.5, 0.4, 0.3],
        std: [0.25, 0.5, 1.0],
    }
}

pub fn preprocessor() -> Preprocessor {
    Preprocessor::new(config(), DecodeOptions::default()).expect("valid settings")
}

/// A picture without symmetry, with edges: mirrored, turned or shifted it is another picture.
pub fn gradient(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let ramp = |at: u32, length: u32| (at * 255 / length.max(1)) as u8;
        let checks = if (x / 7 + y / 5) % 3 == 0 { 60 } else { 200 };
        Rgb([ramp(x, width), ramp(y, height), checks])
    })
}

pub fn encode(image: &RgbImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let image = DynamicImage::ImageRgb8(image.clone());
    image.write_to(&mut bytes, format).expect("encoding to memory");
    bytes.into_inner()
}

/// A JPEG of quality 95 whose EXIF segment holds nothing but the orientation.
pub fn jpeg_with_orientation(image: &RgbImage, orientation: u8) -> Vec<u8> {
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, 95).encode_image(image).expect("encoding to memory");
    let mut exif =
        b"\xff\xe1\x00\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01".to_vec();
    exif.extend([0, orientation, 0, 0, 0, 0, 0, 0]);
    jpeg.splice(2..2, exif);
    jpeg
}
