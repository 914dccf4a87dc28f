//! What a model was trained to see.

use serde::{Deserialize, Serialize};

use super::ImageError;

/// The largest side an encoder may ask for, in pixels.
const MAX_CROP: u32 = 4096;

/// The filter of the resize, antialiased, as Pillow defines it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resample {
    /// Catmull-Rom, Pillow's `BICUBIC` (a = -0.5).
    #[default]
    Bicubic,
    /// Triangle, Pillow's `BILINEAR`.
    Bilinear,
    /// Lanczos with three lobes, Pillow's `LANCZOS`.
    Lanczos,
}

impl Resample {
    /// Pixels that the filter reaches to each side of its centre when it enlarges.
    pub(super) fn support(self) -> f64 {
        match self {
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }
}

/// How many pixels the longer edge gets when the exact number has a fraction. One pixel of 347 is
/// enough to shift the outer columns of the crop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LongEdge {
    /// Rounded down, as transformers and torchvision do.
    #[default]
    Floor,
    /// To the nearest, a half to the even number: Python's `round`, as open_clip does.
    Round,
}

/// How a photo that is not square becomes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// Scaled until its shorter side fits, in its own proportions; the crop takes the centre. CLIP.
    #[default]
    ShortestEdge,
    /// Both sides scaled to the same length, whatever the proportions. SigLIP.
    Stretch,
}

/// What a model was trained to see: the table `[vision.preprocess]` of its manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreprocessConfig {
    /// The photo is scaled until its shorter side (both sides, with [`Fit::Stretch`]) has this many
    /// pixels (1 to 4096).
    pub resize_shortest_edge: u32,
    /// Side of the square cut from the centre, in pixels; at most `resize_shortest_edge`.
    pub crop: u32,
    /// What becomes of the proportions.
    #[serde(default)]
    pub fit: Fit,
    /// Filter of the resize.
    #[serde(default)]
    pub resample: Resample,
    /// Rounding of the longer edge.
    #[serde(default)]
    pub long_edge: LongEdge,
    /// Multiplies each byte first: 1/255 for most models, 1 where mean and deviation are in
    /// bytes.
    pub rescale_factor: f64,
    /// Subtracted from the red, green and blue channels.
    pub mean: [f32; 3],
    /// Divides the red, green and blue channels; not 0.
    pub std: [f32; 3],
}

impl Default for PreprocessConfig {
    /// OpenAI CLIP's preprocessing (its `preprocessor_config.json`).
    fn default() -> Self {
        Self {
            resize_shortest_edge: 224,
            crop: 224,
            fit: Fit::ShortestEdge,
            long_edge: LongEdge::Floor,
            resample: Resample::Bicubic,
            rescale_factor: 1.0 / 255.0,
            mean: [0.481_454_66, 0.457_827_5, 0.408_210_73],
            std: [0.268_629_54, 0.261_302_6, 0.275_777_1],
        }
    }
}

impl PreprocessConfig {
    /// The settings in one line, for hashes: equal settings give equal text. Settings that came
    /// later appear only where they differ from what was done before them, so that older hashes
    /// hold. Floats print alike on every platform (the shortest form that reads back).
    pub fn fingerprint(&self) -> String {
        let Self { resize_shortest_edge, crop, fit, resample, long_edge, .. } = self;
        let Self { rescale_factor, mean, std, .. } = self;
        let fit = match fit {
            Fit::ShortestEdge => "",
            Fit::Stretch => " fit: Stretch,",
        };
        let resample = match resample {
            Resample::Bicubic => "Bicubic",
            Resample::Bilinear => "Bilinear",
            Resample::Lanczos => "Lanczos",
        };
        let long_edge = match long_edge {
            LongEdge::Floor => "Floor",
            LongEdge::Round => "Round",
        };
        format!(
            "PreprocessConfig {{ resize_shortest_edge: {resize_shortest_edge}, crop: {crop},{fit} \
             resample: {resample}, long_edge: {long_edge}, rescale_factor: {rescale_factor:?}, \
             mean: {mean:?}, std: {std:?} }}"
        )
    }

    /// # Errors
    /// [`ImageError::Config`] for a setting that cannot work.
    pub(super) fn validate(&self) -> Result<(), ImageError> {
        let edge = self.resize_shortest_edge;
        refuse_unless((1..=MAX_CROP).contains(&edge), "resize_shortest_edge", &edge, "1 to 4096")?;
        let crop_fits = (1..=edge).contains(&self.crop);
        refuse_unless(crop_fits, "crop", &self.crop, &format!("1 to {edge}"))?;
        let factor = self.rescale_factor;
        let positive = factor.is_finite() && factor > 0.0;
        refuse_unless(positive, "rescale_factor", &factor, "a number above 0")?;
        let finite = self.mean.iter().all(|mean| mean.is_finite());
        refuse_unless(finite, "mean", &self.mean, "three numbers")?;
        let divides = self.std.iter().all(|std| std.is_finite() && *std > 0.0);
        refuse_unless(divides, "std", &self.std, "three numbers above 0")
    }
}

fn refuse_unless(
    holds: bool,
    field: &'static str,
    value: &dyn std::fmt::Debug,
    allowed: &str,
) -> Result<(), ImageError> {
    if holds {
        return Ok(());
    }
    Err(ImageError::Config { field, value: format!("{value:?}"), allowed: allowed.to_owned() })
}
