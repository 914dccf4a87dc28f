//! JPEG, by `zune-jpeg` itself: through the `image` crate it would copy the file and hide the
//! colour space.

use image::metadata::Orientation;
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;

use super::decode::Decoded;
use super::markers::{self, Markers};
use super::raster::{Channels, Raster};
use super::{Format, ImageError, ImageLimits};

type Decoder<'a> = JpegDecoder<ZCursor<&'a [u8]>>;

/// Decodes a JPEG file of any colour space to grey or RGB.
///
/// Damage is an error here, although `zune-jpeg` could paper over it with grey: a photo of which
/// half is missing must not become training data. Pillow refuses truncated files as well.
pub(super) fn decode(bytes: &[u8], limits: &ImageLimits) -> Result<Decoded, ImageError> {
    let markers = markers::walk(bytes);
    let failed = |error| refusal(error, bytes, markers);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), lenient());
    decoder.decode_headers().map_err(failed)?;
    let (width, height) = check_header(&decoder, limits)?;
    if !markers.complete {
        return Err(truncated(bytes, None));
    }
    let orientation = decoder.exif().and_then(|exif| Orientation::from_exif_chunk(exif));
    let (options, channels) = output(&decoder, markers)?;
    decoder.set_options(options);
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
    let info =
        decoder.info().ok_or_else(|| ImageError::corrupt(Format::Jpeg, "no frame header"))?;
    let (width, height) = (u32::from(info.width), u32::from(info.height));
    let bytes = u64::from(width) * u64::from(height) * u64::from(info.components);
    limits.check_header(width, height, bytes)?;
    Ok((width, height))
}

/// What to ask of the decoder: grey stays grey (a third of the work), all else becomes RGB. CMYK
/// is read as Adobe writes it, inverted, which is also what Pillow assumes.
fn output(decoder: &Decoder, markers: Markers) -> Result<(DecoderOptions, Channels), ImageError> {
    let components = decoder.info().map_or(0, |info| info.components);
    let strict = lenient().set_strict_mode(true);
    match (components, markers.adobe_transform) {
        (1, _) => Ok((strict.jpeg_set_out_colorspace(ColorSpace::Luma), Channels::Grey)),
        // Adobe's RGB without a transform, which zune-jpeg knows only as three nameless bands.
        (3, Some(0)) => {
            let bands = ColorSpace::MultiBand(std::num::NonZeroU32::MIN.saturating_add(2));
            Ok((lenient().jpeg_set_out_colorspace(bands), Channels::Rgb))
        }
        (3 | 4, _) => Ok((strict.jpeg_set_out_colorspace(ColorSpace::RGB), Channels::Rgb)),
        _ => Err(ImageError::Unsupported {
            format: Format::Jpeg,
            feature: format!("{components} colour components"),
        }),
    }
}

fn refusal(error: DecodeErrors, bytes: &[u8], markers: Markers) -> ImageError {
    match error {
        DecodeErrors::Unsupported(scheme) => {
            ImageError::Unsupported { format: Format::Jpeg, feature: format!("{scheme:?}") }
        }
        error if !markers.complete => truncated(bytes, Some(error)),
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
