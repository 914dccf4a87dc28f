//! Resizing, by `fast_image_resize`: SIMD, and the same fixed-point convolution as Pillow's.

use std::cell::RefCell;

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use super::ImageError;
use super::geometry::SourceBox;
use super::raster::{Channels, Raster};

thread_local! {
    /// Keeps the resizer's scratch memory from one photo to the next.
    static RESIZER: RefCell<Resizer> = RefCell::new(Resizer::new());
}

/// Scales the box `source` of `raster` to `width` × `height`, antialiased.
///
/// # Errors
/// [`ImageError::Internal`] if the box lies outside the image.
pub(super) fn resize(
    raster: &Raster,
    source: SourceBox,
    (width, height): (u32, u32),
    filter: FilterType,
) -> Result<Raster, ImageError> {
    let pixel = match raster.channels {
        Channels::Grey => PixelType::U8,
        Channels::Rgb => PixelType::U8x3,
    };
    let from = ImageRef::new(raster.width, raster.height, &raster.data, pixel).map_err(failed)?;
    let mut to = Image::new(width, height, pixel);
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(filter))
        .crop(source.left, source.top, source.width, source.height);
    RESIZER
        .with_borrow_mut(|resizer| resizer.resize(&from, &mut to, &options))
        .map_err(failed)?;
    Ok(Raster {
        width,
        height,
        channels: raster.channels,
        data: to.into_vec(),
    })
}

fn failed(source: impl std::error::Error + Send + Sync + 'static) -> ImageError {
    ImageError::Internal {
        action: "resize the image",
        source: Box::new(source),
    }
}
