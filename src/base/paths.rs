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

/// The path an environment variable holds; an empty one is as good as none.
pub fn from_variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The folder of the user's configuration files: `XDG_CONFIG_HOME`, or `.config` at home.
pub fn user_config() -> Option<PathBuf> {
    user_folder("XDG_CONFIG_HOME", ".config")
}

/// The folder of files that can be had again: `XDG_CACHE_HOME`, or `.cache` at home.
pub fn user_cache() -> Option<PathBuf> {
    user_folder("XDG_CACHE_HOME", ".cache")
}

/// The XDG base directory specification: a relative path in the variable counts as none.
fn user_folder(variable: &str, at_home: &str) -> Option<PathBuf> {
    from_variable(variable)
        .filter(|path| path.is_absolute())
        .or_else(|| std::env::home_dir().map(|home| home.join(at_home)))
}
