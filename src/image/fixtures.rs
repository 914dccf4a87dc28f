//! Small images for the tests of this module.

use std::io::Cursor;
#[cfg(any(feature = "jxl", feature = "avif"))]
use std::path::PathBuf;

use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
#[cfg(any(feature = "jxl", feature = "avif"))]
use proptest::sample::Index;

use super::{DecodeOptions, PreprocessConfig, Preprocessor};
#[cfg(any(feature = "jxl", feature = "avif"))]
use super::{
    Format, ImageError, ImageLimits, decode::decode, preprocess::upright, raster::Decoded,
};

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

/// A folder or file of `tests/golden`; `make.py` in each folder tells how its files were made.
#[cfg(any(feature = "jxl", feature = "avif"))]
fn golden_path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// The bytes of a file of `tests/golden`.
#[cfg(any(feature = "jxl", feature = "avif"))]
pub fn golden(name: &str) -> Vec<u8> {
    fs_err::read(golden_path(name)).expect("a golden picture")
}

/// What is decoded of bytes that announce `format`.
#[cfg(any(feature = "jxl", feature = "avif"))]
pub fn decoded(format: Format, bytes: &[u8], limits: ImageLimits) -> Result<Decoded, ImageError> {
    let options = DecodeOptions { limits, ..DecodeOptions::default() };
    let (found, decoded) = decode(bytes, &options)?;
    assert_eq!(found, format);
    Ok(decoded)
}

/// A file with some bytes exchanged, behind those that tell its format.
#[cfg(any(feature = "jxl", feature = "avif"))]
pub fn damaged(mut bytes: Vec<u8>, places: &[(Index, u8)]) -> Vec<u8> {
    for (place, byte) in places {
        let at = place.index(bytes.len() - 12) + 12;
        bytes[at] = *byte;
    }
    bytes
}

/// Holds every picture of `tests/golden/KIND` to the PNG beside it, which the reference decoder made of
/// it: how many there are. `most` is what samples may be apart, of 255, on average and at most.
#[cfg(any(feature = "jxl", feature = "avif"))]
pub fn agree_with_the_reference(kind: &str, most: (f64, u8)) -> usize {
    let mut seen = 0;
    for file in fs_err::read_dir(golden_path(kind)).expect("the folder").flatten() {
        let path = file.path();
        if path.extension().is_none_or(|ending| ending != kind) {
            continue;
        }
        seen += 1;
        let bytes = fs_err::read(&path).expect("a picture");
        let (_, ours) = decode(&bytes, &DecodeOptions::default()).expect("it is read");
        let ours = upright(ours.raster, ours.orientation);
        let theirs = image::open(path.with_extension("png")).expect("a reference");
        let size = |image: &DynamicImage| (image.width(), image.height());
        assert_eq!(size(&ours), size(&theirs), "{}", path.display());
        let is_grey = |image: &DynamicImage| image.color().channel_count() == 1;
        assert_eq!(is_grey(&ours), is_grey(&theirs), "{}", path.display());
        let (ours, theirs) = (ours.into_rgb8(), theirs.into_rgb8());
        let apart = || ours.iter().zip(theirs.iter()).map(|(a, b)| a.abs_diff(*b));
        let mean = apart().map(f64::from).sum::<f64>() / theirs.len() as f64;
        let largest = apart().max().unwrap_or(0);
        println!("{}: {mean:.3} on average, {largest} at most", path.display());
        assert!(mean <= most.0 && largest <= most.1, "{}: {mean}, {largest}", path.display());
    }
    seen
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
