//! Where files of the installation are: beside the current folder or beside the executable.

use std::path::PathBuf;

/// Folders in which `relative` may lie, best first: below the current folder, then below each
/// parent of the executable, so that `target/release/pairwright` finds its own checkout.
pub fn candidates(relative: &str) -> Vec<PathBuf> {
    let mut roots: Vec<PathBuf> = std::env::current_dir().into_iter().collect();
    if let Ok(executable) = std::env::current_exe() {
        roots.extend(executable.ancestors().skip(1).map(PathBuf::from));
    }
    let mut found: Vec<PathBuf> = Vec::new();
    for root in roots {
        let candidate = root.join(relative);
        if !found.contains(&candidate) {
            found.push(candidate);
        }
    }
    found
}

/// The first of [`candidates`] that exists.
pub fn find(relative: &str) -> Option<PathBuf> {
    candidates(relative).into_iter().find(|path| path.exists())
}
