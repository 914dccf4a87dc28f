//! Files that are not what they claim: each must end in a typed error, never in a panic or in a
//! large allocation.

use crate::base::failure::Failure;
use std::io::Cursor;

use image::{DynamicImage, ImageFormat};
use proptest::prelude::*;

use super::{DecodeOptions, Format, ImageError, ImageLimits, Preprocessor, fixtures};

const FORMATS: [(ImageFormat, Format); 6] = [
    (ImageFormat::Jpeg, Format::Jpeg),
    (ImageFormat::Png, Format::Png),
    (ImageFormat::WebP, Format::WebP),
    (ImageFormat::Gif, Format::Gif),
    (ImageFormat::Bmp, Format::Bmp),
    (ImageFormat::Tiff, Format::Tiff),
];

fn refusal(bytes: &[u8]) -> ImageError {
    let outcome = fixtures::preprocessor().prepare(bytes).map(|(_, info)| info);
    outcome.expect_err("a file that must be refused")
}

/// A complete PNG of 65 bytes or so, whose header claims any size.
fn png_claiming(width: u32, height: u32) -> Vec<u8> {
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 6, 0, 0, 0]].concat();
    [
        b"\x89PNG\r\n\x1a\n".to_vec(),
        fixtures::png_chunk(b"IHDR", &header),
        fixtures::png_chunk(b"IDAT", b"\x78\x9c\x03\0\0\0\0\x01"),
        fixtures::png_chunk(b"IEND", b""),
    ]
    .concat()
}

#[test]
fn a_65_byte_png_of_100000_by_100000_is_refused_by_its_header() {
    let png = png_claiming(100_000, 100_000);
    assert_eq!(png.len(), 65);
    let error = refusal(&png);
    let expected =
        "the image is 100000 x 100000 pixels, the longest side allowed is 30000 (max_side)";
    assert_eq!(error.to_string(), expected);
    assert_eq!(error.kind(), crate::ErrorKind::InvalidInput);
    assert_eq!(refusal(&png_claiming(20_000, 20_000)).code(), "image_too_many_pixels");
    // 12 million pixels of four bytes under a limit of 40 million bytes.
    let limits = ImageLimits { max_decoded_bytes: 40_000_000, ..ImageLimits::default() };
    let options = DecodeOptions { limits, ..DecodeOptions::default() };
    let tool = Preprocessor::new(fixtures::config(), options).expect("valid");
    let error = tool.prepare(&png_claiming(4000, 3000)).expect_err("over the limit");
    assert_eq!(error.code(), "image_decoded_too_large");
    // The largest sides a header can hold: the decoder's own refusal must not be a panic.
    refusal(&png_claiming(0x7fff_ffff, 0x7fff_ffff));
}

#[test]
fn a_jpeg_header_over_the_limit_is_refused_before_its_scan() {
    let mut jpeg = fixtures::encode(&fixtures::gradient(64, 48), ImageFormat::Jpeg);
    let frame = jpeg.windows(2).position(|pair| pair == b"\xff\xc0").expect("a frame header");
    jpeg[frame + 5..frame + 9].copy_from_slice(b"\xff\xff\xff\xff");
    let error = refusal(&jpeg);
    assert!(
        matches!(error, ImageError::SideTooLong { width: 65535, height: 65535, limit: 30_000 }),
        "{error:?}"
    );
}

#[test]
fn strangers_and_empty_files_are_named() {
    let zip = refusal(b"PK\x03\x04\x14\0\0\0\x08\0photo.jpg");
    assert!(zip.to_string().contains("a ZIP archive"), "{zip}");
    assert!(refusal(b"a caption, not a photo").to_string().contains("plain text"));
    assert_eq!(refusal(b"").code(), "image_empty_file");
}

#[test]
fn a_file_over_the_size_limit_is_not_even_sniffed() {
    let limits = ImageLimits { max_file_bytes: 16, ..ImageLimits::default() };
    let options = DecodeOptions { limits, ..DecodeOptions::default() };
    let tool = Preprocessor::new(fixtures::config(), options).expect("valid");
    let error = tool.prepare(&[b'x'; 17]).expect_err("one byte too many");
    assert!(matches!(error, ImageError::FileTooLarge { bytes: 17, limit: 16 }), "{error:?}");
}

#[test]
fn every_format_is_read_whole_and_refused_wherever_it_is_cut() {
    for (encoder, format) in FORMATS {
        let whole = fixtures::encode(&fixtures::gradient(60, 44), encoder);
        let (_, info) = fixtures::preprocessor().prepare(&whole).expect("a valid file");
        assert_eq!((info.format, info.width, info.height), (format, 60, 44));
        // The last bytes of PNG (a checksum of nothing) and GIF (a full stop) carry no pixels.
        for length in 16..whole.len() - 4 {
            let error = refusal(&whole[..length]);
            assert_eq!(error.code(), "image_truncated", "{format} cut at {length}: {error:?}");
        }
    }
}

#[test]
fn a_jpeg_is_truncated_without_its_very_last_byte() {
    let whole = fixtures::jpeg_with_orientation(&fixtures::gradient(160, 120), 1);
    for length in whole.len() - 8..whole.len() {
        assert_eq!(refusal(&whole[..length]).code(), "image_truncated");
    }
}

#[test]
fn a_jpeg_whose_scan_is_overwritten_is_corrupt() {
    let mut jpeg = fixtures::encode(&fixtures::gradient(160, 120), ImageFormat::Jpeg);
    let half = jpeg.len() / 2;
    // Sixteen ones in a row are no Huffman code.
    jpeg[half..half + 8].copy_from_slice(b"\xff\0\xff\0\xff\0\xff\0");
    assert_eq!(refusal(&jpeg).code(), "image_corrupt");
}

#[test]
fn float_tiffs_are_unsupported_rather_than_guessed() {
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::new_rgb32f(8, 8).write_to(&mut bytes, ImageFormat::Tiff).expect("encoding");
    assert_eq!(refusal(&bytes.into_inner()).code(), "image_unsupported");
}

fn small_files() -> Vec<Vec<u8>> {
    let picture = fixtures::gradient(33, 21);
    let mut files: Vec<Vec<u8>> =
        FORMATS.iter().map(|&(encoder, _)| fixtures::encode(&picture, encoder)).collect();
    files.push(fixtures::jpeg_with_orientation(&picture, 6));
    files
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Flipped bytes and cuts: any answer will do as long as it is one, and its size is right.
    #[test]
    fn damaged_files_give_pixels_or_a_typed_error(
        which in 0usize..7,
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = small_files().swap_remove(which);
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let limits = ImageLimits {
            max_pixels: 1_000_000,
            max_decoded_bytes: 4_000_000,
            ..ImageLimits::default()
        };
        let options = DecodeOptions { limits, ..DecodeOptions::default() };
        let tool = Preprocessor::new(fixtures::config(), options).expect("valid");
        match tool.prepare(&bytes) {
            Ok((pixels, info)) => {
                prop_assert_eq!(pixels.rgb.len(), tool.tensor_len());
                prop_assert!(u64::from(info.width) * u64::from(info.height) <= 1_000_000);
            }
            Err(error) => prop_assert!(error.code().starts_with("image_")),
        }
    }
}
