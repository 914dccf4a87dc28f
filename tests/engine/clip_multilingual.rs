//! Text towers of BERT's and XLM-RoBERTa's kind against transformers' tokenizers and onnxruntime in
//! Python, on exports that `models/export/make_multilingual.py` makes: Chinese, Arabic, emoji, mixed.

use std::path::{Path, PathBuf};

use crate::support::npy::{cosine, rows};
use crate::support::paths;
use pairwright::encoder::{Encoder, EncoderOptions, OnnxEncoder, StagedEncoder};
use pairwright::image::{DecodeOptions, Pixels};
use pairwright::model::manifest::Padding;
use pairwright::model::{Device, ModelError, ModelFolder};
use serde::Deserialize;
use tempfile::TempDir;

const EXPORTS: [&str; 4] = ["chinese-clip", "jina-clip", "xlm-roberta", "xlm-roberta-no-mask"];

#[derive(Deserialize)]
struct Ids {
    context: usize,
    ids: Vec<Vec<u32>>,
}

fn golden(name: &str) -> PathBuf {
    paths::golden().join("multilingual").join(name)
}

fn json<T: serde::de::DeserializeOwned>(name: &str) -> T {
    let text = fs_err::read_to_string(golden("reference").join(name)).expect("a reference");
    serde_json::from_str(&text).expect("a reference")
}

/// A copy of an export; one that is only a text tower gets the tiny CLIP's photos.
fn export(name: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("temp dir");
    copy(&golden(name), folder.path());
    if !folder.path().join("onnx/model.onnx").is_file() {
        let vision = paths::golden().join("clip/clip/onnx/vision_model.onnx");
        fs_err::copy(vision, folder.path().join("onnx/vision_model.onnx")).expect("copy");
    }
    folder
}

fn copy(from: &Path, to: &Path) {
    fs_err::create_dir_all(to).expect("folder");
    for entry in fs_err::read_dir(from).expect("the export") {
        let path = entry.expect("entry").path();
        let to = to.join(path.file_name().expect("a name"));
        match path.is_dir() {
            true => copy(&path, &to),
            false => drop(fs_err::copy(&path, to).expect("copy")),
        }
    }
}

fn open(folder: &Path) -> OnnxEncoder {
    let options = EncoderOptions { device: Device::Cpu, ..EncoderOptions::default() };
    OnnxEncoder::open(folder, &options, DecodeOptions::default()).expect("the export opens")
}

#[test]
fn ids_and_vectors_are_those_of_python() {
    let texts: Vec<String> = json("texts.json");
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    println!(
        "| export | texts | same ids | lowest cosine alone | in a batch |\n|---|---|---|---|---|"
    );
    for name in EXPORTS {
        let folder = export(name);
        let encoder = open(folder.path());
        let Ids { context, ids: wanted } = json(&format!("{name}.ids.json"));
        assert_eq!(encoder.manifest().text.context_length, context, "{name}");
        let tokens: Vec<_> =
            texts.iter().map(|text| encoder.tokenize(text).expect("tokenises")).collect();
        for ((text, tokens), wanted) in texts.iter().zip(&tokens).zip(&wanted) {
            assert_eq!(tokens.ids(), wanted, "{name}: {text:?}");
            assert_eq!(tokens.ids().last(), wanted.last(), "a cut keeps the end");
        }
        assert!(tokens.iter().any(|tokens| tokens.truncated()), "no text was too long");
        let vectors = rows(&golden("reference").join(format!("{name}.text.npy")));
        let alone =
            texts.iter().map(|text| encoder.embed_texts(&[text]).expect("embeds").remove(0).vector);
        let alone = least(alone, &vectors);
        // In the order in which they come, long ones beside short ones.
        let batch: Vec<_> = tokens.iter().collect();
        let together = least(encoder.embed_tokens(&batch).expect("embeds"), &vectors);
        println!("| {name} | {} | all | {alone:.6} | {together:.6} |", texts.len());
        assert!(alone > 0.99999 && together > 0.99999, "{name}: {alone} {together}");
        let photo = encoder.embed_images(&[Pixels::test_card(48)]).expect("embeds");
        assert_eq!(photo[0].len(), vectors[0].len());
    }
}

fn least(found: impl IntoIterator<Item = Vec<f32>>, wanted: &[Vec<f32>]) -> f64 {
    let found: Vec<_> = found.into_iter().collect();
    assert_eq!(found.len(), wanted.len());
    found.iter().zip(wanted).map(|(a, b)| cosine(a, b)).fold(f64::INFINITY, f64::min)
}

#[test]
fn each_is_read_as_its_files_say() {
    let of = |name: &str| ModelFolder::open(export(name).path()).expect("opens").manifest.text;
    let chinese = of("chinese-clip");
    assert_eq!(chinese.token_type_ids.as_deref(), Some("token_type_ids"));
    assert_eq!((chinese.pad_id, chinese.padding), (0, Padding::Longest));
    // RoBERTa pads with 1, and counts its 42 places from 2 on.
    let roberta = of("xlm-roberta");
    assert_eq!(
        (roberta.pad_id, roberta.padding, roberta.context_length),
        (1, Padding::Longest, 40)
    );
    assert_eq!(of("xlm-roberta-no-mask").padding, Padding::Never);
    // A manifest that was written down keeps all of it.
    let manifest = ModelFolder::open(export("chinese-clip").path()).expect("opens").manifest;
    let written = toml::to_string(&manifest).expect("a manifest can be written");
    assert_eq!(
        toml::from_str::<pairwright::model::ModelManifest>(&written).expect("reads"),
        manifest
    );
}

/// What `change` does to `tokenizer.json` is refused by a message with these parts.
fn refused(name: &str, change: impl Fn(&mut serde_json::Value), parts: &[&str]) {
    let folder = export(name);
    let path = folder.path().join("tokenizer.json");
    let text = fs_err::read_to_string(&path).expect("read");
    let mut value = serde_json::from_str(&text).expect("json");
    change(&mut value);
    fs_err::write(&path, value.to_string()).expect("write");
    let error = ModelFolder::open(folder.path()).expect_err("refused");
    assert!(matches!(&error, ModelError::Unfit { .. }), "{error}");
    for part in parts {
        assert!(error.to_string().contains(part), "{part:?} is not in: {error}");
    }
}

#[test]
fn a_tokenizer_without_its_marks_is_refused_by_name() {
    let bare = |value: &mut serde_json::Value| value["post_processor"] = serde_json::Value::Null;
    let wanted = ["tokenizer.json", "101 ([CLS]) first and 102 ([SEP]) last", "save_pretrained"];
    refused("chinese-clip", bare, &wanted);
    refused("jina-clip", bare, &wanted);
    refused("xlm-roberta", bare, &["2 (</s>) at the end"]);
}
