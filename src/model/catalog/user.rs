//! The user's own catalog.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{CatalogError, CatalogModel, entry};
use crate::base::paths;

/// Names the user's catalog; an empty value is as good as none.
const VARIABLE: &str = "PAIRWRIGHT_CATALOG";

/// Where the user's catalog is, whether it exists or not: `PAIRWRIGHT_CATALOG`, or
/// `pairwright/models.toml` in the user's configuration folder.
pub fn user_file() -> Option<PathBuf> {
    paths::from_variable(VARIABLE)
        .or_else(|| Some(paths::user_config()?.join("pairwright/models.toml")))
}

/// Reads the user's catalog; one that is not there has no models.
pub(super) fn read(path: &Path) -> Result<Vec<CatalogModel>, CatalogError> {
    match fs_err::read_to_string(path) {
        Ok(text) => entry::parse(&text, path),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(CatalogError::Io { path: path.to_owned(), source }),
    }
}

#[derive(Serialize)]
struct Appended<'a> {
    model: [&'a CatalogModel; 1],
}

/// Appends a model, so that what the user wrote there, comments too, stays as it is.
pub(super) fn append(path: &Path, model: &CatalogModel) -> Result<(), CatalogError> {
    if read(path)?.iter().any(|known| known.name == model.name) {
        return Err(CatalogError::Exists { path: path.to_owned(), name: model.name.clone() });
    }
    let problem =
        |problem| CatalogError::Entry { path: path.to_owned(), name: model.name.clone(), problem };
    model.validate().map_err(problem)?;
    let text = toml::to_string(&Appended { model: [model] })
        .map_err(|error| problem(error.to_string()))?;
    write(path, &text).map_err(|source| CatalogError::Io { path: path.to_owned(), source })
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs_err::create_dir_all(folder)?;
    }
    let mut file = fs_err::OpenOptions::new().create(true).append(true).open(path)?;
    file.write_all(format!("\n{text}").as_bytes())?;
    file.sync_all()
}
