//! Where the tests find things.

use std::path::{Path, PathBuf};

/// The project's root.
pub fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The golden references.
pub fn golden() -> PathBuf {
    project().join("tests/golden")
}

/// The bundled model.
pub fn model() -> PathBuf {
    project().join("models/mini")
}

/// The COCO photos beside the project, or `None` with a loud word: they are not part of it.
pub fn coco() -> Option<PathBuf> {
    let path = project().join("../shared/data/coco-train80");
    if path.is_dir() {
        return Some(path);
    }
    eprintln!("SKIPPED: {} is not there, so nothing was compared on COCO photos", path.display());
    None
}
