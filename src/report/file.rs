//! Saving the page so that a reader never meets half of it.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{ReportData, ReportError, render};

/// Renders `data` and writes the page to `path`: to a temporary file beside it, synced, then
/// renamed over it.
///
/// # Errors
/// [`ReportError::Template`] when rendering fails and [`ReportError::Write`] when saving does; an
/// older report at `path` is then still whole.
pub fn write(data: &ReportData, path: &Path) -> Result<(), ReportError> {
    save_page(&render(data)?, path)
}

/// Writes a page in one step.
pub(super) fn save_page(page: &str, path: &Path) -> Result<(), ReportError> {
    let temporary = temporary_path(path);
    let saved = save(page.as_bytes(), &temporary, path);
    if saved.is_err() {
        // The first error is the one to tell; a leftover temporary file is only untidy.
        let _ = fs_err::remove_file(&temporary);
    }
    saved.map_err(|source| ReportError::Write { path: path.to_owned(), source })
}

fn temporary_path(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.tmp", std::process::id()))
}

fn save(bytes: &[u8], temporary: &Path, path: &Path) -> io::Result<()> {
    let mut file = fs_err::File::create(temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs_err::rename(temporary, path)?;
    sync_folder(path)
}

/// Makes the rename itself durable.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    fs_err::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    fn names(folder: &Path) -> Vec<String> {
        fs_err::read_dir(folder)
            .expect("readable")
            .map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn the_page_replaces_an_older_one_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("report.html");
        fs_err::write(&path, "old").expect("writable");
        write(&fixture::small(), &path).expect("written");
        let page = fs_err::read_to_string(&path).expect("readable");
        assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"));
        assert_eq!(names(folder.path()), ["report.html"]);
    }

    #[test]
    fn a_missing_folder_is_named() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("nowhere").join("report.html");
        let error = write(&fixture::small(), &path).expect_err("no such folder");
        assert_eq!(error.code(), "report_write");
        assert_eq!(error.kind(), crate::ErrorKind::NotFound);
        assert!(error.to_string().contains("nowhere"), "{error}");
    }

    #[test]
    fn a_failed_rename_keeps_what_was_there() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("report.html");
        fs_err::create_dir_all(path.join("in the way")).expect("writable");
        assert!(write(&fixture::small(), &path).is_err());
        assert_eq!(names(folder.path()), ["report.html"]);
    }
}
