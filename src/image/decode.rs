//! From the bytes of a file to pixels, with every limit checked on the way.

use std::error::Error as _;
use std::io::{self, Cursor};
use std::panic::{AssertUnwindSafe, catch_unwind};

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageReader};

use super::error::Cause;
use super::raster::{Decoded, Raster};
use super::{DecodeOptions, Format, ImageError, ImageLimits, jpeg};

/// Decodes any [`Format`].
///
/// # Errors
/// Any [`ImageError`] that bytes can cause.
pub(super) fn decode(
    bytes: &[u8],
    options: &DecodeOptions,
) -> Result<(Format, Decoded), ImageError> {
    options.limits.check_file(bytes.len() as u64)?;
    let format = Format::sniff(bytes)?;
    let mut decoded = guarded(format, || match format {
        Format::Jpeg => jpeg::decode(bytes, &options.limits),
        #[cfg(feature = "jxl")]
        Format::Jxl => super::jxl::decode(bytes, &options.limits),
        #[cfg(feature = "avif")]
        Format::Avif => super::avif::decode(bytes, &options.limits),
        format => decode_general(format, bytes, &options.limits),
    })?;
    if !options.exif_orientation {
        decoded.orientation = Orientation::NoTransforms;
    }
    if decoded.raster.width == 0 || decoded.raster.height == 0 {
        return Err(ImageError::corrupt(format, "the image has no pixels"));
    }
    Ok((format, decoded))
}

/// Hostile files find the bugs of decoders: a panic in one refuses the file, not the run.
fn guarded<T>(
    format: Format,
    work: impl FnOnce() -> Result<T, ImageError>,
) -> Result<T, ImageError> {
    // Nothing the closure touches outlives it, so there is no broken state to see afterwards.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        tracing::error!(%format, "the image decoder panicked; the file is refused");
        Err(ImageError::corrupt(format, "the decoder failed on these data"))
    })
}

fn decode_general(
    format: Format,
    bytes: &[u8],
    limits: &ImageLimits,
) -> Result<Decoded, ImageError> {
    let failed = |error| refusal(error, format, bytes, limits);
    let Some(known) = format.to_image() else {
        let feature = "this build was made without it".to_owned();
        return Err(ImageError::Unsupported { format, feature });
    };
    let mut reader = ImageReader::with_format(Cursor::new(bytes), known);
    reader.limits(decoder_limits(limits));
    let mut decoder = reader.into_decoder().map_err(failed)?;
    let (width, height) = decoder.dimensions();
    // `DynamicImage::from_decoder` checks no limits, so this line must.
    limits.check_header(width, height, decoder.total_bytes())?;
    if is_cut_webp(format, bytes) {
        return Err(truncated(format, bytes, None));
    }
    // Metadata that cannot be read must not cost the photo.
    let mut orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    if format == Format::Png && orientation == Orientation::NoTransforms {
        orientation = late_png_orientation(bytes).unwrap_or(orientation);
    }
    let image = DynamicImage::from_decoder(decoder).map_err(failed)?;
    Ok(Decoded { raster: Raster::from_dynamic(image, format)?, orientation })
}

/// The orientation of a PNG whose eXIf chunk follows the pixels, as the standard allows and libpng's
/// own test picture has it. The decoder stops reading before.
fn late_png_orientation(bytes: &[u8]) -> Option<Orientation> {
    let exif = exif::Reader::new().read_from_container(&mut Cursor::new(bytes)).ok()?;
    let field = exif.get_field(exif::Tag::Orientation, exif::In::PRIMARY)?;
    let value = u8::try_from(field.value.get_uint(0)?).ok()?;
    Orientation::from_exif(value)
}

/// Bounds the decoder's working memory. Sides stay free here, so that our own check names them.
fn decoder_limits(limits: &ImageLimits) -> image::Limits {
    let mut bounds = image::Limits::no_limits();
    bounds.max_alloc = Some(limits.max_decoded_bytes);
    bounds
}

fn refusal(
    error: image::ImageError,
    format: Format,
    bytes: &[u8],
    limits: &ImageLimits,
) -> ImageError {
    match error {
        image::ImageError::Limits(source) => ImageError::DecoderMemory {
            format,
            limit: limits.max_decoded_bytes,
            source: source.into(),
        },
        image::ImageError::Unsupported(source) => {
            ImageError::Unsupported { format, feature: source.to_string() }
        }
        error if ends_early(&error) || is_cut_webp(format, bytes) => {
            truncated(format, bytes, Some(error.into()))
        }
        error => ImageError::corrupt(format, error),
    }
}

fn truncated(format: Format, bytes: &[u8], source: Option<Cause>) -> ImageError {
    ImageError::Truncated { format, bytes: bytes.len() as u64, source }
}

/// Whether an unexpected end of file stands anywhere in the chain of causes.
fn ends_early(error: &image::ImageError) -> bool {
    if let image::ImageError::IoError(error) = error {
        return error.kind() == io::ErrorKind::UnexpectedEof;
    }
    std::iter::successors(error.source(), |&error| error.source()).any(is_end_of_file)
}

fn is_end_of_file(error: &(dyn std::error::Error + 'static)) -> bool {
    match error.downcast_ref::<io::Error>() {
        Some(error) => error.kind() == io::ErrorKind::UnexpectedEof,
        // The GIF decoder has an error of its own for it.
        None => error.to_string() == "Unexpected End of File",
    }
}

/// Whether a WebP file is shorter than its RIFF header says. Its decoder speaks of a bad bit
/// stream then, or does not notice.
fn is_cut_webp(format: Format, bytes: &[u8]) -> bool {
    let Some(&[a, b, c, d]) = bytes.get(4..8) else {
        return false;
    };
    let promised = u64::from(u32::from_le_bytes([a, b, c, d])) + 8;
    format == Format::WebP && promised > bytes.len() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::failure::Failure;

    #[test]
    fn a_panicking_decoder_refuses_the_file() {
        let result: Result<(), _> = guarded(Format::Gif, || panic!("a decoder's bug"));
        assert_eq!(result.expect_err("caught").code(), "image_corrupt");
    }
}
