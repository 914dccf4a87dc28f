//! AVIF: its boxes by `zenavif-parse`, its pictures by `rav1d`, a Rust translation of dav1d.

use std::borrow::Cow;

use image::metadata::Orientation;
use re_rav1d::dav1d::pixel::YUVRange;
use re_rav1d::dav1d::{Decoder, Picture, PixelLayout, PlanarImageComponent, Settings};
use zenavif_parse::{AV1Metadata, AvifParser, ColorInformation, DecodeConfig, Unstoppable};

use super::raster::{Decoded, Raster};
use super::{Format, ImageError, ImageLimits};

/// Decodes the primary picture of an AVIF file to grey or RGB in the colours it was encoded in, with the
/// turn and the mirror that its container tells as the orientation. EXIF data have no say, by the standard.
pub(super) fn decode(bytes: &[u8], limits: &ImageLimits) -> Result<Decoded, ImageError> {
    let failed = |error| refusal(error, bytes, limits);
    let boxes = boxes(bytes, limits.max_decoded_bytes).map_err(failed)?;
    let (columns, rows, (width, height)) = layout(&boxes).map_err(failed)?;
    let cells: Vec<Cow<'_, [u8]>> = match boxes.grid_config() {
        Some(_) => (0..columns * rows).map(|cell| boxes.tile_data(cell)).collect(),
        None => boxes.primary_data().map(|data| vec![data]),
    }
    .map_err(failed)?;
    let first = Header::of(&cells[0]).map_err(failed)?;
    let alpha = boxes.alpha_data().transpose().map_err(failed)?;
    let samples = first.samples + usize::from(alpha.is_some());
    let pixels = u64::from(width) * u64::from(height);
    limits.check_header(width, height, pixels * samples as u64 * first.sample_bytes)?;
    let mut whole = vec![0; width as usize * height as usize * samples];

    for (place, cell) in cells.iter().enumerate() {
        let header = Header::of(cell).map_err(failed)?;
        if header != first {
            return Err(unsupported("a grid of pictures that differ in size or colours"));
        }
        let picture = Still::of(cell, header, boxes.color_info(), limits)?;
        let left = (place % columns) as u32 * header.width;
        let top = (place / columns) as u32 * header.height;
        let wide = header.width.min(width.saturating_sub(left)) as usize;
        for y in 0..header.height.min(height.saturating_sub(top)) {
            let at = (top + y) as usize * width as usize + left as usize;
            let row = &mut whole[at * samples..(at + wide) * samples];
            for (out, pixel) in row.chunks_exact_mut(samples).zip(picture.row(y)) {
                out[..header.samples].copy_from_slice(&pixel[..header.samples]);
            }
        }
    }
    if let Some(alpha) = alpha {
        let header = Header::of(&alpha).map_err(failed)?;
        if (header.width, header.height) != (width, height) {
            return Err(unsupported("transparency of another size than the picture"));
        }
        let picture = Still::of(&alpha, header, None, limits)?;
        for (y, row) in (0..height).zip(whole.chunks_exact_mut(width as usize * samples)) {
            for (out, [alpha, ..]) in row.chunks_exact_mut(samples).zip(picture.row(y)) {
                out[samples - 1] = alpha;
                if boxes.premultiplied_alpha() && alpha > 0 {
                    for colour in &mut out[..samples - 1] {
                        *colour = (u32::from(*colour) * 255 / u32::from(alpha)).min(255) as u8;
                    }
                }
            }
        }
    }
    let raster = Raster::from_samples((width, height), samples, whole);
    Ok(Decoded { raster, orientation: orientation(&boxes) })
}

/// Width and height by the header.
pub(super) fn dimensions(bytes: &[u8]) -> Option<(u32, u32)> {
    let boxes = boxes(bytes, ImageLimits::default().max_decoded_bytes).ok()?;
    layout(&boxes).ok().map(|(_, _, size)| size)
}

fn boxes(bytes: &[u8], most: u64) -> Result<AvifParser<'_>, zenavif_parse::Error> {
    let config = DecodeConfig::default().with_peak_memory_limit(most);
    AvifParser::from_bytes_with_config(bytes, &config, &Unstoppable)
}

/// Columns and rows of pictures, one of each where it is no grid, and the size of the whole in pixels.
fn layout(boxes: &AvifParser<'_>) -> Result<(usize, usize, (u32, u32)), zenavif_parse::Error> {
    let Some(grid) = boxes.grid_config() else {
        let header = Header::of(&boxes.primary_data()?)?;
        return Ok((1, 1, (header.width, header.height)));
    };
    let (columns, rows) = (usize::from(grid.columns), usize::from(grid.rows));
    if columns * rows == 0 || boxes.grid_tile_count() < columns * rows {
        return Err(zenavif_parse::Error::InvalidData("a grid with pictures missing"));
    }
    let header = Header::of(&boxes.tile_data(0)?)?;
    // No grid is larger than its pictures together.
    let side = |told: u32, one: u32, count: u8| {
        let all = one.saturating_mul(u32::from(count));
        if told == 0 { all } else { told.min(all) }
    };
    let width = side(grid.output_width, header.width, grid.columns);
    let height = side(grid.output_height, header.height, grid.rows);
    Ok((columns, rows, (width, height)))
}

/// What a picture's sequence header tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    /// Pixels, at least 1.
    width: u32,
    /// Pixels, at least 1.
    height: u32,
    /// 1 or 3.
    samples: usize,
    /// 1 or 2.
    sample_bytes: u64,
}

impl Header {
    fn of(av1: &[u8]) -> Result<Self, zenavif_parse::Error> {
        let header = AV1Metadata::parse_av1_bitstream(av1)?;
        Ok(Self {
            width: header.max_frame_width.get(),
            height: header.max_frame_height.get(),
            samples: if header.monochrome { 1 } else { 3 },
            sample_bytes: if header.bit_depth > 8 { 2 } else { 1 },
        })
    }
}

/// First the turn, against the clock, then the mirror (ISO/IEC 23008-12).
fn orientation(boxes: &AvifParser<'_>) -> Orientation {
    let turn = boxes.rotation().map_or(0, |rotation| rotation.angle);
    match (turn, boxes.mirror().map(|mirror| mirror.axis)) {
        (90, None) => Orientation::Rotate270,
        (180, None) => Orientation::Rotate180,
        (270, None) => Orientation::Rotate90,
        (_, None) => Orientation::NoTransforms,
        (90, Some(0)) | (270, Some(1)) => Orientation::Rotate90FlipH,
        (90 | 270, Some(_)) => Orientation::Rotate270FlipH,
        (180, Some(0)) => Orientation::FlipHorizontal,
        (180, Some(_)) | (_, Some(0)) => Orientation::FlipVertical,
        (_, Some(_)) => Orientation::FlipHorizontal,
    }
}

/// How three samples become red, green and blue (ITU-T H.273, table 4).
#[derive(Debug, Clone, Copy)]
enum Matrix {
    Identity,
    YCgCo,
    /// The weights of red and of blue in the luma.
    Weights(f32, f32),
}

impl Matrix {
    fn of(code: u16) -> Option<Self> {
        match code {
            0 => Some(Self::Identity),
            1 => Some(Self::Weights(0.2126, 0.0722)),
            // Where nothing is told, it is that of JPEG, as in libavif.
            2 | 5 | 6 => Some(Self::Weights(0.299, 0.114)),
            4 => Some(Self::Weights(0.30, 0.11)),
            7 => Some(Self::Weights(0.212, 0.087)),
            8 => Some(Self::YCgCo),
            9 => Some(Self::Weights(0.2627, 0.0593)),
            _ => None,
        }
    }
}

/// One decoded picture and what its samples mean.
struct Still {
    picture: Picture,
    matrix: Matrix,
    /// Whether samples use all of their values; if not, black is 16 of 255 and white 235.
    full: bool,
    bits: u32,
}

impl Still {
    fn of(
        av1: &[u8],
        header: Header,
        told: Option<&ColorInformation>,
        limits: &ImageLimits,
    ) -> Result<Self, ImageError> {
        let corrupt = |error| ImageError::corrupt(Format::Avif, error);
        let mut settings = Settings::new();
        // Photos are decoded side by side already.
        settings.set_n_threads(1);
        settings.set_max_frame_delay(1);
        settings.set_all_layers(false);
        settings.set_frame_size_limit(u32::try_from(limits.max_pixels).unwrap_or(u32::MAX));
        let mut decoder = Decoder::with_settings(&settings).map_err(corrupt)?;
        decoder.send_data(av1.to_vec(), None, None, None).map_err(corrupt)?;
        let picture = decoder.get_picture().map_err(corrupt)?;
        let grey = picture.pixel_layout() == PixelLayout::I400;
        let samples = if grey { 1 } else { 3 };
        if (picture.width(), picture.height(), samples)
            != (header.width, header.height, header.samples)
        {
            return Err(ImageError::corrupt(
                Format::Avif,
                "a picture of another size than its header",
            ));
        }
        let (code, full) = match told {
            Some(ColorInformation::Nclx { matrix_coefficients, full_range, .. }) => {
                (*matrix_coefficients, *full_range)
            }
            _ => (picture.matrix_coefficients() as u16, picture.color_range() == YUVRange::Full),
        };
        let matrix = Matrix::of(code)
            .ok_or_else(|| unsupported(&format!("colours by matrix {code} of ITU-T H.273")))?;
        let bits = picture.bits_per_component().map_or(8, |bits| bits.0 as u32);
        Ok(Self { picture, matrix, full, bits })
    }

    /// The pixels of row `y`: red, green and blue, or grey in the first place.
    fn row(&self, y: u32) -> impl Iterator<Item = [u8; 3]> {
        let luma = self.samples(PlanarImageComponent::Y, y);
        let grey = self.picture.pixel_layout() == PixelLayout::I400;
        let [blue, red] = [PlanarImageComponent::U, PlanarImageComponent::V]
            .map(|part| if grey { Vec::new() } else { self.samples(part, y) });
        let most = ((1 << self.bits) - 1) as f32;
        let step = (1 << (self.bits - 8)) as f32;
        let middle = (1 << (self.bits - 1)) as f32;
        let (black, of_luma, of_chroma) = match self.full {
            true => (0.0, 1.0 / most, 1.0 / most),
            false => (16.0 * step, 1.0 / (219.0 * step), 1.0 / (224.0 * step)),
        };
        let matrix = self.matrix;
        (0..luma.len()).map(move |x| {
            let level = |raw: f32| (raw - black) * of_luma;
            let luma = level(luma[x]);
            if grey {
                return [luma, 0.0, 0.0].map(eight_bits);
            }
            let chroma = |raw: f32| (raw - middle) * of_chroma;
            let (first, second) = (chroma(blue[x]), chroma(red[x]));
            let colours = match matrix {
                Matrix::Identity => [level(red[x]), luma, level(blue[x])],
                Matrix::YCgCo => [luma - first + second, luma + first, luma - first - second],
                Matrix::Weights(of_red, of_blue) => {
                    let red = luma + 2.0 * (1.0 - of_red) * second;
                    let blue = luma + 2.0 * (1.0 - of_blue) * first;
                    let green = (luma - of_red * red - of_blue * blue) / (1.0 - of_red - of_blue);
                    [red, green, blue]
                }
            };
            colours.map(eight_bits)
        })
    }

    /// A row of samples as they are stored. A plane of fewer samples than pixels is enlarged, each new
    /// sample a quarter of the way from one stored sample to the next, as libavif does.
    fn samples(&self, part: PlanarImageComponent, y: u32) -> Vec<f32> {
        let plane = self.picture.plane(part);
        let (data, stride) = (plane.as_ref(), self.picture.stride(part) as usize);
        let halved = match (part, self.picture.pixel_layout()) {
            (PlanarImageComponent::Y, _) | (_, PixelLayout::I400 | PixelLayout::I444) => {
                (false, false)
            }
            (_, PixelLayout::I422) => (true, false),
            (_, PixelLayout::I420) => (true, true),
        };
        let (width, height) = (self.picture.width(), self.picture.height());
        let [(upper, of_upper), (lower, of_lower)] = near(y, height, halved.1);
        let at = |x: u32, y: u32| match self.bits {
            8 => f32::from(data[y as usize * stride + x as usize]),
            _ => {
                let at = y as usize * stride + 2 * x as usize;
                f32::from(u16::from_le_bytes([data[at], data[at + 1]]))
            }
        };
        let stored = if halved.0 { width.div_ceil(2) } else { width };
        let column = |x| of_upper * at(x, upper) + of_lower * at(x, lower);
        let row: Vec<f32> = (0..stored).map(column).collect();
        if !halved.0 {
            return row;
        }
        let between = |x| {
            let [(left, of_left), (right, of_right)] = near(x, width, true);
            of_left * row[left as usize] + of_right * row[right as usize]
        };
        (0..width).map(between).collect()
    }
}

/// The two stored samples that are nearest to place `at` of `count`, and what each weighs.
fn near(at: u32, count: u32, halved: bool) -> [(u32, f32); 2] {
    if !halved {
        return [(at, 1.0), (at, 0.0)];
    }
    let (here, last) = (at / 2, count.div_ceil(2) - 1);
    let other = if at % 2 == 0 { here.saturating_sub(1) } else { (here + 1).min(last) };
    [(here, 0.75), (other, 0.25)]
}

/// A level from 0 to 1; what is beyond is cut.
fn eight_bits(level: f32) -> u8 {
    (level * 255.0 + 0.5) as u8
}

fn unsupported(feature: &str) -> ImageError {
    ImageError::Unsupported { format: Format::Avif, feature: feature.to_owned() }
}

fn refusal(error: zenavif_parse::Error, bytes: &[u8], limits: &ImageLimits) -> ImageError {
    use zenavif_parse::Error;

    let (format, limit) = (Format::Avif, limits.max_decoded_bytes);
    match error {
        Error::UnexpectedEOF => {
            ImageError::Truncated { format, bytes: bytes.len() as u64, source: Some(error.into()) }
        }
        Error::Unsupported(feature) => unsupported(feature),
        Error::OutOfMemory | Error::ResourceLimitExceeded(_) => {
            ImageError::DecoderMemory { format, limit, source: error.into() }
        }
        error => ImageError::corrupt(format, error),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::failure::Failure;
    use crate::image::{DecodeOptions, fixtures};

    const SOME: [&str; 5] = ["chroma_420", "alpha_premultiplied", "grid", "animated", "ten_bits"];

    fn picture(name: &str) -> Vec<u8> {
        fs_err::read(fixtures::golden("avif").join(format!("{name}.avif")))
            .expect("a golden picture")
    }

    fn decoded(bytes: &[u8], limits: ImageLimits) -> Result<Decoded, ImageError> {
        let options = DecodeOptions { limits, ..DecodeOptions::default() };
        super::super::decode::decode(bytes, &options).map(|(_, decoded)| decoded)
    }

    #[test]
    fn every_picture_agrees_with_the_reference_decoder() {
        // libavif counts in whole numbers of six bits where it is told that colours lie between limits.
        assert!(fixtures::agree_with_the_reference("avif", (0.65, 4)) >= 22);
    }

    #[test]
    fn a_turn_counts_only_where_turns_do() {
        let bytes = picture("orientation_6");
        assert_eq!(dimensions(&bytes), Some((25, 19)), "as stored");
        let turned = decoded(&bytes, ImageLimits::default()).expect("valid").orientation;
        assert_eq!(turned, Orientation::Rotate90);
        let options = DecodeOptions { exif_orientation: false, ..DecodeOptions::default() };
        let (format, lying) = super::super::decode::decode(&bytes, &options).expect("valid");
        assert_eq!((format, lying.orientation), (Format::Avif, Orientation::NoTransforms));
    }

    #[test]
    fn limits_hold_before_anything_is_decoded() {
        let fine = ImageLimits::default();
        let refused = |name, limits| decoded(&picture(name), limits).expect_err("over").code();
        for name in SOME {
            assert_eq!(refused(name, ImageLimits { max_side: 36, ..fine }), "image_side_too_long");
            assert_eq!(
                refused(name, ImageLimits { max_pixels: 64, ..fine }),
                "image_too_many_pixels"
            );
        }
        let bytes = ImageLimits { max_decoded_bytes: 49 * 37 * 6 - 1, ..fine };
        assert_eq!(refused("ten_bits", bytes), "image_decoded_too_large");
        assert!(decoded(&picture("chroma_420"), bytes).is_ok());
        assert_eq!(refused("grid", bytes), "image_decoded_too_large");
    }

    #[test]
    fn a_cut_file_is_refused_wherever_it_ends() {
        for name in SOME {
            let bytes = picture(name);
            for length in (12..bytes.len()).step_by(7) {
                // An animation whose first picture is there is read.
                let Err(error) = decoded(&bytes[..length], ImageLimits::default()) else {
                    assert_eq!(name, "animated");
                    continue;
                };
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
            let limits = ImageLimits { max_pixels: 1 << 20, ..ImageLimits::default() };
            for name in SOME {
                let mut bytes = picture(name);
                for (place, byte) in &places {
                    let at = place.index(bytes.len() - 12) + 12;
                    bytes[at] = *byte;
                }
                drop(decoded(&bytes, limits));
            }
        }
    }
}
