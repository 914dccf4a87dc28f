//! Saving the page so that a reader never meets half of it.

use std::path::Path;

use super::{ReportData, ReportError, render};
use crate::base::durable;

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
    durable::write(path, page.as_bytes())
        .map_err(|source| ReportError::Write { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::failure::Failure;
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
