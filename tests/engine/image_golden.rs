//! Our pixels beside Pillow's, on the pictures of `tests/golden` (see `make_golden.py` there).

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::path::PathBuf;

use image::RgbImage;
use pairwright::image::{
    DecodeOptions, Fit, ImageError, LongEdge, Pixels, PreprocessConfig, Preprocessor, Resample,
};

use crate::support::paths;

/// Of 255, per picture.
const MEAN_DIFFERENCE: f64 = 0.5;

fn golden(part: &str) -> PathBuf {
    paths::golden().join(part)
}

fn preprocessor(options: DecodeOptions) -> Preprocessor {
    let config = PreprocessConfig {
        resize_shortest_edge: 260,
        crop: 260,
        fit: Fit::ShortestEdge,
        resample: Resample::Bicubic,
        long_edge: LongEdge::Round,
        rescale_factor: 1.0,
        mean: [127.0; 3],
        std: [128.0; 3],
    };
    Preprocessor::new(config, options).unwrap()
}

fn names() -> Vec<String> {
    let listing = fs_err::read_to_string(golden("golden.json")).unwrap();
    let listing: serde_json::Value = serde_json::from_str(&listing).unwrap();
    let images = listing["images"].as_array().unwrap();
    images.iter().map(|image| image["name"].as_str().unwrap().to_owned()).collect()
}

fn picture(name: &str) -> Vec<u8> {
    fs_err::read(golden("images").join(name)).unwrap()
}

fn reference(name: &str) -> RgbImage {
    image::open(golden("pixels").join(format!("{name}.png"))).unwrap().into_rgb8()
}

/// Mean and largest absolute difference, of 255.
fn difference(ours: &Pixels, reference: &RgbImage) -> (f64, u8) {
    assert_eq!((ours.side, ours.side), reference.dimensions());
    let pairs = || ours.rgb.iter().zip(reference.as_raw()).map(|(a, b)| a.abs_diff(*b));
    let sum: u64 = pairs().map(u64::from).sum();
    (sum as f64 / ours.rgb.len() as f64, pairs().max().unwrap())
}

#[test]
fn every_picture_agrees_with_pillow() {
    let tool = preprocessor(DecodeOptions::default());
    let names = names();
    assert!(names.len() >= 30, "only {} golden pictures", names.len());
    let rows = names.iter().map(|name| {
        let (pixels, _) = tool.prepare(&picture(name)).unwrap();
        let (mean, largest) = difference(&pixels, &reference(name));
        println!("{name:24} mean {mean:.4}  largest {largest}");
        (mean, name)
    });
    let over: Vec<_> = rows.filter(|(mean, _)| *mean > MEAN_DIFFERENCE).collect();
    assert!(over.is_empty(), "over {MEAN_DIFFERENCE} of 255 on average: {over:?}");
}

#[test]
fn ignoring_the_orientation_shows() {
    let tool = preprocessor(DecodeOptions { exif_orientation: false, ..DecodeOptions::default() });
    for orientation in 2..=8 {
        let name = format!("exif_{orientation}.jpg");
        let (pixels, _) = tool.prepare(&picture(&name)).unwrap();
        let (mean, _) = difference(&pixels, &reference(&name));
        assert!(mean > 5.0, "{name} should look turned, but differs by {mean} only");
    }
}

#[test]
fn photos_cut_within_their_scan_are_truncated() {
    let tool = preprocessor(DecodeOptions::default());
    for name in ["square.jpg", "progressive_444.jpg", "exif_6.jpg", "grey.jpg", "cmyk.jpg"] {
        let whole = picture(name);
        for percent in [50, 90, 99] {
            let outcome = tool.prepare(&whole[..whole.len() * percent / 100]);
            let error = outcome.map(|(_, info)| info).unwrap_err();
            assert!(matches!(error, ImageError::Truncated { .. }), "{name} {percent} %: {error:?}");
        }
    }
}
