//! Resizing, by `fast_image_resize`: SIMD, and the same fixed-point convolution as Pillow's.

use std::cell::RefCell;

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use super::ImageError;
use super::geometry::SourceBox;
use super::preprocess_config::Resample;
use super::raster::{Channels, Raster};

thread_local! {
    /// Keeps the resizer's scratch memory from one photo to the next.
    static RESIZER: RefCell<Resizer> = RefCell::new(Resizer::new());
}

/// Which axis the resizer squeezes first. Each pass clips to a byte, so the order shows: hard edges
/// come out up to 30 of 255 different.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Rows, as Pillow does.
    RowsFirst,
    /// Columns, the resizer's own way: what Pillow does to an image that lies on its side.
    ColumnsFirst,
}

/// Scales the box `source` of `raster` to `width` × `height`, antialiased.
///
/// # Errors
/// [`ImageError::Internal`] if the box lies outside the image.
pub(super) fn resize(
    raster: &Raster,
    source: SourceBox,
    (width, height): (u32, u32),
    filter: Resample,
    order: Order,
) -> Result<Raster, ImageError> {
    if order == Order::ColumnsFirst {
        return pass(raster, source, (width, height), filter);
    }
    let (from, rows) = rows_needed(raster.height, source, height, filter);
    let band = SourceBox { top: f64::from(from), height: f64::from(rows), ..source };
    let narrowed = pass(raster, band, (width, rows), filter)?;
    let rest = SourceBox {
        left: 0.0,
        top: source.top - f64::from(from),
        width: f64::from(width),
        height: source.height,
    };
    pass(&narrowed, rest, (width, height), filter)
}

/// The first row, and the number of rows, that the pass over the columns will look at. A row too
/// many does no harm; one too few would change the result.
fn rows_needed(total: u32, source: SourceBox, height: u32, filter: Resample) -> (u32, u32) {
    let scale = source.height / f64::from(height);
    let reach = filter.support() * scale.max(1.0) + 1.0;
    let first = (source.top - reach).floor().max(0.0);
    let last = (source.top + source.height + reach).ceil().min(f64::from(total));
    (first as u32, (last - first) as u32)
}

fn pass(
    raster: &Raster,
    source: SourceBox,
    (width, height): (u32, u32),
    filter: Resample,
) -> Result<Raster, ImageError> {
    let pixel = match raster.channels {
        Channels::Grey => PixelType::U8,
        Channels::Rgb => PixelType::U8x3,
    };
    let from = ImageRef::new(raster.width, raster.height, &raster.data, pixel).map_err(failed)?;
    let mut to = Image::new(width, height, pixel);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(kernel(filter))).crop(
        source.left,
        source.top,
        source.width,
        source.height,
    );
    RESIZER.with_borrow_mut(|resizer| resizer.resize(&from, &mut to, &options)).map_err(failed)?;
    Ok(Raster { width, height, channels: raster.channels, data: to.into_vec() })
}

/// The same filter in the resizer's terms.
fn kernel(filter: Resample) -> FilterType {
    match filter {
        Resample::Bicubic => FilterType::CatmullRom,
        Resample::Bilinear => FilterType::Bilinear,
        Resample::Lanczos => FilterType::Lanczos3,
    }
}

fn failed(source: impl std::error::Error + Send + Sync + 'static) -> ImageError {
    ImageError::Internal { action: "resize the image", source: Box::new(source) }
}
