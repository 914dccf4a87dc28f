//! Photos per second from JPEG bytes to embeddings, beside the usual Python pipeline (Pillow,
//! numpy, onnxruntime) with the same model and batch, in one run: once serial with a session of
//! as many threads, once with as many workers that each decode and infer on one thread.
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

#[path = "support/figures.rs"]
mod figures;
#[path = "support/photos.rs"]
mod photos;
#[path = "support/process.rs"]
mod process;

use figures::{Chart, Figures, median};
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
    let ways = [("serial Python", options.threads, 1), ("threaded Python", 1, options.threads)];
    // Ours in each round beside each of the ways, theirs, and the ratio.
    let mut seen = ways.map(|(name, ..)| (name, [const { Vec::new() }; 3]));
    for round in 1..=options.repeat {
        let rust = measure(&encoder, &files, &options);
        println!(
            "round {round} rust: {:.1} images/s from JPEG bytes to embeddings; session alone \
             {:.1}/s; decode and resize {:.1}/s on one thread",
            rust.pipeline, rust.session, rust.decode_one_thread
        );
        for ((name, threads, workers), (_, rates)) in ways.into_iter().zip(&mut seen) {
            let Some(python) = python(&options, threads, workers) else { continue };
            let ratio = rust.pipeline / python.pipeline;
            println!(
                "round {round} {name}: {:.1} images/s; for each worker session {:.1}/s, decode and \
                 resize {:.1}/s; ratio {ratio:.2}",
                python.pipeline, python.session, python.decode_one_thread
            );
            let figures = [rust.pipeline, python.pipeline, ratio];
            rates.iter_mut().zip(figures).for_each(|(rates, figure)| rates.push(figure));
        }
    }
    let mut figures = Figures::begin("embed_throughput");
    let chart = Chart { title: "JPEG bytes to embeddings", x: "", y: "images a second and core" };
    let mut add = |name: &str, rate: f64| {
        figures.add(
            chart,
            name,
            format!("{} threads", options.threads),
            rate / options.threads as f64,
        );
    };
    for (at, (name, rates)) in seen.iter().filter(|(_, rates)| !rates[0].is_empty()).enumerate() {
        let [rust, python, ratio] = rates.each_ref().map(|rates| median(rates));
        if at == 0 {
            add("this", rust);
        }
        add(name, python);
        println!("median ratio: {ratio:.2} times {name}");
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

fn python(options: &Options, threads: usize, workers: usize) -> Option<Round> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = process::python();
    let output = Command::new(&python)
        .arg(project.join("benches/python_pipeline.py"))
        .arg("--images")
        .arg(&options.images)
        .args(["--threads", &threads.to_string()])
        .args(["--workers", &workers.to_string()])
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
