//! How an input stands for a file.

use std::path::{Path, PathBuf};

/// Who reads a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    Source,
    Questions,
    Answers,
    Seeds,
    Library,
    /// The rest of the model's folder is a sound tiny export.
    Model,
    /// A language model's: instructions, and a verdict.
    Reply,
}

/// A file that an input is written to.
#[derive(Debug, Clone, Copy)]
pub struct File {
    pub reader: Reader,
    /// Below the target's folder.
    pub path: &'static str,
    /// A sound one, below the project's.
    pub sample: &'static str,
}

const fn file(reader: Reader, path: &'static str, sample: &'static str) -> File {
    File { reader, path, sample }
}

/// An input's first byte chooses one.
pub const FILES: [File; 22] = [
    file(Reader::Source, "captions.json", "fuzz/samples/captions.json"),
    file(Reader::Source, "captions.jsonl", "fuzz/samples/captions.jsonl"),
    file(Reader::Source, "rows.json", "fuzz/samples/rows.json"),
    file(Reader::Source, "rows.csv", "fuzz/samples/rows.csv"),
    file(Reader::Source, "described/metadata.csv", "fuzz/samples/rows.csv"),
    file(Reader::Source, "text/a.txt", "samples/photos/tabby-cat.txt"),
    file(Reader::Source, "object/a.json", "fuzz/samples/sidecar.json"),
    file(Reader::Questions, "questions.jsonl", "fuzz/samples/questions.jsonl"),
    file(Reader::Answers, "answers.json", "fuzz/samples/answers.json"),
    file(Reader::Seeds, "seeds.jsonl", "samples/seeds.jsonl"),
    file(Reader::Library, "library.jsonl", "samples/instructions.jsonl"),
    file(Reader::Reply, "reply.txt", "fuzz/samples/reply.txt"),
    file(
        Reader::Model,
        "export/vision.onnx",
        "tests/golden/clip/clip-combined/onnx/model_fp16.onnx",
    ),
    file(Reader::Model, "words/config.json", "tests/golden/clip/clip/config.json"),
    file(
        Reader::Model,
        "pixels/preprocessor_config.json",
        "tests/golden/clip/clip/preprocessor_config.json",
    ),
    file(Reader::Model, "tokens/tokenizer.json", "tests/golden/clip/clip/tokenizer.json"),
    file(Reader::Model, "merges/merges.txt", "tests/golden/clip/clip-fixed/merges.txt"),
    file(Reader::Model, "manifest/model.toml", "models/mini/model.toml"),
    file(Reader::Source, "captions.tar", "fuzz/samples/captions.tar"),
    file(Reader::Source, "captions.tar.gz", "fuzz/samples/captions.tar.gz"),
    file(Reader::Source, "rows.parquet", "fuzz/samples/rows.parquet"),
    file(Reader::Source, "rows.arrow", "fuzz/samples/rows.arrow"),
];

/// What an export has beside the file that is tried.
const EXPORT: [(&str, &str); 6] = [
    ("vision.onnx", "clip/onnx/vision_model_q4.onnx"),
    ("text.onnx", "clip/onnx/text_model_q4.onnx"),
    ("model_fp16.onnx_data", "clip-combined/onnx/model_fp16.onnx_data"),
    ("config.json", "clip/config.json"),
    ("preprocessor_config.json", "clip/preprocessor_config.json"),
    ("vocab.json", "clip-fixed/vocab.json"),
];

/// The file that an input stands for, and its bytes.
pub fn reader(input: &[u8]) -> Option<(&'static File, &[u8])> {
    let (&which, bytes) = input.split_first()?;
    Some((&FILES[usize::from(which) % FILES.len()], bytes))
}

/// What the reader is given: the file, or the folder around it, which is made where it is missing.
///
/// # Panics
/// If the folder cannot be written.
pub fn folder_of(file: &File, root: &Path) -> PathBuf {
    let Some((folder, _)) = file.path.split_once('/') else { return root.join(file.path) };
    let folder = root.join(folder);
    if folder.is_dir() {
        return folder;
    }
    std::fs::create_dir(&folder).expect("a folder");
    match file.reader {
        Reader::Model => export(&folder),
        _ => std::fs::write(folder.join("a.jpg"), "a photo").expect("written"),
    }
    folder
}

fn export(folder: &Path) {
    let golden = project().join("tests/golden/clip");
    for (name, from) in EXPORT {
        std::fs::copy(golden.join(from), folder.join(name)).expect("copied");
    }
}

/// The project's folder.
pub fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
