//! Where the weights lie that a graph keeps in files beside it, whatever links lead there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use super::ModelError;

/// The file that a graph calls `location`: beside the graph, or beside what the graph's path links
/// to. Links may lead anywhere, for whoever keeps the files made them; the graph itself may name no
/// file outside its folder.
///
/// # Errors
/// [`ModelError::WeightsOutside`], or [`ModelError::NoWeights`].
pub fn weights_file(graph: &Path, location: &str) -> Result<PathBuf, ModelError> {
    let (path, name) = (graph.to_owned(), location.to_owned());
    if !stays_inside(location) {
        return Err(ModelError::WeightsOutside { path, name });
    }
    let beside = graph.with_file_name("").join(location);
    if beside.is_file() {
        return Ok(beside);
    }
    let real = fs_err::canonicalize(graph).unwrap_or_else(|_| path.clone());
    let beside_real = real.with_file_name("").join(location);
    if beside_real.is_file() {
        return Ok(beside_real);
    }
    let why = match fs_err::read_link(&beside) {
        Ok(target) => format!("a link to {}, where no file is", target.display()),
        Err(_) if beside.is_dir() => "a folder".to_owned(),
        Err(_) => "not there".to_owned(),
    };
    Err(ModelError::NoWeights { path, name, why })
}

/// Whether a location is a path below the graph's folder.
fn stays_inside(location: &str) -> bool {
    let mut depth = 0i64;
    let inside = Path::new(location).components().all(|part| {
        match part {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir => depth -= 1,
            Component::RootDir | Component::Prefix(_) => return false,
        }
        depth >= 0
    });
    inside && depth > 0
}

/// The real files of a graph's weights.
#[derive(Debug, Default)]
pub(super) struct Weights {
    /// Whether every file really lies in or below the folder that the graph is opened from: what
    /// every version of the runtime opens by itself.
    pub beside: bool,
    /// A folder that holds all of them.
    pub folder: PathBuf,
    /// The path of each below that folder, by the name that the graph has for it.
    pub names: BTreeMap<String, String>,
}

impl Weights {
    /// Finds the files that `graph` calls `locations`.
    ///
    /// # Errors
    /// As [`weights_file`], or a file cannot be read.
    pub fn find(graph: &Path, locations: &BTreeSet<String>) -> Result<Self, ModelError> {
        let real = |path: &Path| {
            fs_err::canonicalize(path)
                .map_err(|source| ModelError::Io { path: path.to_owned(), source })
        };
        let folder = real(match graph.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        })?;
        let mut files = BTreeMap::new();
        for location in locations {
            files.insert(location.clone(), real(&weights_file(graph, location)?)?);
        }
        if files.iter().all(|(location, file)| is_below(&folder, location, file)) {
            let names = locations.iter().map(|name| (name.clone(), name.clone())).collect();
            return Ok(Self { beside: true, folder, names });
        }
        let folders = files.values().filter_map(|file| file.parent());
        let folder = folders.map(Path::to_owned).reduce(|one, other| shared(&one, &other));
        let folder = folder.unwrap_or_default();
        let below = |file: &Path| {
            let parts = file.strip_prefix(&folder).unwrap_or(file).iter();
            parts.map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/")
        };
        let names = files.iter().map(|(name, file)| (name.clone(), below(file))).collect();
        Ok(Self { beside: false, folder, names })
    }
}

/// Whether `location` itself, not only where links lead from it, is in the real folder.
fn is_below(folder: &Path, location: &str, file: &Path) -> bool {
    file.starts_with(folder) && folder.join(location).is_file()
}

/// The longest path that both begin with.
fn shared(one: &Path, other: &Path) -> PathBuf {
    one.components().zip(other.components()).take_while(|(a, b)| a == b).map(|(a, _)| a).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_below_the_graphs_folder() {
        for inside in ["model.onnx_data", "./weights/a.bin", "a/../b.bin", "..data"] {
            assert!(stays_inside(inside), "{inside}");
        }
        for outside in ["../a", "/etc/passwd", "a/../../b", "a/../..", "", ".", "a/.."] {
            assert!(!stays_inside(outside), "{outside}");
        }
    }

    #[test]
    fn what_paths_share() {
        assert_eq!(shared(Path::new("/a/b/c"), Path::new("/a/b/d/e")), Path::new("/a/b"));
        assert_eq!(shared(Path::new("/a"), Path::new("/b")), Path::new("/"));
    }
}
