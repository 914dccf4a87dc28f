//! Which part of the stored photo the crop keeps.

use image::metadata::Orientation;

use super::{Fit, LongEdge, PreprocessConfig};

/// A box in the stored image, in pixels, with fractions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct SourceBox {
    /// From the left edge.
    pub left: f64,
    /// From the top edge.
    pub top: f64,
    /// Greater than 0.
    pub width: f64,
    /// Greater than 0.
    pub height: f64,
}

/// The box that, scaled to `crop` × `crop`, gives what Pillow would give by resizing the whole
/// image and cropping the centre (an odd pixel goes to the right and the bottom of what the viewer
/// sees).
///
/// Exact because the scale is that of the whole image and a convolution needs only its own
/// neighbourhood; it also makes a 1 × 30,000 strip cheap, which whole would be blown up first.
pub(super) fn crop_box(
    (width, height): (u32, u32),
    orientation: Orientation,
    config: &PreprocessConfig,
) -> SourceBox {
    let (mirror_x, mirror_y) = mirrored(orientation);
    let short = width.min(height);
    let (left, width) = span(width, short, config, mirror_x);
    let (top, height) = span(height, short, config, mirror_y);
    SourceBox { left, top, width, height }
}

/// Start and length of the box along one axis of `length` pixels.
fn span(length: u32, short: u32, config: &PreprocessConfig, mirrored: bool) -> (f64, f64) {
    let resized = resized_edge(length, short, config);
    let spare = resized - u64::from(config.crop);
    let before = if mirrored { spare - spare / 2 } else { spare / 2 };
    let total = f64::from(length);
    let at = |position: u64| position as f64 * total / resized as f64;
    let start = at(before);
    // Rounding must not push the box out of the image.
    (start, at(u64::from(config.crop)).min(total - start))
}

/// Pixels of an edge after the resize; never less than the shortest edge.
fn resized_edge(length: u32, short: u32, config: &PreprocessConfig) -> u64 {
    let shortest = config.resize_shortest_edge;
    if config.fit == Fit::Stretch {
        return u64::from(shortest);
    }
    match config.long_edge {
        LongEdge::Floor => u64::from(length) * u64::from(shortest) / u64::from(short),
        LongEdge::Round => {
            let exact = f64::from(length) * f64::from(shortest) / f64::from(short);
            exact.round_ties_even() as u64
        }
    }
}

/// Whether the viewer sees the stored x and y axes reversed.
fn mirrored(orientation: Orientation) -> (bool, bool) {
    match orientation {
        Orientation::NoTransforms | Orientation::Rotate90FlipH => (false, false),
        Orientation::FlipHorizontal | Orientation::Rotate270 => (true, false),
        Orientation::FlipVertical | Orientation::Rotate90 => (false, true),
        Orientation::Rotate180 | Orientation::Rotate270FlipH => (true, true),
    }
}

/// Whether the viewer sees the stored rows as columns.
pub(super) fn lies_on_its_side(orientation: Orientation) -> bool {
    match orientation {
        Orientation::Rotate90
        | Orientation::Rotate270
        | Orientation::Rotate90FlipH
        | Orientation::Rotate270FlipH => true,
        Orientation::NoTransforms
        | Orientation::Rotate180
        | Orientation::FlipHorizontal
        | Orientation::FlipVertical => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::image::fixtures;

    fn config(resize_shortest_edge: u32, crop: u32) -> PreprocessConfig {
        PreprocessConfig { resize_shortest_edge, crop, ..fixtures::config() }
    }

    #[test]
    fn an_image_of_the_right_size_is_taken_as_it_is() {
        let whole = SourceBox { left: 0.0, top: 0.0, width: 260.0, height: 260.0 };
        assert_eq!(crop_box((260, 260), Orientation::Rotate180, &config(260, 260)), whole);
    }

    #[test]
    fn landscape_keeps_the_middle() {
        // 640 x 480 becomes 346 x 260, of which columns 43 to 303 stay.
        let kept = crop_box((640, 480), Orientation::NoTransforms, &config(260, 260));
        assert_eq!((kept.top, kept.height), (0.0, 480.0));
        assert!((kept.left - 43.0 * 640.0 / 346.0).abs() < 1e-9);
        assert!((kept.width - 260.0 * 640.0 / 346.0).abs() < 1e-9);
    }

    #[test]
    fn the_long_edge_is_rounded_as_the_model_was_trained() {
        let edge = |length, long_edge| {
            resized_edge(length, 480, &PreprocessConfig { long_edge, ..config(260, 260) })
        };
        // 346.67 pixels, and 260.5 (a half goes to the even number, as Python rounds).
        assert_eq!((edge(640, LongEdge::Floor), edge(640, LongEdge::Round)), (346, 347));
        assert_eq!(resized_edge(521, 520, &config(260, 260)), 260);
        let round = PreprocessConfig { long_edge: LongEdge::Round, ..config(260, 260) };
        assert_eq!((resized_edge(521, 520, &round), resized_edge(523, 520, &round)), (260, 262));
    }

    #[test]
    fn a_stretched_photo_is_kept_whole() {
        let stretch = PreprocessConfig { fit: Fit::Stretch, ..config(64, 64) };
        let whole = SourceBox { left: 0.0, top: 0.0, width: 640.0, height: 480.0 };
        assert_eq!(crop_box((640, 480), Orientation::Rotate90, &stretch), whole);
    }

    #[test]
    fn the_odd_pixel_follows_the_viewer() {
        // 347 - 260 = 87 spare columns: 43 before, 44 after, in the viewer's eyes.
        let seen = crop_box((347, 260), Orientation::NoTransforms, &config(260, 260));
        let mirrored = crop_box((347, 260), Orientation::FlipHorizontal, &config(260, 260));
        assert_eq!((seen.left, mirrored.left), (43.0, 44.0));
    }

    proptest! {
        #[test]
        fn the_box_lies_within_the_image(
            width in 1u32..40_000, height in 1u32..40_000,
            shortest in 1u32..1024, share in 0.01f64..=1.0, exif in 1u8..=8, round: bool,
        ) {
            let crop = ((f64::from(shortest) * share) as u32).max(1);
            let orientation = Orientation::from_exif(exif).expect("1 to 8 are defined");
            let long_edge = if round { LongEdge::Round } else { LongEdge::Floor };
            let config = PreprocessConfig { long_edge, ..config(shortest, crop) };
            let kept = crop_box((width, height), orientation, &config);
            prop_assert!(kept.left >= 0.0 && kept.top >= 0.0);
            prop_assert!(kept.width > 0.0 && kept.left + kept.width <= f64::from(width));
            prop_assert!(kept.height > 0.0 && kept.top + kept.height <= f64::from(height));
        }
    }
}
