//! `preprocessor_config.json`: what is done to a photo before the graph sees it.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::config::{Config, Family, read_first};
use crate::image::{Fit, LongEdge, PreprocessConfig, Resample};
use crate::model::ModelError;

/// The preprocessing that the export asks for. Where its file is missing, CLIP's own if the model
/// is known to be a CLIP.
pub(super) fn preprocess(
    folders: &[PathBuf],
    config: &Config,
    side: Option<usize>,
) -> Result<PreprocessConfig, ModelError> {
    if let Some((path, value)) = read_first(folders, "preprocessor_config.json")? {
        return Settings { path: &path, value: &value }.read();
    }
    // Newer exports keep it beside the tokenizer's settings.
    if let Some((path, value)) = read_first(folders, "processor_config.json")?
        && value["image_processor"].is_object()
    {
        return Settings { path: &path, value: &value["image_processor"] }.read();
    }
    let side = side.or_else(|| config.image_size()).and_then(|side| u32::try_from(side).ok());
    match (config.family(), side) {
        (Family::Clip, Some(side)) => {
            tracing::warn!(
                side,
                "no preprocessor_config.json: taking CLIP's, for config.json says CLIP"
            );
            Ok(PreprocessConfig { resize_shortest_edge: side, crop: side, ..Default::default() })
        }
        _ => Err(ModelError::NoFile {
            path: folders.last().cloned().unwrap_or_default(),
            wanted: "preprocessor_config.json",
            why: "it says how photos are resized and normalised, and only for a CLIP (model_type \
                  in config.json) is that known without it",
        }),
    }
}

struct Settings<'a> {
    path: &'a Path,
    value: &'a Value,
}

impl Settings<'_> {
    fn read(&self) -> Result<PreprocessConfig, ModelError> {
        let (resize, fit) = self.resize()?;
        let defaults = PreprocessConfig::default();
        let rescale_factor = match self.flag("do_rescale", true)? {
            true => self.float("rescale_factor")?.unwrap_or(defaults.rescale_factor),
            false => 1.0,
        };
        let (mean, std) = match self.flag("do_normalize", true)? {
            true => (self.channels("image_mean")?, self.channels("image_std")?),
            false => ([0.0; 3], [1.0; 3]),
        };
        Ok(PreprocessConfig {
            resize_shortest_edge: resize,
            crop: self.crop(resize, fit)?,
            fit,
            resample: self.resample()?,
            long_edge: LongEdge::Floor,
            rescale_factor,
            mean,
            std,
        })
    }

    /// Whether it is one of those that keep proportions where `size` is one number, and that crop
    /// where nothing is said: CLIP's own.
    fn is_clip(&self) -> bool {
        let kinds = ["image_processor_type", "feature_extractor_type", "processor_class"];
        kinds.iter().filter_map(|key| self.value[*key].as_str()).any(|kind| kind.contains("CLIP"))
    }

    fn resize(&self) -> Result<(u32, Fit), ModelError> {
        if !self.flag("do_resize", true)? {
            return Err(self.wrong("do_resize", "only models whose photos are resized are read"));
        }
        let size = &self.value["size"];
        if let Some(side) = as_side(size) {
            return Ok((side, if self.is_clip() { Fit::ShortestEdge } else { Fit::Stretch }));
        }
        match (as_side(&size["shortest_edge"]), square(size)) {
            (Some(side), None) if size["longest_edge"].is_null() => Ok((side, Fit::ShortestEdge)),
            (None, Some(side)) => Ok((side, Fit::Stretch)),
            _ => Err(self.wrong(
                "size",
                "wanted a number, {\"shortest_edge\": N} or {\"height\": N, \"width\": N}",
            )),
        }
    }

    fn crop(&self, resize: u32, fit: Fit) -> Result<u32, ModelError> {
        if !self.flag("do_center_crop", self.is_clip())? {
            return match fit {
                Fit::Stretch => Ok(resize),
                Fit::ShortestEdge => Err(self.wrong(
                    "do_center_crop",
                    "without a crop photos would not be square, and graphs take square ones",
                )),
            };
        }
        let crop = &self.value["crop_size"];
        let side = if crop.is_null() { Some(resize) } else { as_side(crop).or(square(crop)) };
        let side = side.or(as_side(&crop["shortest_edge"]));
        match side {
            Some(side) if side <= resize => Ok(side),
            Some(_) => Err(self.wrong("crop_size", "it cannot be larger than size")),
            None => {
                Err(self.wrong("crop_size", "wanted a number or {\"height\": N, \"width\": N}"))
            }
        }
    }

    /// Pillow's numbers of its filters.
    fn resample(&self) -> Result<Resample, ModelError> {
        match &self.value["resample"] {
            Value::Null => Ok(Resample::Bicubic),
            number if number == 1 => Ok(Resample::Lanczos),
            number if number == 2 => Ok(Resample::Bilinear),
            number if number == 3 => Ok(Resample::Bicubic),
            _ => Err(self.wrong("resample", "wanted 1 (Lanczos), 2 (bilinear) or 3 (bicubic)")),
        }
    }

    fn channels(&self, key: &str) -> Result<[f32; 3], ModelError> {
        let value = &self.value[key];
        if let Some(one) = value.as_f64() {
            return Ok([one as f32; 3]);
        }
        let numbers: Option<Vec<f32>> = value
            .as_array()
            .map(|all| all.iter().filter_map(Value::as_f64).map(|one| one as f32).collect());
        let defaults = PreprocessConfig::default();
        match (numbers.as_deref(), key) {
            (Some([red, green, blue]), _) => Ok([*red, *green, *blue]),
            (None, "image_mean") if value.is_null() && self.is_clip() => Ok(defaults.mean),
            (None, "image_std") if value.is_null() && self.is_clip() => Ok(defaults.std),
            _ => Err(self.wrong(key, "wanted three numbers")),
        }
    }

    fn flag(&self, key: &str, default: bool) -> Result<bool, ModelError> {
        match &self.value[key] {
            Value::Null => Ok(default),
            Value::Bool(flag) => Ok(*flag),
            _ => Err(self.wrong(key, "wanted true or false")),
        }
    }

    fn float(&self, key: &str) -> Result<Option<f64>, ModelError> {
        match &self.value[key] {
            Value::Null => Ok(None),
            Value::Number(number) => Ok(number.as_f64()),
            _ => Err(self.wrong(key, "wanted a number")),
        }
    }

    fn wrong(&self, field: &str, wanted: &str) -> ModelError {
        ModelError::Setting {
            path: self.path.to_owned(),
            field: field.to_owned(),
            found: match &self.value[field] {
                Value::Null => "missing".into(),
                value => value.to_string(),
            },
            wanted: wanted.to_owned(),
        }
    }
}

/// A number of pixels.
fn as_side(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|side| u32::try_from(side).ok()).filter(|side| *side > 0)
}

/// The side of a `{"height": N, "width": N}` with equal numbers.
fn square(value: &Value) -> Option<u32> {
    let (height, width) = (as_side(&value["height"])?, as_side(&value["width"])?);
    (height == width).then_some(height)
}

#[cfg(test)]
#[path = "preprocess_tests.rs"]
mod tests;
