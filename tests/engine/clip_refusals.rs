//! What is not a CLIP-like export is refused, each time with what was found and what to do.

use std::path::Path;

use crate::support::paths;
use pairwright::encoder::{EncoderOptions, OnnxEncoder};
use pairwright::image::DecodeOptions;
use pairwright::model::manifest::Golden;
use pairwright::model::{Device, ModelError, ModelFolder, ModelSource, Precision};
use tempfile::TempDir;

/// A copy of the tiny CLIP export with only its fp32 graphs.
fn export() -> TempDir {
    let folder = tempfile::tempdir().expect("temp dir");
    let from = paths::golden().join("clip/clip");
    fs_err::create_dir(folder.path().join("onnx")).expect("folder");
    for name in [
        "onnx/vision_model.onnx",
        "onnx/text_model.onnx",
        "config.json",
        "preprocessor_config.json",
        "tokenizer.json",
        "special_tokens_map.json",
    ] {
        fs_err::copy(from.join(name), folder.path().join(name)).expect("copy");
    }
    folder
}

fn golden(name: &str) -> std::path::PathBuf {
    paths::golden().join("clip").join(name)
}

fn refusal(source: impl Into<ModelSource>) -> ModelError {
    ModelFolder::open(source).expect_err("refused")
}

/// The refusal of an export after `change`, which must name `parts`.
fn refused_after(change: impl FnOnce(&Path), parts: &[&str]) -> ModelError {
    let folder = export();
    change(folder.path());
    let error = refusal(folder.path());
    let text = error.to_string();
    println!("{text}");
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
    error
}

fn on(device: Device) -> EncoderOptions {
    EncoderOptions { device, ..EncoderOptions::default() }
}

fn opened(path: &Path, device: Device) -> Result<OnnxEncoder, ModelError> {
    OnnxEncoder::open(path, &on(device), DecodeOptions::default())
}

#[test]
fn the_copy_itself_opens() {
    opened(export().path(), Device::Cpu).expect("opens");
}

#[test]
fn a_folder_without_graphs() {
    let empty = tempfile::tempdir().expect("temp dir");
    assert!(refusal(empty.path()).to_string().contains("an empty folder"));
    fs_err::write(empty.path().join("model.safetensors"), "weights").expect("write");
    let error = refusal(empty.path());
    assert!(matches!(error, ModelError::NoGraph { .. }), "{error}");
    assert!(error.to_string().contains("model.safetensors"), "{error}");
    assert!(matches!(refusal(Path::new("/nowhere")), ModelError::NoFolder { .. }));
}

#[test]
fn only_one_tower() {
    let error = refused_after(
        |folder| fs_err::remove_file(folder.join("onnx/text_model.onnx")).expect("remove"),
        &["no text graph", "vision_model.onnx", "pixel_values", "text_model.onnx", "--model-text"],
    );
    assert!(matches!(error, ModelError::NoGraph { .. }));
}

#[test]
fn a_truncated_graph() {
    let graph = golden("clip/onnx/vision_model.onnx");
    let whole = fs_err::read(graph).expect("read");
    for keep in [whole.len() - 1, whole.len() / 2, 40] {
        let error = refused_after(
            |folder| {
                fs_err::write(folder.join("onnx/vision_model.onnx"), &whole[..keep])
                    .expect("write");
            },
            &["vision_model.onnx", "half copied"],
        );
        assert!(matches!(error, ModelError::Truncated { .. }));
    }
}

#[test]
fn something_else_by_the_name_of_a_graph() {
    for content in ["<!DOCTYPE html><html>", "version https://git-lfs.github.com/spec/v1\n", ""] {
        let error = refused_after(
            |folder| fs_err::write(folder.join("onnx/vision_model.onnx"), content).expect("write"),
            &["vision_model.onnx", "not an ONNX file", "fetch it again"],
        );
        assert!(matches!(error, ModelError::NotOnnx { .. }));
    }
}

#[test]
fn random_bytes_never_panic() {
    let whole = fs_err::read(golden("clip/onnx/text_model_q4.onnx")).expect("read");
    let file = tempfile::NamedTempFile::new().expect("temp file");
    for place in (0..whole.len()).step_by(97) {
        let mut broken = whole.clone();
        broken[place] ^= 0x55;
        fs_err::write(file.path(), &broken).expect("write");
        let _ = pairwright::model::onnx::Graph::read(file.path());
        let _ = pairwright::model::onnx::split(file.path(), "text_embeds");
    }
}

#[test]
fn a_graph_of_another_task() {
    let error = refused_after(
        |folder| {
            let mini = paths::model().join("text.onnx");
            fs_err::copy(mini, folder.join("onnx/vision_model.onnx")).expect("copy");
            fs_err::remove_file(folder.join("onnx/text_model.onnx")).expect("remove");
        },
        &["no vision graph", "input_ids int64 [?, ?]", "floats [N, 3, S, S]"],
    );
    assert!(matches!(error, ModelError::NoGraph { .. }));
}

#[test]
fn towers_of_different_widths() {
    let error = refused_after(
        |folder| {
            let mini = paths::model().join("text.onnx");
            fs_err::copy(mini, folder.join("onnx/text_model.onnx")).expect("copy");
        },
        &["width 24", "width 384", "from one export"],
    );
    assert!(matches!(error, ModelError::Widths { .. }));
}

#[test]
fn a_clip_without_its_projection() {
    let error = refused_after(
        |folder| {
            let graphs = golden("siglip/onnx");
            for name in ["vision_model.onnx", "text_model.onnx"] {
                fs_err::copy(graphs.join(name), folder.join("onnx").join(name)).expect("copy");
            }
        },
        &["pooler_output", "last_hidden_state", "image_embeds", "projection"],
    );
    assert!(matches!(error, ModelError::Unfit { .. }));
}

#[test]
fn another_models_tokenizer() {
    let tokenizer = |from: std::path::PathBuf| {
        move |folder: &Path| {
            fs_err::copy(from, folder.join("tokenizer.json")).expect("copy");
        }
    };
    let larger = paths::model().join("tokenizer.json");
    let error =
        refused_after(tokenizer(larger), &["tokenizer.json", "ids up to 30521", "0 to 613"]);
    assert!(matches!(error, ModelError::TokenizerMisfit { .. }));
    let smaller = golden("siglip/tokenizer.json");
    let error = refused_after(tokenizer(smaller), &["tokenizer.json", "0 to 613"]);
    assert!(matches!(error, ModelError::TokenizerMisfit { .. }));
}

#[test]
fn a_tokenizer_without_the_end_marker() {
    refused_after(
        |folder| {
            let path = folder.join("tokenizer.json");
            let text = fs_err::read_to_string(&path).expect("read");
            let mut value: serde_json::Value = serde_json::from_str(&text).expect("json");
            value["post_processor"] = serde_json::Value::Null;
            fs_err::write(&path, value.to_string()).expect("write");
        },
        &["tokenizer.json", "end marker", "613 (<|endoftext|>) at the end"],
    );
}

#[test]
fn files_that_are_missing_or_no_json() {
    let remove = |name: &'static str| {
        move |folder: &Path| fs_err::remove_file(folder.join(name)).expect("remove")
    };
    refused_after(remove("tokenizer.json"), &["tokenizer.json", "49408"]);
    let break_json = |folder: &Path| fs_err::write(folder.join("config.json"), "{").expect("write");
    let error = refused_after(break_json, &["config.json"]);
    assert!(matches!(error, ModelError::Json { .. }));
    let other_size = |folder: &Path| {
        let path = folder.join("preprocessor_config.json");
        let text = fs_err::read_to_string(&path).expect("read").replace("48", "64");
        fs_err::write(path, text).expect("write");
    };
    // The graph takes any size, so that only the runtime can tell.
    let folder = export();
    other_size(folder.path());
    let error = opened(folder.path(), Device::Cpu).err().expect("refused");
    assert!(matches!(&error, ModelError::Probe { .. }), "{error}");
}

#[test]
fn a_clip_without_preprocessor_config_is_read_as_clip() {
    let folder = export();
    fs_err::remove_file(folder.path().join("preprocessor_config.json")).expect("remove");
    let manifest = ModelFolder::open(folder.path()).expect("opens").manifest;
    assert_eq!(manifest.vision.preprocess.crop, 48);
    let path = folder.path().join("config.json");
    let other = fs_err::read_to_string(&path).expect("read").replacen("\"clip\"", "\"other\"", 1);
    fs_err::write(path, other).expect("write");
    let error = refusal(folder.path());
    assert!(matches!(error, ModelError::NoFile { .. }), "{error}");
    assert!(error.to_string().contains("preprocessor_config.json"), "{error}");
}

#[test]
fn weights_that_stayed_behind() {
    let folder = tempfile::tempdir().expect("temp dir");
    for (from, to) in [
        ("clip-combined/onnx/model_fp16.onnx", "model.onnx"),
        ("clip/config.json", "config.json"),
        ("clip/preprocessor_config.json", "preprocessor_config.json"),
        ("clip/tokenizer.json", "tokenizer.json"),
    ] {
        fs_err::copy(golden(from), folder.path().join(to)).expect("copy");
    }
    let error = refusal(folder.path());
    assert!(matches!(error, ModelError::NoWeights { .. }), "{error}");
    assert!(error.to_string().contains("model_fp16.onnx_data"), "{error}");
}

#[test]
fn a_precision_that_is_not_there() {
    let folder = export();
    let source = ModelSource { precision: Some(Precision::Q4), ..ModelSource::from(folder.path()) };
    let error = refusal(source);
    assert!(matches!(error, ModelError::NoPrecision { .. }), "{error}");
    assert!(error.to_string().contains("no q4 graph: this export has vision fp32; text fp32"));
}

#[test]
fn a_device_that_is_not_there() {
    for device in [Device::Cuda(0), Device::TensorRt(0), Device::CoreMl, Device::OpenVino] {
        // On a machine that has one, there is nothing to refuse.
        let Err(error) = opened(export().path(), device) else { continue };
        assert!(matches!(error, ModelError::Device { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(&device.to_string()) && text.contains("offers cpu"), "{text}");
    }
    let auto = opened(export().path(), Device::Auto).expect("something always works");
    assert_ne!(pairwright::encoder::Encoder::device(&auto), Device::Auto);
}

#[test]
fn an_encoder_that_does_not_give_its_golden_vector() {
    use pairwright::encoder::Encoder;
    let folder = export();
    let encoder = opened(folder.path(), Device::Cpu).expect("opens");
    let text_vector = encoder.embed_texts(&["golden"]).expect("embeds")[0].vector.clone();
    let image_vector = encoder
        .embed_images(&[pairwright::image::Pixels::test_card(48)])
        .expect("embeds")
        .remove(0);
    let mut manifest = encoder.manifest().clone();
    manifest.golden = Some(Golden { text: "golden".into(), text_vector, image_vector });
    let write = |manifest: &pairwright::model::ModelManifest| {
        let text = toml::to_string(manifest).expect("a manifest can be written");
        fs_err::write(folder.path().join("model.toml"), text).expect("write");
    };
    write(&manifest);
    opened(folder.path(), Device::Cpu).expect("gives its golden vectors");
    if let Some(golden) = &mut manifest.golden {
        golden.image_vector.reverse();
    }
    write(&manifest);
    let error = opened(folder.path(), Device::Cpu).err().expect("refused");
    assert!(matches!(&error, ModelError::Golden { tower: "vision", .. }), "{error}");
}
