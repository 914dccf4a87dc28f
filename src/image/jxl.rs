//! JPEG XL, by `jxl-oxide` itself: through the `image` crate a cut file would look whole.

use image::metadata::Orientation;
use jxl_oxide::{AllocTracker, InitializeResult, JxlImage, JxlThreadPool, PixelFormat};

use super::error::Cause;
use super::raster::{Decoded, Raster};
use super::{Format, ImageError, ImageLimits};

/// Read first to find the header; as much again as was read each time that it is longer.
const STEP: usize = 4096;

/// What is read, and taken of memory, where only the size is asked for.
const HEADER_BYTES: usize = 1 << 20;

/// Decodes the first frame of a JPEG XL file, a bare codestream or in its container, to grey or RGB
/// in the colours it was encoded in. Its orientation is part of the picture and always applied.
pub(super) fn decode(bytes: &[u8], limits: &ImageLimits) -> Result<Decoded, ImageError> {
    let failed = |cause| refusal(cause, limits);
    let memory = AllocTracker::with_limit(usize::MAX);
    let (mut image, mut read) = header(bytes, &memory, limits)?;
    let (width, height) = (image.width(), image.height());
    let channels = match image.pixel_format() {
        PixelFormat::Cmyk | PixelFormat::Cmyka => {
            let feature = "CMYK colours".to_owned();
            return Err(ImageError::Unsupported { format: Format::Jxl, feature });
        }
        colours => colours.channels(),
    };
    let decoded_bytes = u64::from(width) * u64::from(height) * channels as u64;
    limits.check_header(width, height, decoded_bytes)?;
    // Not before: our own check names what is too large.
    let most = usize::try_from(limits.max_decoded_bytes).unwrap_or(usize::MAX);
    memory.shrink_limit(usize::MAX - most).map_err(|full| failed(full.into()))?;
    while image.num_loaded_keyframes() == 0 && read < bytes.len() {
        let taken = image.feed_bytes(&bytes[read..]).map_err(failed)?;
        if taken == 0 {
            break;
        }
        read += taken;
    }
    if image.num_loaded_keyframes() == 0 {
        return Err(truncated(bytes));
    }
    let render = image.render_frame(0).map_err(failed)?;
    let mut data = vec![0; width as usize * height as usize * channels];
    render.stream().write_to_buffer(&mut data);
    let raster = Raster::from_samples((width, height), channels, data);
    Ok(Decoded { raster, orientation: Orientation::NoTransforms })
}

/// Width and height by the header; `None` where it cannot be read from the first megabyte.
pub(super) fn dimensions(bytes: &[u8]) -> Option<(u32, u32)> {
    let memory = AllocTracker::with_limit(HEADER_BYTES);
    let bytes = &bytes[..bytes.len().min(HEADER_BYTES)];
    let (image, _) = header(bytes, &memory, &ImageLimits::default()).ok()?;
    Some((image.width(), image.height()))
}

/// The image once its header is there, and how many bytes that took.
fn header(
    bytes: &[u8],
    memory: &AllocTracker,
    limits: &ImageLimits,
) -> Result<(JxlImage, usize), ImageError> {
    let failed = |cause| refusal(cause, limits);
    let builder = JxlImage::builder().alloc_tracker(memory.clone());
    // Photos are decoded side by side already.
    let mut waiting = builder.pool(JxlThreadPool::none()).build_uninit();
    let mut read = 0;
    while read < bytes.len() {
        let step = &bytes[read..bytes.len().min(read + read.max(STEP))];
        let taken = waiting.feed_bytes(step).map_err(failed)?;
        if taken == 0 {
            break;
        }
        read += taken;
        match waiting.try_init().map_err(failed)? {
            InitializeResult::NeedMoreData(more) => waiting = more,
            InitializeResult::Initialized(image) => return Ok((image, read)),
        }
    }
    Err(truncated(bytes))
}

fn truncated(bytes: &[u8]) -> ImageError {
    ImageError::Truncated { format: Format::Jxl, bytes: bytes.len() as u64, source: None }
}

fn refusal(cause: Cause, limits: &ImageLimits) -> ImageError {
    let first: &(dyn std::error::Error + 'static) = cause.as_ref();
    let mut causes = std::iter::successors(Some(first), |error| error.source());
    // The decoder's error for it has no public type.
    match causes.any(|error| error.to_string().contains("failed to allocate")) {
        true => ImageError::DecoderMemory {
            format: Format::Jxl,
            limit: limits.max_decoded_bytes,
            source: cause,
        },
        false => ImageError::corrupt(Format::Jxl, cause),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::failure::Failure;
    use crate::image::fixtures;

    fn picture(name: &str) -> Vec<u8> {
        fixtures::golden(&format!("jxl/{name}"))
    }

    fn decoded(bytes: &[u8], limits: ImageLimits) -> Result<Decoded, ImageError> {
        fixtures::decoded(Format::Jxl, bytes, limits)
    }

    #[test]
    fn every_picture_agrees_with_the_reference_decoder() {
        // libjxl rounds otherwise, and enlarges the halved colours of a JPEG otherwise.
        assert!(fixtures::agree_with_the_reference("jxl", (1.0, 32)) >= 7);
    }

    #[test]
    fn limits_hold_before_anything_is_decoded() {
        let bytes = picture("lossy.jxl");
        let refused = |limits| decoded(&bytes, limits).expect_err("over a limit").code();
        let fine = ImageLimits::default();
        assert_eq!(refused(ImageLimits { max_side: 64, ..fine }), "image_side_too_long");
        assert_eq!(refused(ImageLimits { max_pixels: 64, ..fine }), "image_too_many_pixels");
        let none = ImageLimits { max_decoded_bytes: 64, ..fine };
        assert_eq!(refused(none), "image_decoded_too_large");
        let pixels = ImageLimits { max_decoded_bytes: 96 * 72 * 3, ..fine };
        assert_eq!(refused(pixels), "image_decoder_memory");
    }

    #[test]
    fn a_cut_file_is_cut_wherever_it_ends() {
        for name in ["lossy.jxl", "lossless_alpha.jxl", "from_jpeg.jxl"] {
            let bytes = picture(name);
            for length in (13..bytes.len() - 64).step_by(97) {
                let error = decoded(&bytes[..length], ImageLimits::default()).expect_err("cut");
                let code = error.code();
                assert!(["image_truncated", "image_corrupt"].contains(&code), "{name}: {error}");
            }
        }
    }

    proptest! {
        #[test]
        fn damaged_files_never_end_otherwise_than_in_a_picture_or_a_refusal(
            places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        ) {
            for name in ["lossy.jxl", "lossless_alpha.jxl"] {
                let damaged = fixtures::damaged(picture(name), &places);
                drop(decoded(&damaged, ImageLimits::default()));
            }
        }
    }
}
