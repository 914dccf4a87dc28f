//! The pixels a vision encoder takes, before and after normalisation.

use super::PreprocessConfig;

/// One photo, resized, cropped and turned upright: `side` × `side` × 3, eight bits, RGB. Kept in
/// bytes until the batch is formed, so that queues hold a quarter of what floats would take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pixels {
    /// Pixels along each side.
    pub side: u32,
    /// Height × width × RGB, row by row.
    pub rgb: Vec<u8>,
}

impl Pixels {
    /// A picture that shows whether a graph sees all of it: ramps of colour, and a grid. The same
    /// everywhere.
    pub fn test_card(side: u32) -> Self {
        let ramp = |place: u32| (place * 255 / side.max(2).saturating_sub(1)) as u8;
        let mut rgb = Vec::with_capacity(3 * (side * side) as usize);
        for y in 0..side {
            for x in 0..side {
                let line = if x % 16 == 0 || y % 16 == 0 { 255 } else { ramp((x + y) / 2) / 2 };
                rgb.extend([ramp(x), ramp(y), line]);
            }
        }
        Self { side, rgb }
    }
}

/// The normalised value of each byte, for each channel: `(byte * rescale_factor - mean) / std`.
#[derive(Debug, Clone)]
pub(super) struct Normaliser([[f32; 256]; 3]);

impl Normaliser {
    /// Tabulates the formula as transformers computes it: the product in double precision, rounded,
    /// the rest in single. Quantised graphs turn a difference in the last bit into a step.
    pub fn new(config: &PreprocessConfig) -> Self {
        let table = |channel: usize| {
            std::array::from_fn(|byte| {
                let value = (byte as f64 * config.rescale_factor) as f32;
                (value - config.mean[channel]) / config.std[channel]
            })
        };
        Self([table(0), table(1), table(2)])
    }

    /// Writes interleaved bytes as three planes of floats.
    pub fn write_planes(&self, rgb: &[u8], out: &mut [f32]) {
        let plane = out.len() / 3;
        let (red, rest) = out.split_at_mut(plane);
        let (green, blue) = rest.split_at_mut(plane);
        let planes = red.iter_mut().zip(green).zip(blue);
        let [reds, greens, blues] = &self.0;
        for (pixel, ((red, green), blue)) in rgb.chunks_exact(3).zip(planes) {
            *red = reds[usize::from(pixel[0])];
            *green = greens[usize::from(pixel[1])];
            *blue = blues[usize::from(pixel[2])];
        }
    }
}
