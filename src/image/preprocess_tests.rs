//! Tests of the preprocessor on images made here; Pillow's references are in `tests/`.

use image::ImageFormat;

use super::super::fixtures;
use super::*;
use crate::image::Resample;

fn prepare(bytes: &[u8]) -> (Pixels, ImageInfo) {
    fixtures::preprocessor().prepare(bytes).expect("a valid image")
}

fn largest_difference(a: &Pixels, b: &Pixels) -> u8 {
    let pairs = a.rgb.iter().zip(&b.rgb);
    pairs.map(|(a, b)| a.abs_diff(*b)).max().expect("pixels")
}

#[test]
fn every_orientation_is_that_of_the_whole_photo_turned_first() {
    for exif in 1..=8 {
        for (width, height) in [(157, 120), (120, 157)] {
            let jpeg = fixtures::jpeg_with_orientation(&fixtures::gradient(width, height), exif);
            let (seen, info) = prepare(&jpeg);
            let mut whole = image::load_from_memory(&jpeg).expect("our own JPEG");
            whole.apply_orientation(Orientation::from_exif(exif).expect("1 to 8"));
            let (expected, upright) =
                prepare(&fixtures::encode(&whole.to_rgb8(), ImageFormat::Png));
            assert_eq!((info.width, info.height), (upright.width, upright.height));
            assert_eq!((info.orientation, upright.orientation), (exif, 1));
            let difference = largest_difference(&seen, &expected);
            assert_eq!(difference, 0, "orientation {exif}");
        }
    }
}

#[test]
fn a_png_may_state_its_orientation_behind_its_pixels() {
    let picture = fixtures::gradient(157, 120);
    let (seen, info) = prepare(&fixtures::png_with_late_orientation(&picture, 6));
    assert_eq!((info.width, info.height, info.orientation), (120, 157, 6));
    let turned = image::imageops::rotate90(&picture);
    assert_eq!(seen, prepare(&fixtures::encode(&turned, ImageFormat::Png)).0);
}

#[test]
fn orientation_can_be_switched_off() {
    let jpeg = fixtures::jpeg_with_orientation(&fixtures::gradient(157, 120), 6);
    let options = DecodeOptions { exif_orientation: false, ..DecodeOptions::default() };
    let plain = Preprocessor::new(fixtures::config(), options).expect("valid");
    let (stored, info) = plain.prepare(&jpeg).expect("valid");
    assert_eq!((info.width, info.height, info.orientation), (157, 120, 1));
    assert!(largest_difference(&stored, &prepare(&jpeg).0) > 50);
}

#[test]
fn an_image_that_already_fits_is_not_touched() {
    let config = PreprocessConfig { resize_shortest_edge: 32, crop: 32, ..fixtures::config() };
    let tool = Preprocessor::new(config, DecodeOptions::default()).expect("valid");
    let image = fixtures::gradient(32, 32);
    let (pixels, info) = tool.prepare(&fixtures::encode(&image, ImageFormat::Png)).expect("valid");
    assert_eq!(pixels, Pixels { side: 32, rgb: image.into_raw() });
    assert_eq!(info.format, Format::Png);
}

#[test]
fn a_single_pixel_and_a_thin_strip_pass() {
    for (width, height) in [(1, 1), (1, 9000), (9000, 1)] {
        let png = fixtures::encode(&fixtures::gradient(width, height), ImageFormat::Png);
        assert_eq!(prepare(&png).0.rgb.len(), 32 * 32 * 3);
    }
}

#[test]
fn planes_hold_the_normalised_channels() {
    let tool = fixtures::preprocessor();
    let rgb: Vec<u8> = (0..tool.tensor_len()).map(|at| (at * 7 % 256) as u8).collect();
    let pixels = Pixels { side: 32, rgb };
    let mut out = vec![0.0; tool.tensor_len()];
    tool.write_nchw(&pixels, &mut out);
    let config = fixtures::config();
    for (at, &byte) in pixels.rgb.iter().enumerate() {
        let (pixel, channel) = (at / 3, at % 3);
        let expected = (f32::from(byte) / 255.0 - config.mean[channel]) / config.std[channel];
        assert!((out[channel * 32 * 32 + pixel] - expected).abs() < 1e-6);
    }
}

#[test]
fn settings_that_cannot_work_are_refused_by_name() {
    let valid = fixtures::config;
    let wrong = [
        PreprocessConfig { resize_shortest_edge: 0, ..valid() },
        PreprocessConfig { resize_shortest_edge: 5000, ..valid() },
        PreprocessConfig { crop: 41, ..valid() },
        PreprocessConfig { crop: 0, ..valid() },
        PreprocessConfig { rescale_factor: f64::NAN, ..valid() },
        PreprocessConfig { mean: [0.0, f32::INFINITY, 0.0], ..valid() },
        PreprocessConfig { std: [1.0, 0.0, 1.0], ..valid() },
    ];
    let messages = wrong.map(|config| {
        let refused = Preprocessor::new(config, DecodeOptions::default());
        refused.expect_err("cannot work").to_string()
    });
    insta::assert_snapshot!(messages.join("\n"));
}

#[test]
fn the_manifest_table_is_read_and_typing_errors_are_not() {
    let table = "resize_shortest_edge = 260\ncrop = 260\nresample = \"bilinear\"\n\
                 rescale_factor = 1.0\nmean = [127.0, 127.0, 127.0]\nstd = [128.0, 128.0, 128.0]\n";
    let config: PreprocessConfig = toml::from_str(table).expect("a valid table");
    assert_eq!((config.crop, config.resample), (260, Resample::Bilinear));
    assert!(toml::from_str::<PreprocessConfig>(&format!("{table}crp = 1")).is_err());
}
