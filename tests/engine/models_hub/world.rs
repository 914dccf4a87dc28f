//! A machine with the program, an empty cache and a catalog of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use pairwright::base::hash::sha256_hex;

use super::hub::{FakeHub, REPO};

/// The tiny export that the hub has, at two precisions.
pub const COMMON: [&str; 4] =
    ["config.json", "preprocessor_config.json", "special_tokens_map.json", "tokenizer.json"];
pub const VISION: &str = "onnx/vision_model.onnx";
pub const TEXT: &str = "onnx/text_model.onnx";

/// Which hashes the catalog knows.
#[derive(Clone, Copy, PartialEq)]
pub enum Pins {
    All,
    None,
}

pub struct World {
    folder: tempfile::TempDir,
    pub hub: FakeHub,
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/clip/clip")
}

pub fn file(path: &str) -> Vec<u8> {
    fs_err::read(golden().join(path)).expect("the golden export")
}

impl World {
    pub fn new(pins: Pins) -> Self {
        let names = ["", "_fp16"].iter().flat_map(|end| {
            [format!("onnx/vision_model{end}.onnx"), format!("onnx/text_model{end}.onnx")]
        });
        let all = COMMON.iter().map(ToString::to_string).chain(names);
        let hub = FakeHub::start(all.map(|path| (path.clone(), file(&path))));
        let world = Self { folder: tempfile::tempdir().expect("temp dir"), hub };
        fs_err::write(world.catalog(), entry(pins)).expect("write");
        world
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn catalog(&self) -> PathBuf {
        self.path("models.toml")
    }

    pub fn cache(&self) -> PathBuf {
        self.path("cache")
    }

    /// A file of the model `tiny` at fp32 in the cache.
    pub fn cached(&self, name: &str) -> PathBuf {
        self.cache().join("tiny/fp32").join(name)
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pairwright"));
        for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
            command.env_remove(name).env_remove(name.to_uppercase());
        }
        for name in ["HF_TOKEN", "HF_TOKEN_PATH", "HF_HUB_OFFLINE", "PAIRWRIGHT_OFFLINE"] {
            command.env_remove(name);
        }
        command
            .args(arguments)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("HF_ENDPOINT", self.hub.endpoint())
            .env("HF_HOME", self.path("hf-home"))
            .env("PAIRWRIGHT_MODELS", self.cache())
            .env("PAIRWRIGHT_CATALOG", self.catalog());
        command
    }

    /// Runs the program to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the program starts")
    }

    /// Runs it, expects this exit code, and returns what it said on both channels.
    pub fn says(&self, arguments: &[&str], code: i32) -> String {
        said(&self.run(arguments), code)
    }

    /// What is in the model's folder, sorted; parts included.
    pub fn files(&self) -> Vec<String> {
        let mut names: Vec<String> = walkdir::WalkDir::new(self.cached(""))
            .into_iter()
            .filter_map(|entry| entry.ok().filter(|entry| entry.file_type().is_file()))
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

pub fn said(output: &Output, code: i32) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let all = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{all}");
    all
}

fn entry(pins: Pins) -> String {
    let line = |path: &str| {
        let bytes = file(path);
        match pins {
            Pins::All => format!(
                "{{ path = \"{path}\", bytes = {}, sha256 = \"{}\" }},\n",
                bytes.len(),
                sha256_hex(&bytes)
            ),
            Pins::None => format!("{{ path = \"{path}\" }},\n"),
        }
    };
    let common: String = COMMON.iter().map(|path| line(path)).collect();
    let graphs = |end: &str| {
        let name = |tower: &str| format!("onnx/{tower}_model{end}.onnx");
        line(&name("vision")) + &line(&name("text"))
    };
    format!(
        "# my own\n[[model]]\nname = \"tiny\"\nrepo = \"{REPO}\"\nlicense = \"MIT\"\n\
         note = \"a tiny one\"\nlogit = {{ scale = 50.0 }}\ncommon = [\n{common}]\n\
         [model.precisions]\nfp32 = [\n{}]\nfp16 = [\n{}]\n",
        graphs(""),
        graphs("_fp16")
    )
}
