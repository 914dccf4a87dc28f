//! JPEG, by `zune-jpeg` itself: through the `image` crate it would copy the file and hide the
//! colour space.

use image::metadata::Orientation;
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;

use super::markers::is_complete;
use super::raster::{Channels, Decoded, Raster};
use super::{Format, ImageError, ImageLimits};

type Decoder<'a> = JpegDecoder<ZCursor<&'a [u8]>>;

/// Decodes a JPEG file of any colour space to grey or RGB.
///
/// Damage that the decoder sees is an error here, although `zune-jpeg` could paper over it with
/// grey: a photo of which half is missing must not become training data. Pillow refuses truncated
/// files as well.
pub(super) fn decode(bytes: &[u8], limits: &ImageLimits) -> Result<Decoded, ImageError> {
    let complete = is_complete(bytes);
    let failed = |error| refusal(error, bytes, complete);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), lenient());
    decoder.decode_headers().map_err(failed)?;
    let (width, height) = check_header(&decoder, limits)?;
    if !complete {
        return Err(truncated(bytes, None));
    }
    let orientation = decoder.exif().and_then(|exif| Orientation::from_exif_chunk(exif));
    let (colours, channels) = output(&decoder)?;
    decoder.set_options(lenient().set_strict_mode(true).jpeg_set_out_colorspace(colours));
    let pixels = width as usize * height as usize;
    let mut data = vec![0; pixels * channels.count()];
    decoder.decode_into(&mut data).map_err(failed)?;
    Ok(Decoded {
        raster: Raster { width, height, channels, data },
        orientation: orientation.unwrap_or(Orientation::NoTransforms),
    })
}

/// Options for the header: cameras leave stray bytes between segments, and the limits on size are
/// ours to check and to name.
fn lenient() -> DecoderOptions {
    DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX)
}

fn check_header(decoder: &Decoder, limits: &ImageLimits) -> Result<(u32, u32), ImageError> {
    let (width, height) =
        decoder.dimensions().ok_or_else(|| ImageError::corrupt(Format::Jpeg, "no frame header"))?;
    // JPEG has 16 bits for each side.
    let (width, height) = (width as u32, height as u32);
    let bytes = u64::from(width) * u64::from(height) * components(decoder);
    limits.check_header(width, height, bytes)?;
    Ok((width, height))
}

fn components(decoder: &Decoder) -> u64 {
    decoder.info().map_or(0, |info| u64::from(info.components))
}

/// What to ask of the decoder: grey stays grey (a third of the work), all else becomes RGB. CMYK
/// is read as Adobe writes it, inverted, which is also what Pillow assumes.
fn output(decoder: &Decoder) -> Result<(ColorSpace, Channels), ImageError> {
    match components(decoder) {
        1 => Ok((ColorSpace::Luma, Channels::Grey)),
        3 | 4 => Ok((ColorSpace::RGB, Channels::Rgb)),
        other => Err(ImageError::Unsupported {
            format: Format::Jpeg,
            feature: format!("{other} colour components"),
        }),
    }
}

fn refusal(error: DecodeErrors, bytes: &[u8], complete: bool) -> ImageError {
    match error {
        DecodeErrors::Unsupported(scheme) => {
            ImageError::Unsupported { format: Format::Jpeg, feature: format!("{scheme:?}") }
        }
        error if !complete => truncated(bytes, Some(error)),
        error => ImageError::corrupt(Format::Jpeg, error),
    }
}

fn truncated(bytes: &[u8], source: Option<DecodeErrors>) -> ImageError {
    ImageError::Truncated {
        format: Format::Jpeg,
        bytes: bytes.len() as u64,
        source: source.map(Into::into),
    }
}
