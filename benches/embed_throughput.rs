//! Photos per second from JPEG bytes to embeddings, beside the usual Python pipeline (Pillow,
//! numpy, onnxruntime) with the same model, threads and batch, in one run.
//!
//! `cargo bench --bench embed_throughput -- [--images DIR] [--threads N] [--batch N] [--repeat N]`.
//! The Python side runs in the environment `make bench` makes (`PAIRWRIGHT_PYTHON` overrides).
//! Rounds alternate between the two, so that a noisy machine troubles both alike.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use pairwright::encoder::{Encoder, EncoderOptions, OnnxEncoder};
use pairwright::image::{DecodeOptions, Pixels};
use pairwright::model::Device;

#[path = "support/photos.rs"]
mod photos;
#[path = "support/process.rs"]
mod process;

use photos::{embed_all, prepare};

struct Options {
    images: PathBuf,
    threads: usize,
    batch: usize,
    repeat: usize,
}

/// Photos per second of one round.
struct Round {
    pipeline: f64,
    session: f64,
    decode_one_thread: f64,
}

fn main() {
    let options = options();
    let files = photos::files(&options.images);
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let settings = EncoderOptions {
        sessions: 1,
        intra_threads: options.threads,
        batch_size: options.batch,
        decode_threads: options.threads,
        device: Device::Cpu,
        ..EncoderOptions::default()
    };
    let encoder =
        OnnxEncoder::open(&project.join("models/mini"), &settings, DecodeOptions::default())
            .expect("the bundled encoder opens; run `make setup` once");
    println!(
        "{} photos of {}, {} threads, batch {}, {} rounds; {}",
        files.len(),
        options.images.display(),
        options.threads,
        options.batch,
        options.repeat,
        encoder.manifest().notice.as_deref().unwrap_or("")
    );
    embed_all(&encoder, &files, options.threads, options.batch);
    let mut ratios = Vec::new();
    for round in 1..=options.repeat {
        let rust = measure(&encoder, &files, &options);
        println!(
            "round {round} rust:   {:.1} images/s from JPEG bytes to embeddings; session alone \
             {:.1}/s; decode and resize {:.1}/s on one thread",
            rust.pipeline, rust.session, rust.decode_one_thread
        );
        let Some(python) = python(&options) else { continue };
        println!(
            "round {round} python: {:.1} images/s; session alone {:.1}/s; decode and resize \
             {:.1}/s on one thread",
            python.pipeline, python.session, python.decode_one_thread
        );
        println!("round {round} ratio:  {:.2}", rust.pipeline / python.pipeline);
        ratios.push(rust.pipeline / python.pipeline);
    }
    ratios.sort_by(f64::total_cmp);
    if let Some(median) = ratios.get(ratios.len() / 2) {
        println!("median ratio: {median:.2} times the Python pipeline");
    }
}

fn measure(encoder: &OnnxEncoder, files: &[PathBuf], options: &Options) -> Round {
    let per_second = |started: Instant| files.len() as f64 / started.elapsed().as_secs_f64();
    let started = Instant::now();
    embed_all(encoder, files, options.threads, options.batch);
    let pipeline = per_second(started);
    let started = Instant::now();
    let prepared: Vec<Pixels> = files.iter().map(|path| prepare(encoder, path)).collect();
    let decode_one_thread = per_second(started);
    let started = Instant::now();
    for batch in prepared.chunks(options.batch) {
        encoder.embed_images(batch).expect("embeds");
    }
    Round { pipeline, session: per_second(started), decode_one_thread }
}

fn python(options: &Options) -> Option<Round> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = process::python();
    let output = Command::new(&python)
        .arg(project.join("benches/python_pipeline.py"))
        .arg("--images")
        .arg(&options.images)
        .args(["--threads", &options.threads.to_string()])
        .args(["--batch", &options.batch.to_string()])
        .args(["--repeat", "1"])
        .output();
    let output = match output {
        Ok(output) if output.status.success() => output,
        Ok(output) => {
            println!("python side failed: {}", String::from_utf8_lossy(&output.stderr));
            return None;
        }
        Err(error) => {
            println!("python side not run: {}: {error}; run `make bench`", python.display());
            return None;
        }
    };
    let figures: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
    let figure = |name: &str| figures[name].as_f64();
    Some(Round {
        pipeline: figure("images_per_s")?,
        session: figure("session_images_per_s")?,
        decode_one_thread: figure("decode_images_per_s")?,
    })
}

fn options() -> Options {
    let mut options = Options { images: photos::folder(), threads: 2, batch: 8, repeat: 5 };
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    while let Some(name) = arguments.next() {
        let value = arguments.next().unwrap_or_else(|| panic!("{name} wants a value"));
        let number = || value.parse().unwrap_or_else(|_| panic!("{name}: {value} is no number"));
        match name.as_str() {
            "--images" => options.images = value.into(),
            "--threads" => options.threads = number(),
            "--batch" => options.batch = number(),
            "--repeat" => options.repeat = number(),
            _ => panic!("unknown option {name}"),
        }
    }
    options
}
