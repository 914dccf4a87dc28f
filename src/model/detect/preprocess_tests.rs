use serde_json::json;

use super::*;

fn read(value: Value) -> Result<PreprocessConfig, ModelError> {
    Settings { path: Path::new("preprocessor_config.json"), value: &value }.read()
}

/// openai/clip-vit-base-patch32, as it is today.
fn clip() -> Value {
    json!({
        "crop_size": {"height": 224, "width": 224}, "do_center_crop": true,
        "do_convert_rgb": true, "do_normalize": true, "do_rescale": true, "do_resize": true,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_processor_type": "CLIPImageProcessor",
        "image_std": [0.26862954, 0.26130258, 0.27577711],
        "resample": 3, "rescale_factor": 0.00392156862745098, "size": {"shortest_edge": 224}
    })
}

#[test]
fn clip_reads_as_the_built_in_default() {
    assert_eq!(read(clip()).expect("reads"), PreprocessConfig::default());
}

#[test]
fn the_old_form_means_the_same() {
    // openai/clip-vit-base-patch32 of 2022: numbers for sizes, nothing on rescaling.
    let old = json!({
        "crop_size": 224, "do_center_crop": true, "do_normalize": true, "do_resize": true,
        "feature_extractor_type": "CLIPFeatureExtractor",
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711], "resample": 3, "size": 224
    });
    assert_eq!(read(old).expect("reads"), PreprocessConfig::default());
}

#[test]
fn siglip_is_stretched_and_not_cropped() {
    let siglip = json!({
        "do_normalize": true, "do_rescale": true, "do_resize": true,
        "image_mean": [0.5, 0.5, 0.5], "image_processor_type": "SiglipImageProcessor",
        "image_std": [0.5, 0.5, 0.5], "resample": 2, "rescale_factor": 0.00392156862745098,
        "size": {"height": 384, "width": 384}
    });
    let config = read(siglip).expect("reads");
    assert_eq!((config.resize_shortest_edge, config.crop, config.fit), (384, 384, Fit::Stretch));
    assert_eq!(
        (config.resample, config.mean, config.std),
        (Resample::Bilinear, [0.5; 3], [0.5; 3])
    );
}

#[test]
fn mobileclip_is_neither_centred_nor_scaled() {
    let mut mobile = clip();
    mobile["do_normalize"] = json!(false);
    mobile["size"] = json!({"shortest_edge": 256});
    mobile["crop_size"] = json!({"height": 256, "width": 256});
    let config = read(mobile).expect("reads");
    assert_eq!((config.crop, config.mean, config.std), (256, [0.0; 3], [1.0; 3]));
}

#[test]
fn what_cannot_be_done_is_refused_by_field() {
    for (field, value) in [
        ("do_resize", json!(false)),
        ("do_center_crop", json!(false)),
        ("do_rescale", json!("yes")),
        ("size", json!({"height": 224, "width": 336})),
        ("size", json!({"shortest_edge": 224, "longest_edge": 400})),
        ("size", json!(-1)),
        ("crop_size", json!(225)),
        ("crop_size", json!([224, 224])),
        ("resample", json!(0)),
        ("image_mean", json!([0.5])),
        ("image_std", json!("none")),
    ] {
        let mut wrong = clip();
        wrong[field] = value.clone();
        let error = read(wrong).expect_err(field);
        assert!(matches!(&error, ModelError::Setting { field: named, .. } if named == field));
        assert!(error.to_string().contains(&value.to_string()), "{error}");
    }
}

#[test]
fn a_missing_file_is_made_up_for_only_where_the_model_is_a_clip() {
    let folder = tempfile::tempdir().expect("temp dir");
    let folders = [folder.path().to_owned()];
    let missing = |side| {
        let config = Config::read(&folders).expect("reads");
        preprocess(&folders, &config, side)
    };
    assert!(matches!(missing(Some(224)), Err(ModelError::NoFile { .. })));
    fs_err::write(folder.path().join("config.json"), r#"{"model_type": "clip"}"#).expect("write");
    assert_eq!(missing(Some(224)).expect("CLIP's"), PreprocessConfig::default());
    assert!(matches!(missing(None), Err(ModelError::NoFile { .. })));
}
