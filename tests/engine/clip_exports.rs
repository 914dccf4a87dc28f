//! Every shape and precision of export against onnxruntime in Python, on graphs that
//! `models/export/make_exports.py` makes: identical pixels, and from the JPEG on.

use std::path::{Path, PathBuf};

use crate::support::npy::{cosine, rows};
use crate::support::paths;
use pairwright::encoder::{Encoder, EncoderOptions, OnnxEncoder};
use pairwright::image::{DecodeOptions, Pixels};
use pairwright::model::{Device, ModelFolder, ModelSource, Precision};
use serde::Deserialize;

/// On the pixels that Pillow made.
const LEAST_ON_PIXELS: f64 = 0.9999;

/// From the bytes of a JPEG on.
const LEAST_FROM_JPEG: f64 = 0.999;

#[derive(Deserialize)]
struct Inputs {
    photos: Vec<String>,
    texts: Vec<String>,
}

fn exports() -> PathBuf {
    paths::golden().join("clip")
}

fn reference(name: &str) -> PathBuf {
    exports().join("reference").join(name)
}

fn inputs() -> Inputs {
    let text = fs_err::read_to_string(reference("inputs.json")).expect("inputs");
    serde_json::from_str(&text).expect("inputs")
}

fn on_cpu() -> EncoderOptions {
    EncoderOptions { device: Device::Cpu, ..EncoderOptions::default() }
}

fn open(source: ModelSource) -> OnnxEncoder {
    OnnxEncoder::open(source, &on_cpu(), DecodeOptions::default()).expect("the export opens")
}

fn with_precision(path: PathBuf, precision: Precision) -> ModelSource {
    ModelSource { precision: Some(precision), ..ModelSource::from(&path) }
}

/// The pixels that transformers' image processor made with Pillow.
fn reference_pixels(family: &str, count: usize) -> Vec<Pixels> {
    let bytes = fs_err::read(reference(&format!("{family}.pixels"))).expect("pixels");
    let photos = bytes.chunks_exact(bytes.len() / count);
    photos.map(|rgb| Pixels { side: 48, rgb: rgb.to_vec() }).collect()
}

fn least(found: &[Vec<f32>], wanted: &[Vec<f32>]) -> f64 {
    assert_eq!(found.len(), wanted.len());
    found.iter().zip(wanted).map(|(a, b)| cosine(a, b)).fold(f64::INFINITY, f64::min)
}

/// The lowest cosines of an encoder: photos on identical pixels, photos from JPEG, texts.
fn compare(encoder: &OnnxEncoder, vision: &str, text: &str) -> (f64, f64, f64) {
    let inputs = inputs();
    let wanted = rows(&reference(&format!("{vision}.vision.npy")));
    let family = if vision.starts_with("siglip") { "siglip" } else { "clip" };
    let pixels = reference_pixels(family, inputs.photos.len());
    let same = encoder.embed_images(&pixels).expect("embeds");
    let read = |name: &String| {
        let bytes = fs_err::read(paths::root().join("samples/photos").join(name)).expect("photo");
        encoder.preprocessor().prepare(&bytes).expect("decodes").0
    };
    let own: Vec<Pixels> = inputs.photos.iter().map(read).collect();
    let own = encoder.embed_images(&own).expect("embeds");
    let texts: Vec<&str> = inputs.texts.iter().map(String::as_str).collect();
    let embedded = encoder.embed_texts(&texts).expect("embeds");
    let embedded: Vec<Vec<f32>> = embedded.into_iter().map(|text| text.vector).collect();
    let texts = rows(&reference(&format!("{text}.text.npy")));
    (least(&same, &wanted), least(&own, &wanted), least(&embedded, &texts))
}

/// A folder in which graphs lie as `places` says: from, to.
fn laid_out(places: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("temp dir");
    for (from, to) in places {
        let to = folder.path().join(to);
        fs_err::create_dir_all(to.parent().expect("a parent")).expect("folder");
        fs_err::copy(exports().join(from), to).expect("copy");
    }
    folder
}

/// fastembed's: one repository per tower, each a `model.onnx`.
fn two_folders() -> tempfile::TempDir {
    laid_out(&[
        ("clip/onnx/vision_model.onnx", "clip-vision/model.onnx"),
        ("clip/config.json", "clip-vision/config.json"),
        ("clip/preprocessor_config.json", "clip-vision/preprocessor_config.json"),
        ("clip/onnx/text_model.onnx", "clip-text/model.onnx"),
        ("clip/config.json", "clip-text/config.json"),
        ("clip/tokenizer.json", "clip-text/tokenizer.json"),
        ("clip/special_tokens_map.json", "clip-text/special_tokens_map.json"),
    ])
}

/// Two files in one folder, the text graph of a fixed length; `vocab.json` and `merges.txt`.
fn fixed_length() -> tempfile::TempDir {
    laid_out(&[
        ("clip/onnx/vision_model_fp16.onnx", "vision.onnx"),
        ("clip-fixed/model.onnx", "text.onnx"),
        ("clip-fixed/vocab.json", "vocab.json"),
        ("clip-fixed/merges.txt", "merges.txt"),
        ("clip/config.json", "config.json"),
        ("clip/preprocessor_config.json", "preprocessor_config.json"),
    ])
}

/// One graph with both inputs: the configuration beside it is the separate export's.
fn combined() -> tempfile::TempDir {
    laid_out(&[
        ("clip-combined/onnx/model.onnx", "onnx/model.onnx"),
        ("clip-combined/onnx/model_fp16.onnx", "onnx/model_fp16.onnx"),
        ("clip-combined/onnx/model_fp16.onnx_data", "onnx/model_fp16.onnx_data"),
        ("clip-combined/onnx/model_quantized.onnx", "onnx/model_quantized.onnx"),
        ("clip/config.json", "config.json"),
        ("clip/preprocessor_config.json", "preprocessor_config.json"),
        ("clip/tokenizer.json", "tokenizer.json"),
    ])
}

/// The small files of a folder that has no others.
fn small(ending: &str) -> tempfile::TempDir {
    let graph = |tower: &str| {
        let name = format!("onnx/{tower}_model{ending}.onnx");
        (format!("clip-small/{name}"), name)
    };
    let (vision, text) = (graph("vision"), graph("text"));
    laid_out(&[
        (&vision.0, &vision.1),
        (&text.0, &text.1),
        ("clip/config.json", "config.json"),
        ("clip/preprocessor_config.json", "preprocessor_config.json"),
        ("clip/tokenizer.json", "tokenizer.json"),
    ])
}

/// SigLIP in one graph, with a bias in its scores.
fn siglip_combined() -> tempfile::TempDir {
    laid_out(&[
        ("siglip-combined/model.onnx", "model.onnx"),
        ("siglip/config.json", "config.json"),
        ("siglip/preprocessor_config.json", "preprocessor_config.json"),
        ("siglip/tokenizer.json", "tokenizer.json"),
        ("siglip/tokenizer_config.json", "tokenizer_config.json"),
    ])
}

/// `last_hidden_state` pooled as a manifest says: the class token, and the end marker.
fn hidden() -> tempfile::TempDir {
    let folder = laid_out(&[
        ("clip/onnx/vision_model.onnx", "vision.onnx"),
        ("clip/onnx/text_model.onnx", "text.onnx"),
        ("clip/tokenizer.json", "tokenizer.json"),
    ]);
    let detected = ModelFolder::open(&exports().join("clip")).expect("opens").manifest;
    let mut manifest = detected.clone();
    manifest.embedding_dim = 32;
    for (file, name) in
        manifest.files.iter_mut().zip(["vision.onnx", "text.onnx", "tokenizer.json"])
    {
        file.name = name.into();
    }
    manifest.vision.file = "vision.onnx".into();
    manifest.text.file = "text.onnx".into();
    manifest.vision.output = "last_hidden_state".into();
    manifest.text.output = "last_hidden_state".into();
    manifest.vision.pooling = pairwright::model::manifest::Pooling::First;
    manifest.text.pooling = pairwright::model::manifest::Pooling::End;
    let text = toml::to_string(&manifest).expect("a manifest can be written");
    fs_err::write(folder.path().join("model.toml"), text).expect("write");
    folder
}

struct Case {
    shape: &'static str,
    source: ModelSource,
    vision: String,
    text: String,
}

fn case(shape: &'static str, source: ModelSource, vision: &str, text: &str) -> Case {
    Case { shape, source, vision: vision.into(), text: text.into() }
}

fn precisions(shape: &'static str, folder: &Path, name: &str, all: &[Precision]) -> Vec<Case> {
    let ending = |precision| match precision {
        Precision::Fp32 => "",
        Precision::Fp16 => "_fp16",
        Precision::Int8 => "_quantized",
        Precision::Q4 => "_q4",
    };
    let one = |precision: &Precision| {
        let name = format!("{name}{}", ending(*precision));
        case(shape, with_precision(folder.to_owned(), *precision), &name, &name)
    };
    all.iter().map(one).collect()
}

#[test]
fn every_shape_and_precision_agrees_with_python() {
    use Precision::{Fp16, Fp32, Int8};
    let (two, fixed, combined, hidden) = (two_folders(), fixed_length(), combined(), hidden());
    let mut cases =
        precisions("CLIP, two graphs", &exports().join("clip"), "clip", &Precision::ALL);
    let one_graph = combined.path();
    cases.extend(precisions("CLIP, one graph", one_graph, "clip-combined", &[Fp32, Fp16, Int8]));
    let siglip = exports().join("siglip");
    cases.extend(precisions("SigLIP, two graphs", &siglip, "siglip", &[Fp32, Fp16, Int8]));
    let text_path = Some(two.path().join("clip-text"));
    let vision_path = two.path().join("clip-vision");
    let source = ModelSource { text_path, ..ModelSource::from(&vision_path) };
    cases.push(case("CLIP, two folders", source, "clip", "clip"));
    cases.push(case("CLIP, 77 fixed, no mask", fixed.path().into(), "clip_fp16", "clip-fixed"));
    cases.push(case("last_hidden_state", hidden.path().into(), "clip_hidden", "clip_hidden"));
    let kinds = [("_uint8", "CLIP, _uint8"), ("_q4f16", "CLIP, _q4f16"), ("_bnb4", "CLIP, _bnb4")];
    let small_files = kinds.map(|(ending, shape)| (ending, shape, small(ending)));
    for (ending, shape, folder) in &small_files {
        let name = format!("clip{ending}");
        cases.push(case(shape, folder.path().into(), &name, &name));
    }
    let siglip = siglip_combined();
    let name = "siglip-combined";
    cases.push(case("SigLIP, one graph", siglip.path().into(), name, name));

    println!("| shape | precision | same pixels | from JPEG | texts |\n|---|---|---|---|---|");
    let mut failed = Vec::new();
    for Case { shape, source, vision, text } in cases {
        let precision = source.precision.map_or("as found".into(), |one| one.to_string());
        let (same, jpeg, texts) = compare(&open(source), &vision, &text);
        println!("| {shape} | {precision} | {same:.6} | {jpeg:.6} | {texts:.6} |");
        if same < LEAST_ON_PIXELS || jpeg < LEAST_FROM_JPEG || texts < LEAST_ON_PIXELS {
            failed.push(format!("{shape} {precision}"));
        }
    }
    assert!(failed.is_empty(), "below the bounds: {failed:?}");
}

#[test]
fn a_score_follows_from_the_cosine() {
    let (clip, siglip) = (combined(), siglip_combined());
    let logit = |encoder: &OnnxEncoder| encoder.manifest().logit.expect("its graph scores pairs");
    let found = logit(&open(clip.path().into()));
    assert_eq!((found.scale, found.bias), (100.0, 0.0));
    assert_eq!(open(ModelSource::from(&exports().join("clip"))).manifest().logit, None);

    let encoder = open(siglip.path().into());
    let found = logit(&encoder);
    let inputs = inputs();
    let texts: Vec<&str> = inputs.texts.iter().map(String::as_str).collect();
    let texts = encoder.embed_texts(&texts).expect("embeds");
    let pixels = reference_pixels("siglip", inputs.photos.len());
    let photos = encoder.embed_images(&pixels).expect("embeds");
    let wanted = rows(&reference("siglip-combined.logits.npy"));
    for (photo, wanted) in photos.iter().zip(wanted) {
        for (text, wanted) in texts.iter().zip(wanted) {
            let cosine: f32 = photo.iter().zip(&text.vector).map(|(a, b)| a * b).sum();
            let score = found.scale * f64::from(cosine) + found.bias;
            assert!((score - f64::from(wanted)).abs() < 1e-3, "{score} for {wanted}");
        }
    }
}

#[test]
fn rows_do_not_depend_on_their_batch() {
    for (folder, precision) in [("clip", Precision::Int8), ("siglip", Precision::Fp32)] {
        let encoder = open(with_precision(exports().join(folder), precision));
        let dynamic = precision == Precision::Int8;
        assert_eq!(encoder.manifest().batch_independent, !dynamic);
        let inputs = inputs();
        let texts: Vec<&str> = inputs.texts.iter().map(String::as_str).collect();
        let together = encoder.embed_texts(&texts).expect("embeds");
        for (text, together) in texts.iter().zip(&together) {
            let alone = encoder.embed_texts(&[text]).expect("embeds");
            let off = largest_difference(&alone[0].vector, &together.vector);
            assert!(off <= if dynamic { 0.0 } else { 1e-4 }, "{text:?} differs by {off}");
        }
        let pixels = reference_pixels(folder, inputs.photos.len());
        let together = encoder.embed_images(&pixels).expect("embeds");
        for (one, together) in pixels.iter().zip(&together) {
            let alone = encoder.embed_images(std::slice::from_ref(one)).expect("embeds");
            let off = largest_difference(&alone[0], together);
            assert!(off <= if dynamic { 0.0 } else { 1e-4 }, "a photo differs by {off}");
        }
    }
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn long_texts_are_cut_before_the_end_marker_and_say_so() {
    let encoder = open(ModelSource::from(&exports().join("clip")));
    let long = "a photo of a cat ".repeat(60);
    let (ids, truncated) = encoder.text().token_ids(&long).expect("tokenises");
    let end = u32::try_from(514 + 100 - 1).expect("small");
    assert_eq!((ids.len(), ids.last(), truncated), (77, Some(&end), true));
    let embedded = encoder.embed_texts(&[&long, "a cat"]).expect("embeds");
    assert_eq!((embedded[0].truncated, embedded[1].truncated), (true, false));
}

#[test]
fn a_prompt_goes_around_each_text_and_into_the_hash() {
    let plain = open(ModelSource::from(&exports().join("clip")));
    let prompt = Some("a photo that fits the instruction: {}".to_owned());
    let prompted = open(ModelSource { prompt, ..ModelSource::from(&exports().join("clip")) });
    assert_ne!(plain.hash(), prompted.hash());
    let wanted = plain.embed_texts(&["a photo that fits the instruction: Count the cats."]);
    let found = prompted.embed_texts(&["Count the cats."]);
    assert_eq!(found.expect("embeds")[0].vector, wanted.expect("embeds")[0].vector);
}

#[test]
fn the_same_files_give_the_same_hash_wherever_they_lie() {
    let (a, b) = (two_folders(), two_folders());
    let hash = |folder: &tempfile::TempDir| {
        let text_path = Some(folder.path().join("clip-text"));
        let path = folder.path().join("clip-vision");
        ModelFolder::open(ModelSource { text_path, ..ModelSource::from(&path) })
            .expect("opens")
            .hash
    };
    assert_eq!(hash(&a), hash(&b));
    let clip = |precision| {
        ModelFolder::open(with_precision(exports().join("clip"), precision)).expect("opens").hash
    };
    assert_ne!(clip(Precision::Fp32), clip(Precision::Fp16));
}
