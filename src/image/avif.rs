//! AVIF: its pictures by `rav1d`, a Rust translation of dav1d.

mod boxes;

use image::metadata::Orientation;
use re_rav1d::dav1d::pixel::YUVRange;
use re_rav1d::dav1d::{Decoder, Picture, PixelLayout, PlanarImageComponent, Settings};

use self::boxes::{Header, Wrong};
use super::raster::{Decoded, Raster};
use super::{Format, ImageError, ImageLimits};

/// Pictures in the data of one: with layers there are several, else one.
const MOST_PICTURES: usize = 4;

/// Decodes the primary picture of an AVIF file to grey or RGB in the colours it was encoded in, with the
/// turn and the mirror that its container tells as the orientation. EXIF data have no say, by the standard.
pub(super) fn decode(bytes: &[u8], limits: &ImageLimits) -> Result<Decoded, ImageError> {
    let failed = |wrong| refusal(wrong, bytes);
    let found = boxes::primary(bytes).map_err(failed)?;
    let cell = found.cells[0].header;
    let colours = if cell.grey { 1 } else { 3 };
    let samples = colours + usize::from(found.alpha.is_some());
    let sample_bytes = if cell.bits > 8 { 2 } else { 1 };
    // Of all cells: a grid may show less of them.
    let size = (
        u64::from(cell.width) * u64::from(found.columns),
        u64::from(cell.height) * u64::from(found.rows),
    );
    let whole_size = |side: u64| u32::try_from(side).unwrap_or(u32::MAX);
    let decoded_bytes = size.0.saturating_mul(size.1).saturating_mul(samples as u64 * sample_bytes);
    limits.check_header(whole_size(size.0), whole_size(size.1), decoded_bytes)?;

    let width = found.width as usize;
    let mut whole = vec![0; width * found.height as usize * samples];
    for (place, coded) in (0..).zip(&found.cells) {
        let picture = Still::of(&coded.data().map_err(failed)?, cell, found.colours, limits)?;
        let left = (place % found.columns * cell.width) as usize;
        let top = place / found.columns * cell.height;
        let shown = (cell.width as usize).min(width - left);
        for y in 0..cell.height.min(found.height - top) {
            let at = (top + y) as usize * width + left;
            let row = &mut whole[at * samples..(at + shown) * samples];
            for (out, pixel) in row.chunks_exact_mut(samples).zip(picture.row(y)) {
                out[..colours].copy_from_slice(&pixel[..colours]);
            }
        }
    }
    if let Some((coded, multiplied)) = found.alpha {
        let picture = Still::of(&coded.data().map_err(failed)?, coded.header, None, limits)?;
        let range = picture.range();
        for (y, row) in (0..found.height).zip(whole.chunks_exact_mut(width * samples)) {
            let alphas = picture.samples(PlanarImageComponent::Y, y).into_iter();
            for (out, alpha) in row.chunks_exact_mut(samples).zip(alphas) {
                let alpha = eight_bits(range.level(alpha));
                out[samples - 1] = alpha;
                if multiplied && alpha > 0 {
                    for colour in &mut out[..samples - 1] {
                        *colour = (u32::from(*colour) * 255 / u32::from(alpha)).min(255) as u8;
                    }
                }
            }
        }
    }
    let raster = Raster::from_samples((found.width, found.height), samples, whole);
    Ok(Decoded { raster, orientation: orientation(found.turns, found.mirror) })
}

/// Width and height by the header.
pub(super) fn dimensions(bytes: &[u8]) -> Option<(u32, u32)> {
    boxes::primary(bytes).ok().map(|found| (found.width, found.height))
}

/// First the turns, against the clock, then the mirror (ISO/IEC 23008-12).
fn orientation(turns: u8, mirror: Option<u8>) -> Orientation {
    match (turns, mirror) {
        (1, None) => Orientation::Rotate270,
        (2, None) => Orientation::Rotate180,
        (3, None) => Orientation::Rotate90,
        (_, None) => Orientation::NoTransforms,
        (1, Some(0)) | (3, Some(1)) => Orientation::Rotate90FlipH,
        (1 | 3, Some(_)) => Orientation::Rotate270FlipH,
        (2, Some(0)) => Orientation::FlipHorizontal,
        (2, Some(_)) | (_, Some(0)) => Orientation::FlipVertical,
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

/// What samples are worth.
#[derive(Debug, Clone, Copy)]
struct Range {
    black: f32,
    middle: f32,
    of_luma: f32,
    of_chroma: f32,
}

impl Range {
    /// 0 to 1, or beyond.
    fn level(self, raw: f32) -> f32 {
        (raw - self.black) * self.of_luma
    }

    /// -0.5 to 0.5, or beyond.
    fn chroma(self, raw: f32) -> f32 {
        (raw - self.middle) * self.of_chroma
    }
}

impl Still {
    fn of(
        av1: &[u8],
        header: Header,
        told: Option<(u16, bool)>,
        limits: &ImageLimits,
    ) -> Result<Self, ImageError> {
        let (av1, pictures) = units(av1);
        if pictures == 0 {
            return Err(ImageError::corrupt(Format::Avif, "an item without a picture"));
        }
        if pictures > MOST_PICTURES {
            return Err(unsupported("a picture in over 4 layers"));
        }
        // The data may say otherwise than their container: three samples of two bytes.
        let most = u64::from(header.width) * u64::from(header.height) * 6 * pictures as u64;
        if most > limits.max_decoded_bytes.saturating_mul(2) {
            let (format, limit) = (Format::Avif, limits.max_decoded_bytes);
            return Err(ImageError::DecoderMemory { format, limit, source: "layers".into() });
        }
        let failed = |error| match error {
            re_rav1d::dav1d::Error::NotEnoughMemory => ImageError::DecoderMemory {
                format: Format::Avif,
                limit: limits.max_decoded_bytes,
                source: error.into(),
            },
            re_rav1d::dav1d::Error::UnsupportedBitstream => {
                unsupported("AV1 data of a kind that rav1d lacks")
            }
            error => ImageError::corrupt(Format::Avif, error),
        };
        let mut settings = Settings::new();
        // Photos are decoded side by side already.
        settings.set_n_threads(1);
        settings.set_max_frame_delay(1);
        settings.set_all_layers(false);
        settings.set_frame_size_limit(header.width.saturating_mul(header.height));
        let mut decoder = Decoder::with_settings(&settings).map_err(failed)?;
        decoder.send_data(av1, None, None, None).map_err(failed)?;
        let picture = decoder.get_picture().map_err(failed)?;
        let (width, height) = (picture.width(), picture.height());
        let grey = picture.pixel_layout() == PixelLayout::I400;
        let bits = picture.bits_per_component().map_or(8, |bits| bits.0 as u32);
        if (Header { width, height, grey, bits }) != header {
            let what = "a picture is not what its container tells";
            return Err(ImageError::corrupt(Format::Avif, what));
        }
        let (code, full) = told.unwrap_or_else(|| {
            (picture.matrix_coefficients() as u16, picture.color_range() == YUVRange::Full)
        });
        // Grey has no matrix.
        let matrix = Matrix::of(if grey { 2 } else { code })
            .ok_or_else(|| unsupported(&format!("colours by matrix {code} of ITU-T H.273")))?;
        Ok(Self { picture, matrix, full, bits })
    }

    fn range(&self) -> Range {
        let most = ((1 << self.bits) - 1) as f32;
        let step = (1 << (self.bits - 8)) as f32;
        let middle = (1 << (self.bits - 1)) as f32;
        match self.full {
            true => Range { black: 0.0, middle, of_luma: 1.0 / most, of_chroma: 1.0 / most },
            false => {
                let (of_luma, of_chroma) = (1.0 / (219.0 * step), 1.0 / (224.0 * step));
                Range { black: 16.0 * step, middle, of_luma, of_chroma }
            }
        }
    }

    /// The pixels of row `y`: red, green and blue, or grey in the first place.
    fn row(&self, y: u32) -> impl Iterator<Item = [u8; 3]> {
        let luma = self.samples(PlanarImageComponent::Y, y);
        let grey = self.picture.pixel_layout() == PixelLayout::I400;
        let [blue, red] = [PlanarImageComponent::U, PlanarImageComponent::V]
            .map(|part| if grey { Vec::new() } else { self.samples(part, y) });
        let (matrix, range) = (self.matrix, self.range());
        (0..luma.len()).map(move |x| {
            let luma = range.level(luma[x]);
            if grey {
                return [luma, 0.0, 0.0].map(eight_bits);
            }
            let (first, second) = (range.chroma(blue[x]), range.chroma(red[x]));
            let colours = match matrix {
                Matrix::Identity => [range.level(red[x]), luma, range.level(blue[x])],
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
    let other = if at.is_multiple_of(2) { here.saturating_sub(1) } else { (here + 1).min(last) };
    [(here, 0.75), (other, 0.25)]
}

/// A level from 0 to 1; what is beyond is cut.
fn eight_bits(level: f32) -> u8 {
    (level * 255.0 + 0.5) as u8
}

fn unsupported(feature: &str) -> ImageError {
    ImageError::Unsupported { format: Format::Avif, feature: feature.to_owned() }
}

fn refusal(wrong: Wrong, bytes: &[u8]) -> ImageError {
    let format = Format::Avif;
    match wrong {
        Wrong::Cut => ImageError::Truncated { format, bytes: bytes.len() as u64, source: None },
        Wrong::Corrupt(what) => ImageError::corrupt(format, what),
        Wrong::Unsupported(feature) => unsupported(feature),
    }
}

/// AV1 data without what no picture needs, and how many pictures they hold, shown or not: each costs as
/// much as the one that is wanted. Metadata are left out, since rav1d panics on some of them.
fn units(mut av1: &[u8]) -> (Vec<u8>, usize) {
    /// Types of units (AV1, section 6.2.2): headers of sequences, of times, of pictures and again of
    /// pictures, their tiles, and a picture with its header.
    const KEPT: [u8; 6] = [1, 2, 3, 4, 6, 7];
    const PICTURES: [u8; 3] = [3, 6, 7];
    let (mut kept, mut pictures) = (Vec::with_capacity(av1.len()), 0);
    while let Some((&head, rest)) = av1.split_first() {
        let kind = (head >> 3) & 15;
        let (extended, sized) = (head & 4 != 0, head & 2 != 0);
        let mut rest = rest.get(usize::from(extended)..).unwrap_or_default();
        // A number of AV1 (leb128) is written as one of protobuf. What tells no length reaches to the end.
        let size = if sized { prost::decode_length_delimiter(&mut rest).ok() } else { None };
        let rest = size.and_then(|size| rest.get(size..)).unwrap_or_default();
        if KEPT.contains(&kind) {
            kept.extend_from_slice(&av1[..av1.len() - rest.len()]);
            pictures += usize::from(PICTURES.contains(&kind));
        }
        av1 = rest;
    }
    (kept, pictures)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::failure::Failure;
    use crate::image::{DecodeOptions, fixtures};

    const SOME: [&str; 5] = ["chroma_420", "alpha_premultiplied", "grid", "animated", "ten_bits"];

    fn picture(name: &str) -> Vec<u8> {
        fixtures::golden(&format!("avif/{name}.avif"))
    }

    fn decoded(bytes: &[u8], limits: ImageLimits) -> Result<Decoded, ImageError> {
        fixtures::decoded(Format::Avif, bytes, limits)
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
            for length in (32..bytes.len()).step_by(7) {
                // An animation whose first picture is there is read.
                let Err(error) = decoded(&bytes[..length], ImageLimits::default()) else {
                    assert_eq!(name, "animated");
                    continue;
                };
                assert_eq!(error.code(), "image_truncated", "{name} at {length}: {error}");
            }
        }
    }

    /// The golden file with one place changed.
    fn changed(name: &str, from: &[u8], to: &[u8]) -> Vec<u8> {
        let mut bytes = picture(name);
        let mut places = (0..bytes.len()).filter(|&at| bytes[at..].starts_with(from));
        let at = places.next().expect("it is there");
        assert_eq!(places.next(), None, "only once");
        bytes[at..at + to.len()].copy_from_slice(to);
        bytes
    }

    #[test]
    fn a_grid_shows_what_its_size_leaves_and_has_to_be_covered() {
        let whole = decoded(&picture("grid"), ImageLimits::default()).expect("valid").raster;
        let sized = |width: u8, height: u8| {
            changed("grid", &[0, 0, 0, 1, 0, 128, 0, 64], &[0, 0, 0, 1, 0, width, 0, height])
        };
        let cut = decoded(&sized(101, 60), ImageLimits::default()).expect("valid").raster;
        assert_eq!((cut.width, cut.height), (101, 60));
        for (ours, theirs) in cut.data.chunks_exact(101 * 3).zip(whole.data.chunks_exact(128 * 3)) {
            assert!(ours == &theirs[..101 * 3]);
        }
        for (width, height) in [(129, 64), (128, 65), (64, 64), (1, 1), (0, 64)] {
            let error = decoded(&sized(width, height), ImageLimits::default()).expect_err("wrong");
            assert_eq!(error.code(), "image_corrupt", "{width} x {height}: {error}");
        }
    }

    #[test]
    fn what_the_container_tells_binds_the_decoder() {
        let size = |side: u32| [&b"ispe\0\0\0\0"[..], &side.to_be_bytes()].concat();
        for side in [48, 50, 4000] {
            let wrong = changed("chroma_420", &size(49), &size(side));
            let error = decoded(&wrong, ImageLimits::default()).expect_err("another size");
            assert_eq!(error.code(), "image_corrupt", "{error}");
        }
        let none = changed("chroma_420", &size(49), &size(0));
        assert_eq!(
            decoded(&none, ImageLimits::default()).expect_err("none").code(),
            "image_corrupt"
        );
        let unknown = changed("matrix_ycgco", b"nclx\0\x01\0\x0d\0\x08", b"nclx\0\x01\0\x0d\0\x0e");
        let error = decoded(&unknown, ImageLimits::default()).expect_err("few use it");
        assert_eq!(error.code(), "image_unsupported", "{error}");
    }

    #[test]
    fn hidden_pictures_are_counted_and_metadata_left_out() {
        let unit =
            |kind: u8, body: &[u8]| [&[(kind << 3) | 2, body.len() as u8][..], body].concat();
        let before = [unit(2, b""), unit(1, b"header")].concat();
        let hidden = [unit(6, b"frame").repeat(3), unit(7, b"header"), unit(4, b"tiles")].concat();
        let others = [unit(5, b"\x04\x80"), unit(15, b"padding"), unit(8, b"list")].concat();
        let whole = [&before[..], &others, &hidden, &others].concat();
        assert_eq!(units(&whole), ([before, hidden].concat(), 4));
        assert_eq!(units(b""), (Vec::new(), 0));
        assert_eq!(units(&[6 << 3, 1, 2]), (vec![6 << 3, 1, 2], 1));
        let endless = [(6 << 3) | 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(units(&endless), (endless.to_vec(), 1));
    }

    #[test]
    fn metadata_that_would_end_the_process_do_not_reach_the_decoder() {
        let bytes = picture("chroma_444");
        let data = bytes.windows(4).position(|four| four == b"mdat").expect("the data") + 4;
        for broken in [[0x2a, 1, 4, 0x80], [0x2a, 2, 4, 0x80]] {
            let mut bytes = bytes.clone();
            bytes[data..data + 4].copy_from_slice(&broken);
            let error = decoded(&bytes, ImageLimits::default()).expect_err("its header is gone");
            assert_eq!(error.code(), "image_corrupt", "{error}");
        }
    }

    #[test]
    fn what_libheif_calls_essential_is_read() {
        let mut bytes = picture("alpha");
        let plain = decoded(&bytes, ImageLimits::default()).expect("valid").raster;
        let list = bytes.windows(4).position(|four| four == b"ipma").expect("a list");
        let items = u32::from_be_bytes(bytes[list + 8..list + 12].try_into().expect("four bytes"));
        // Of each item its id, a count, and the properties: the highest bit of each makes it essential.
        let mut place = list + 12;
        for _ in 0..items {
            let count = usize::from(bytes[place + 2]);
            bytes[place + 3..place + 3 + count].iter_mut().for_each(|byte| *byte |= 0x80);
            place += 3 + count;
        }
        assert_eq!(decoded(&bytes, ImageLimits::default()).expect("read").raster, plain);
    }

    proptest! {
        #[test]
        fn damaged_files_never_end_otherwise_than_in_a_picture_or_a_refusal(
            places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        ) {
            let limits = ImageLimits { max_pixels: 1 << 20, ..ImageLimits::default() };
            for name in SOME {
                drop(decoded(&fixtures::damaged(picture(name), &places), limits));
            }
        }
    }
}
