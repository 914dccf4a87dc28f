//! Small images for the tests of this module.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};

use super::{DecodeOptions, PreprocessConfig, Preprocessor};

/// A small encoder's settings: 32 × 32 cut out of a shortest edge of 40.
pub fn config() -> PreprocessConfig {
    PreprocessConfig {
        resize_shortest_edge: 40,
        crop: 32,
        mean: [0.5, 0.4, 0.3],
        std: [0.25, 0.5, 1.0],
        ..PreprocessConfig::default()
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

/// A TIFF block that holds nothing but the orientation.
fn exif(orientation: u8) -> Vec<u8> {
    let mut block = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01".to_vec();
    block.extend([0, orientation, 0, 0, 0, 0, 0, 0]);
    block
}

/// A JPEG of quality 95 with an orientation.
pub fn jpeg_with_orientation(image: &RgbImage, orientation: u8) -> Vec<u8> {
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, 95).encode_image(image).expect("encoding to memory");
    let segment = [b"\xff\xe1\x00\x22Exif\0\0".as_slice(), &exif(orientation)].concat();
    jpeg.splice(2..2, segment);
    jpeg
}

/// A PNG whose orientation stands behind its pixels.
pub fn png_with_late_orientation(image: &RgbImage, orientation: u8) -> Vec<u8> {
    let mut png = encode(image, ImageFormat::Png);
    let end = png.split_off(png.len() - 12);
    png.extend(png_chunk(b"eXIf", &exif(orientation)));
    png.extend(end);
    png
}

/// One chunk of a PNG file.
pub fn png_chunk(name: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let named = [name, body].concat();
    [&(body.len() as u32).to_be_bytes()[..], &named, &crc32(&named).to_be_bytes()].concat()
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0u32, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), |crc, _| step(crc)))
}
