//! Sources of several files: which ones a path names.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{SourceError, SourceKind, facts};
use crate::image::Format;
use crate::sandbox::{FileAccess, FileKind, FolderEntry, remote};

/// The most files that a pattern may name.
const MOST: usize = 100_000;

/// Folders in each other that a dataset's files are looked for in: configurations and their splits.
const DEPTH: usize = 2;

/// Folders of one that tell what it is, at most.
const LOOKED_INTO: usize = 16;

/// The longest description of a dataset on disk that is read, in bytes.
const MAX_STATE_BYTES: u64 = 16 << 20;

/// Whether the name ends so, with a point before it; small and capital letters are the same.
pub(super) fn has_ending(name: &str, endings: &[&str]) -> bool {
    let name = name.to_lowercase();
    endings.iter().any(|ending| {
        name.strip_suffix(*ending).is_some_and(|stem| stem.len() > 1 && stem.ends_with('.'))
    })
}

/// Whether a path that no file has may name several.
pub(super) fn is_pattern(path: &Path) -> bool {
    path.to_str().is_some_and(|path| path.contains(['{', '*', '?']))
}

/// The files that `path` names, in the order in which they are read: itself; those of a folder with
/// one of these endings, in the order of their names; or those that it names as a pattern.
///
/// # Errors
/// There are none, or they cannot be listed.
pub(super) fn of(
    path: &Path,
    endings: &[&str],
    access: &FileAccess,
) -> Result<Vec<PathBuf>, SourceError> {
    let files = match facts(path, access) {
        Ok(found) if found.kind == FileKind::Folder => in_folder(path, endings, access)?,
        Err(SourceError::NotFound { .. }) if is_pattern(path) => expand(path, access)?,
        Ok(_) => vec![path.to_owned()],
        Err(error) => return Err(error),
    };
    if files.is_empty() {
        let path = path.to_owned();
        let dotted: Vec<String> = endings.iter().map(|ending| format!(".{ending}")).collect();
        return Err(SourceError::Empty {
            path,
            expected: format!("files that end with {}", dotted.join(" or ")),
        });
    }
    Ok(files)
}

/// What a folder that nothing else is known of is: photos, unless it holds a dataset's files and no
/// photos. Where it holds folders, they tell, as the hub lays datasets out (`data/train-0.parquet`,
/// `default/train/0.parquet`).
pub(super) fn kind_of_folder(path: &Path, access: &FileAccess) -> Result<SourceKind, SourceError> {
    Ok(kind_below(path, access, DEPTH)?.unwrap_or(SourceKind::Folder))
}

fn kind_below(
    path: &Path,
    access: &FileAccess,
    depth: usize,
) -> Result<Option<SourceKind>, SourceError> {
    let entries = access.list(path)?;
    let names: Vec<(String, bool)> = entries.iter().filter_map(named).collect();
    let has = |wanted: &str| names.iter().any(|(name, folder)| !folder && name == wanted);
    let any =
        |endings: &[&str]| names.iter().any(|(name, folder)| !folder && has_ending(name, endings));
    if has("dataset_dict.json") || (has("state.json") && any(&["arrow"])) {
        return Ok(Some(SourceKind::Arrow));
    }
    if any(Format::ENDINGS) {
        return Ok(Some(SourceKind::Folder));
    }
    let kinds = [
        (SourceKind::Webdataset, &["tar", "tar.gz", "tgz"][..]),
        (SourceKind::Parquet, &["parquet"]),
        (SourceKind::Arrow, &["arrow"]),
    ];
    let mut found = kinds.into_iter().find(|(_, endings)| any(endings)).map(|(kind, _)| kind);
    let folders = names.iter().filter(|(_, folder)| *folder).map(|(name, _)| path.join(name));
    for (at, folder) in folders.enumerate() {
        if depth == 0 || at == LOOKED_INTO {
            // There may be photos in it: a source of photos tells at least what it cannot read.
            return Ok(Some(SourceKind::Folder));
        }
        let kind = match kind_below(&folder, access, depth - 1) {
            Ok(kind) => kind,
            Err(error) if error.could_pass() => return Err(error),
            // The source itself names what it may not read.
            Err(_) => None,
        };
        match kind {
            Some(SourceKind::Folder) => return Ok(kind),
            kind => found = found.or(kind),
        }
    }
    Ok(found)
}

/// Name of an entry that is not hidden, and whether it is a folder.
fn named(entry: &FolderEntry) -> Option<(String, bool)> {
    let name = entry.name.to_str().filter(|name| !name.starts_with('.'))?;
    let kind = entry.kind.as_ref().ok()?;
    Some((name.to_owned(), *kind == FileKind::Folder))
}

/// Which files a dataset on disk consists of.
#[derive(Deserialize)]
struct State {
    #[serde(rename = "_data_files", default)]
    data_files: Vec<DataFile>,
    /// Files of row numbers that say which rows hold.
    #[serde(rename = "_indices_data_files", default)]
    indices: Option<Vec<DataFile>>,
}

#[derive(Deserialize)]
struct DataFile {
    filename: String,
}

#[derive(Deserialize)]
struct Splits {
    splits: Vec<String>,
}

fn in_folder(
    folder: &Path,
    endings: &[&str],
    access: &FileAccess,
) -> Result<Vec<PathBuf>, SourceError> {
    if endings.contains(&"arrow")
        && let Some(Splits { splits }) = described(folder, "dataset_dict.json", access)?
    {
        let mut files = Vec::new();
        for split in splits.iter().filter(|name| is_bare(name)) {
            files.extend(in_split(&folder.join(split), endings, access, DEPTH)?);
        }
        return Ok(files);
    }
    in_split(folder, endings, access, DEPTH)
}

/// The files of a folder that has no splits of its own, and those of its folders, so many deep.
fn in_split(
    folder: &Path,
    endings: &[&str],
    access: &FileAccess,
    depth: usize,
) -> Result<Vec<PathBuf>, SourceError> {
    if endings.contains(&"arrow")
        && let Some(State { data_files, indices }) = described(folder, "state.json", access)?
    {
        if indices.is_some_and(|indices| !indices.is_empty()) {
            let detail = "the dataset's rows are chosen by a file of row numbers; write it out \
                          with flatten_indices() and save it again";
            let path = folder.to_owned();
            return Err(SourceError::Damaged { path, detail: detail.into() });
        }
        let names = data_files.iter().map(|file| &file.filename);
        let files = names.filter(|name| is_bare(name)).map(|name| folder.join(name));
        return Ok(files.collect());
    }
    let entries = access.list(folder)?;
    let (folders, names): (Vec<_>, Vec<_>) =
        entries.iter().filter_map(named).partition(|(_, is_folder)| *is_folder);
    let fitting = names.into_iter().filter(|(name, _)| has_ending(name, endings));
    let mut files: Vec<PathBuf> = fitting.map(|(name, _)| folder.join(name)).collect();
    if depth > 0 {
        for (name, _) in folders {
            files.extend(in_split(&folder.join(name), endings, access, depth - 1)?);
        }
    }
    Ok(files)
}

/// Whether a name that a file tells leads to no other folder.
fn is_bare(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\\'])
}

/// What a file of a dataset on disk says; `None` where there is no such file.
fn described<T: for<'a> Deserialize<'a>>(
    folder: &Path,
    name: &str,
    access: &FileAccess,
) -> Result<Option<T>, SourceError> {
    let path = folder.join(name);
    match facts(&path, access) {
        Ok(found) if found.kind == FileKind::File => {}
        Ok(_) | Err(SourceError::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error),
    }
    let text = std::io::Read::take(access.open(&path)?, MAX_STATE_BYTES);
    match serde_json::from_reader(std::io::BufReader::new(text)) {
        Ok(described) => Ok(Some(described)),
        Err(error) => Err(SourceError::Damaged { path, detail: error.to_string() }),
    }
}

/// The files that a pattern names: braces in their order, wildcards in the order of names. What
/// braces name stands in the list whether there is such a file or not.
fn expand(path: &Path, access: &FileAccess) -> Result<Vec<PathBuf>, SourceError> {
    let bad = |detail: String| SourceError::BadPattern { path: path.to_owned(), detail };
    let text = path.to_str().ok_or_else(|| bad("a pattern is written in UTF-8".into()))?;
    let mut files = Vec::new();
    for text in braces(text).map_err(bad)? {
        // What a remote address begins with is no folder.
        let (start, rest) = remote::split_start(&text);
        let mut found = vec![PathBuf::from(start)];
        for part in Path::new(rest) {
            let part = part.to_string_lossy();
            if !part.contains(['*', '?']) {
                found.iter_mut().for_each(|path| path.push(&*part));
                continue;
            }
            let mut below = Vec::new();
            for folder in found {
                let here = if folder.as_os_str().is_empty() { Path::new(".") } else { &folder };
                // A file among folders has nothing below it.
                if facts(here, access).is_ok_and(|found| found.kind != FileKind::Folder) {
                    continue;
                }
                let names = access.list(here)?;
                let names = names.iter().filter_map(named).filter(|(name, _)| fits(&part, name));
                below.extend(names.map(|(name, _)| folder.join(name)));
            }
            found = below;
        }
        files.extend(found);
        if files.len() > MOST {
            return Err(bad(format!("it names more than {MOST} files")));
        }
    }
    if files.is_empty() {
        return Err(bad("no file has a name of this pattern".into()));
    }
    Ok(files)
}

/// The texts that braces stand for: `{08..11}` counts, as many digits as the first number has, and
/// `{a,b}` lists.
fn braces(text: &str) -> Result<Vec<String>, String> {
    let Some((before, rest)) = text.split_once('{') else { return Ok(vec![text.to_owned()]) };
    let (inside, after) = rest.split_once('}').ok_or_else(|| "a `{` is not closed".to_owned())?;
    let parts: Vec<String> = match inside.split_once("..") {
        Some((from, to)) => {
            let number = |text: &str| {
                let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
                let wrong = || format!("`{{{inside}}}` does not count from one number to another");
                digits.then(|| text.parse::<u64>().ok()).flatten().ok_or_else(wrong)
            };
            let (first, last, width) = (number(from)?, number(to)?, from.len());
            if last < first || last - first >= MOST as u64 {
                return Err(format!("`{{{inside}}}` counts no number of files from 1 to {MOST}"));
            }
            (first..=last).map(|number| format!("{number:0width$}")).collect()
        }
        None => inside.split(',').map(str::to_owned).collect(),
    };
    let rest = braces(after)?;
    if parts.len().saturating_mul(rest.len()) > MOST {
        return Err(format!("it names more than {MOST} files"));
    }
    let all = parts.iter().flat_map(|part| rest.iter().map(move |rest| format!("{part}{rest}")));
    Ok(all.map(|rest| format!("{before}{rest}")).collect())
}

/// Whether a name is of the form of a pattern: `*` stands for any letters, `?` for one.
fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut seen) = (0, 0);
    // Where the last `*` stands, and up to where it reaches.
    let mut star: Option<(usize, usize)> = None;
    while seen < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, seen));
                at += 1;
            }
            Some(one) if *one == '?' || *one == name[seen] => (at, seen) = (at + 1, seen + 1),
            _ => match star {
                Some((place, reach)) => {
                    star = Some((place, reach + 1));
                    (at, seen) = (place + 1, reach + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|rest| *rest == '*')
}

#[cfg(test)]
mod tests {
    use super::super::tests::folder;
    use super::*;

    #[test]
    fn braces_count_and_list() {
        let texts = |text: &str| braces(text).expect("a pattern");
        assert_eq!(texts("a.tar"), ["a.tar"]);
        assert_eq!(texts("s{08..10}.tar"), ["s08.tar", "s09.tar", "s10.tar"]);
        assert_eq!(texts("{a,b}/{1..2}"), ["a/1", "a/2", "b/1", "b/2"]);
        for wrong in ["{1", "{2..1}", "{a..b}", "{0..999999999}", "{0..9999}{0..9999}"] {
            assert!(braces(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_name_that_leads_to_another_folder_or_to_its_own_is_not_bare() {
        assert!(is_bare("train") && is_bare("data-0.arrow"));
        for name in ["", ".", "..", "a/b", "a\\b"] {
            assert!(!is_bare(name), "{name:?}");
        }
    }

    #[test]
    fn wildcards_fit_names() {
        for (pattern, name) in
            [("*", "a"), ("*.tar", "a.b.tar"), ("a?c*", "abc"), ("*a*b", "xaayb"), ("ü?", "üö")]
        {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("*.tar", "a.tar.gz"), ("?", ""), ("a*b", "ac"), ("?", "ab")] {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn patterns_name_files_in_order() {
        let files = ["b/1.tar", "a/1.tar", "a/0.tar", "a/x.txt", "a/.h.tar"];
        let folder = folder(&files.map(|name| (name, &b""[..])));
        let expanded = |pattern: &str| {
            let found = expand(&folder.path().join(pattern), &FileAccess::Anywhere);
            let names = |path: PathBuf| {
                path.strip_prefix(folder.path()).expect("below").display().to_string()
            };
            found.map(|found| found.into_iter().map(names).collect::<Vec<_>>())
        };
        assert_eq!(expanded("*/*.tar").expect("files"), ["a/0.tar", "a/1.tar", "b/1.tar"]);
        assert_eq!(expanded("{b,a}/?.tar").expect("files"), ["b/1.tar", "a/0.tar", "a/1.tar"]);
        assert_eq!(expanded("a/{0..2}.tar").expect("files"), ["a/0.tar", "a/1.tar", "a/2.tar"]);
        assert!(expanded("a/*.zip").expect_err("none").to_string().contains("no file"));
    }

    #[test]
    fn a_split_has_no_splits_of_its_own() {
        let folder = folder(&[
            ("dataset_dict.json", br#"{"splits": ["train", "test"]}"#),
            ("train/dataset_dict.json", br#"{"splits": ["deeper"]}"#),
            ("train/state.json", br#"{"_data_files": [{"filename": "0.arrow"}]}"#),
            ("train/deeper/state.json", br#"{"_data_files": [{"filename": "1.arrow"}]}"#),
            ("test/2.arrow", b""),
        ]);
        let files = of(folder.path(), &["arrow"], &FileAccess::Anywhere).expect("files");
        let expected = ["train/0.arrow", "test/2.arrow"].map(|name| folder.path().join(name));
        assert_eq!(files, expected);
    }

    #[test]
    fn a_folder_is_photos_unless_it_holds_nothing_but_a_datasets_files() {
        let kind = |files: &[&str]| {
            let files: Vec<(&str, &[u8])> = files.iter().map(|name| (*name, &b""[..])).collect();
            kind_of_folder(folder(&files).path(), &FileAccess::Anywhere).expect("a folder")
        };
        assert_eq!(
            kind(&["0.tar", "1.tar.gz", "0.parquet", "0_stats.json"]),
            SourceKind::Webdataset
        );
        assert_eq!(kind(&["a.parquet"]), SourceKind::Parquet);
        assert_eq!(kind(&["README.md", "data/train-0.parquet"]), SourceKind::Parquet);
        assert_eq!(kind(&["README.md", "data/TRAIN-0.PARQUET"]), SourceKind::Parquet);
        assert_eq!(kind(&["default/train/0.parquet", "README.md"]), SourceKind::Parquet);
        assert_eq!(kind(&["train/0.tar", "test/0.tar"]), SourceKind::Webdataset);
        assert_eq!(kind(&["annotations/0.parquet", "images/a.jpg"]), SourceKind::Folder);
        assert_eq!(kind(&["a/b/c/0.parquet"]), SourceKind::Folder);
        assert_eq!(kind(&["0.parquet", "val/1.parquet", "docs/a.txt"]), SourceKind::Parquet);
        assert_eq!(kind(&["backup/old.tar", "photos/2024/05/a.jpg"]), SourceKind::Folder);
        assert_eq!(kind(&["data/a.parquet/a.jpg"]), SourceKind::Folder);
        assert_eq!(kind(&["data-0.arrow", "state.json"]), SourceKind::Arrow);
        assert_eq!(kind(&["dataset_dict.json", "train/state.json"]), SourceKind::Arrow);
        assert_eq!(kind(&["a.jpg", "a.tar"]), SourceKind::Folder);
        assert_eq!(kind(&["0.parquet", "0/a.jpg"]), SourceKind::Folder);
        assert_eq!(kind(&["old.tar", "photos/a.jpg"]), SourceKind::Folder);
    }
}
