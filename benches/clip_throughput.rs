//! Photos and texts per second of a CLIP-shaped export, beside the same graphs in Python
//! (onnxruntime, Pillow, tokenizers), with the same threads and batch, in one run.
//!
//! `python models/export/make_exports.py large DIR`, then
//! `cargo bench --bench clip_throughput -- --model DIR/vit-b-32 [--images DIR] [--threads N]
//! [--batch N] [--count N] [--repeat N] [--device cuda] [--precision fp16] [--without-python]`.
//! `PAIRWRIGHT_PYTHON` names the Python to use, one with `models/export/requirements.txt`; it runs
//! on the CPU whatever the device is. Pairwright and the raw session take turns batch by batch, and
//! rounds take turns with Python, so that a noisy machine troubles all alike; the medians of the
//! rounds are printed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use clap::Parser;
use ort::session::Session;
use ort::value::Tensor;
use pairwright::encoder::{Encoder, EncoderOptions, OnnxEncoder};
use pairwright::image::{DecodeOptions, Pixels};
use pairwright::model::runtime::{self, GraphFile, SessionOptions};
use pairwright::model::{Device, ModelSource, Precision};

#[path = "support/figures.rs"]
mod figures;
#[path = "support/photos.rs"]
mod photos;

use figures::median;
use photos::{embed_all, prepare};

#[derive(Parser)]
struct Options {
    #[arg(long)]
    model: Option<PathBuf>,
    #[arg(long, default_value_os_t = photos::folder())]
    images: PathBuf,
    #[arg(long, default_value_t = 2)]
    threads: usize,
    #[arg(long, default_value_t = 8)]
    batch: usize,
    /// Photos and texts; what there is of them comes again and again.
    #[arg(long, default_value_t = 80)]
    count: usize,
    #[arg(long, default_value_t = 3)]
    repeat: usize,
    #[arg(long, default_value_t = Device::Cpu)]
    device: Device,
    /// Without it the most exact that the export has.
    #[arg(long)]
    precision: Option<Precision>,
    #[arg(long)]
    without_python: bool,
    /// cargo's own.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Items per second.
#[derive(Default)]
struct Figures {
    raw_images: Vec<f64>,
    tower_images: Vec<f64>,
    jpeg_images: Vec<f64>,
    raw_texts: Vec<f64>,
    texts: Vec<f64>,
    python_raw_images: Vec<f64>,
    python_jpeg_images: Vec<f64>,
    python_raw_texts: Vec<f64>,
    python_texts: Vec<f64>,
}

fn main() {
    let options = Options::parse();
    let Some(model) = &options.model else {
        // `cargo bench` starts every bench without arguments: that is no failure.
        println!("clip_throughput: nothing measured, it needs --model; see the top of its source");
        return;
    };
    let mut bench = Bench::open(&options, model);
    println!(
        "{} on {}: {} photos of {}, {} texts, {} threads, batch {}, median of {} rounds",
        model.display(),
        bench.encoder.device(),
        bench.files.len(),
        options.images.display(),
        bench.texts.len(),
        options.threads,
        options.batch,
        options.repeat
    );
    let mut figures = Figures::default();
    for _ in 0..options.repeat {
        bench.round(&options, &mut figures);
        if !options.without_python {
            python(&options, model, &mut figures);
        }
    }
    report(&figures);
}

struct Bench {
    encoder: OnnxEncoder,
    vision: Session,
    text: Session,
    files: Vec<PathBuf>,
    pixels: Vec<Pixels>,
    texts: Vec<String>,
}

impl Bench {
    fn open(options: &Options, model: &Path) -> Self {
        let settings = EncoderOptions {
            sessions: 1,
            intra_threads: options.threads,
            batch_size: options.batch,
            decode_threads: options.threads,
            device: options.device,
            ..EncoderOptions::default()
        };
        let source = ModelSource {
            path: model.to_owned(),
            precision: options.precision,
            ..ModelSource::default()
        };
        let encoder = OnnxEncoder::open(source, &settings, DecodeOptions::default())
            .expect("an export; see the top of this file");
        let session = |name: &str| {
            let graph = GraphFile::whole(encoder.folder().file(name)).expect("a graph");
            let settings =
                SessionOptions { intra_threads: options.threads, device: options.device };
            runtime::open_session(&graph, settings).expect("opens").0
        };
        let vision = session(&encoder.manifest().vision.file);
        let text = session(&encoder.manifest().text.file);
        let files = photos::files(&options.images);
        let files: Vec<_> = files.into_iter().cycle().take(options.count).collect();
        let pixels = files.iter().map(|path| prepare(&encoder, path)).collect();
        let texts = texts(options.count);
        Self { encoder, vision, text, files, pixels, texts }
    }

    fn round(&mut self, options: &Options, figures: &mut Figures) {
        let Self { encoder, vision, text, files, pixels, texts } = self;
        let (encoder, batch) = (&*encoder, options.batch);
        let (tower, raw) = in_turn(
            pixels.chunks(batch),
            |photos| drop(encoder.embed_images(photos).expect("embeds")),
            |photos| {
                let (shape, values) = tensor(encoder, photos);
                let input = Tensor::from_array((shape, values)).expect("a tensor");
                timed(|| drop(vision.run(ort::inputs!["pixel_values" => input]).expect("runs")))
            },
        );
        figures.tower_images.push(tower);
        figures.raw_images.push(raw);
        figures
            .jpeg_images
            .push(rate(files.len(), || embed_all(encoder, files, options.threads, batch)));
        let (tower, raw) = in_turn(
            texts.chunks(batch),
            |texts| {
                let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
                encoder.embed_texts(&texts).expect("embeds");
            },
            |texts| {
                let (length, ids) = ids(encoder, texts);
                let shape = [ids.len() / length, length];
                let mask = Tensor::from_array((shape, vec![1i64; ids.len()])).expect("a tensor");
                let ids = Tensor::from_array((shape, ids)).expect("a tensor");
                let inputs = ort::inputs!["input_ids" => ids, "attention_mask" => mask];
                timed(|| drop(text.run(inputs).expect("runs")))
            },
        );
        figures.texts.push(tower);
        figures.raw_texts.push(raw);
    }
}

/// Items per second of two who take turns, batch by batch, either first as often; `raw` says how
/// long its session took, what went before left out.
fn in_turn<'b, T: 'b>(
    batches: impl Iterator<Item = &'b [T]>,
    mut tower: impl FnMut(&'b [T]),
    mut raw: impl FnMut(&'b [T]) -> Duration,
) -> (f64, f64) {
    let (mut items, mut tower_time, mut raw_time) = (0, Duration::ZERO, Duration::ZERO);
    for (number, batch) in batches.enumerate() {
        items += batch.len();
        if number % 2 == 1 {
            raw_time += raw(batch);
        }
        tower_time += timed(|| tower(batch));
        if number % 2 == 0 {
            raw_time += raw(batch);
        }
    }
    let rate = |time: Duration| items as f64 / time.as_secs_f64();
    (rate(tower_time), rate(raw_time))
}

fn timed(work: impl FnOnce()) -> Duration {
    let began = Instant::now();
    work();
    began.elapsed()
}

fn rate(count: usize, work: impl FnOnce()) -> f64 {
    count as f64 / timed(work).as_secs_f64()
}

fn tensor(encoder: &OnnxEncoder, batch: &[Pixels]) -> (Vec<usize>, Vec<f32>) {
    let tool = encoder.preprocessor();
    let side = tool.config().crop as usize;
    let mut values = vec![0f32; batch.len() * tool.tensor_len()];
    for (pixels, out) in batch.iter().zip(values.chunks_exact_mut(tool.tensor_len())) {
        tool.write_nchw(pixels, out);
    }
    (vec![batch.len(), 3, side, side], values)
}

/// Ids of texts padded to the longest.
fn ids(encoder: &OnnxEncoder, batch: &[String]) -> (usize, Vec<i64>) {
    let all: Vec<Vec<u32>> =
        batch.iter().map(|text| encoder.text().token_ids(text).expect("tokenises").0).collect();
    let length = all.iter().map(Vec::len).max().unwrap_or(0);
    let padded = all.iter().flat_map(|ids| {
        let fill = length - ids.len();
        ids.iter().map(|id| i64::from(*id)).chain(std::iter::repeat_n(49_407, fill))
    });
    (length, padded.collect())
}

fn python(options: &Options, model: &Path, figures: &mut Figures) {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = std::env::var_os("PAIRWRIGHT_PYTHON").unwrap_or_else(|| "python3".into());
    let output = Command::new(&python)
        .arg(project.join("benches/clip_python.py"))
        .arg("--model")
        .arg(model)
        .arg("--images")
        .arg(&options.images)
        .args(["--threads", &options.threads.to_string()])
        .args(["--batch", &options.batch.to_string()])
        .args(["--count", &options.count.to_string()])
        .output()
        .expect("Python starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).expect("figures");
    let figure = |name: &str| found[name].as_f64().expect("a figure");
    figures.python_raw_images.push(figure("raw_images"));
    figures.python_jpeg_images.push(figure("jpeg_images"));
    figures.python_raw_texts.push(figure("raw_texts"));
    figures.python_texts.push(figure("texts"));
}

fn report(figures: &Figures) {
    // Of a side that was left out there is no figure.
    let middle = |rates: &Vec<f64>| if rates.is_empty() { f64::NAN } else { median(rates) };
    let (raw_images, python_raw_images) =
        (middle(&figures.raw_images), middle(&figures.python_raw_images));
    let (jpeg, python_jpeg) = (middle(&figures.jpeg_images), middle(&figures.python_jpeg_images));
    let (texts, python_texts) = (middle(&figures.texts), middle(&figures.python_texts));
    let (raw_texts, python_raw_texts) =
        (middle(&figures.raw_texts), middle(&figures.python_raw_texts));
    let tower = middle(&figures.tower_images);
    println!("| | pairwright | raw session | Python session | Python whole | ratio |");
    println!("|---|---|---|---|---|---|");
    println!(
        "| prepared photos/s | {tower:.2} | {raw_images:.2} | {python_raw_images:.2} | | {:.3} of the raw session |",
        tower / raw_images
    );
    println!(
        "| photos/s from JPEG | {jpeg:.2} | | | {python_jpeg:.2} | {:.2} times Python |",
        jpeg / python_jpeg
    );
    println!(
        "| texts/s | {texts:.1} | {raw_texts:.1} | {python_raw_texts:.1} | {python_texts:.1} | {:.3} of the raw session, {:.2} times Python |",
        texts / raw_texts,
        texts / python_texts
    );
}

/// The first sentences of the samples' descriptions, again and again.
fn texts(count: usize) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/photos");
    let mut sentences: Vec<String> = photos::files(&folder)
        .iter()
        .map(|path| fs_err::read_to_string(path.with_extension("txt")).expect("a description"))
        .filter_map(|text| Some(text.split_once('.')?.0.to_owned()))
        .collect();
    sentences.sort();
    sentences.into_iter().cycle().take(count).collect()
}
