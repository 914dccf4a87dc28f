//! The photos that benchmarks read, and the plain pipeline over them.
#![allow(dead_code, reason = "each benchmark uses a part of it")]

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use pairwright::dataset::{ImageRef, Photos};
use pairwright::encoder::{Encoder, OnnxEncoder, OrderedPool, in_order};
use pairwright::image::Pixels;
use pairwright::sandbox::FileAccess;

/// The COCO photos beside the project, else the samples.
pub fn folder() -> PathBuf {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let coco = project.join("../shared/data/coco-train80");
    if coco.is_dir() { coco } else { project.join("samples/photos") }
}

/// The JPEG files of a folder, by name.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs_err::read_dir(folder).expect("a folder of photos");
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "jpg"))
        .collect();
    files.sort();
    files
}

/// A photo as the encoder wants it.
pub fn prepare(encoder: &OnnxEncoder, path: &Path) -> Pixels {
    let preprocessor = encoder.preprocessor();
    let limits = &preprocessor.options().limits;
    let bytes = FileAccess::Anywhere.read(&ImageRef::file(path), limits).expect("reads");
    preprocessor.prepare(&bytes).expect("decodes").0
}

/// From JPEG files to embeddings: decoded on `threads` while earlier batches are embedded.
pub fn embed_all(encoder: &OnnxEncoder, files: &[PathBuf], threads: usize, size: usize) {
    let pool = OrderedPool { threads, ahead: size * 4 };
    let mut batch = Vec::with_capacity(size);
    in_order(
        pool,
        files.iter(),
        |path| prepare(encoder, path),
        |_, pixels| {
            batch.push(pixels.expect("no panic"));
            if batch.len() == size {
                encoder.embed_images(&std::mem::take(&mut batch)).expect("embeds");
            }
            ControlFlow::Continue(())
        },
    );
    encoder.embed_images(&batch).expect("embeds");
}
