//! Where the tests find things.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The repository's root, from which the program finds its model and ONNX Runtime.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The golden references.
pub fn golden() -> PathBuf {
    root().join("tests/golden")
}

/// The bundled model.
pub fn model() -> PathBuf {
    root().join("models/mini")
}

/// The COCO photos beside the project, or `None` with a loud word: they are not part of it.
pub fn coco() -> Option<PathBuf> {
    let path = root().join("../shared/data/coco-train80");
    if path.is_dir() {
        return Some(path);
    }
    eprintln!("SKIPPED: {} is not there, so nothing was compared on COCO photos", path.display());
    None
}

/// This test program again, to run only the test `name` of `module` (`module_path!()`), also when
/// it is ignored otherwise.
pub fn again(module: &str, name: &str) -> Command {
    let (_, module) = module.split_once("::").expect("a module of a test program");
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", &format!("{module}::{name}"), "--include-ignored", "--nocapture"]);
    command
}
