//! What an evaluation leaves for people and programs: JSON, CSV, a table, an HTML report.

mod csv;
mod page;
mod table;

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::EvaluationError;
use super::folder::EvaluationFolder;
use super::leaderboard::LeaderboardResults;
use super::results::JudgeResults;
use crate::Error;
use crate::dataset::sink::StagedFile;

pub use table::{agreement_table, judge_table, ranking_table};

/// Everything, for programs.
pub const RESULTS_FILE: &str = "results.json";
/// One row per question.
pub const VERDICTS_FILE: &str = "verdicts.csv";
/// The page for people.
pub const REPORT_FILE: &str = "report.html";

/// Writes the three files of a judged pair, each whole or not at all.
pub(super) fn write_judge(folder: &EvaluationFolder, results: &JudgeResults) -> Result<(), Error> {
    save_json(&folder.file(RESULTS_FILE), results)?;
    save(&folder.file(VERDICTS_FILE), csv::verdicts(results).as_bytes())?;
    save(&folder.file(REPORT_FILE), page::judge(results)?.as_bytes())
}

/// Puts `bytes` in the place of an earlier file, in one step.
pub(super) fn save(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut file = StagedFile::create(path)?;
    file.put(bytes)?;
    file.commit(1)?;
    Ok(())
}

/// As [`save`], for anything that serialises.
pub(super) fn save_json<T: Serialize>(path: &Path, value: &T) -> Result<(), Error> {
    let mut text = serde_json::to_vec_pretty(value)
        .map_err(|error| EvaluationError::io(path)(std::io::Error::other(error)))?;
    text.push(b'\n');
    save(path, &text)
}

/// Reads results that an earlier evaluation wrote.
///
/// # Errors
/// [`EvaluationError::NoResults`] where there are none, [`EvaluationError::OtherResults`] where
/// they are of another version or kind.
pub fn read_results<T: DeserializeOwned>(folder: &Path) -> Result<T, EvaluationError> {
    let path = folder.join(RESULTS_FILE);
    if !path.is_file() {
        return Err(EvaluationError::NoResults { path: folder.to_owned(), file: RESULTS_FILE });
    }
    let bytes = fs_err::read(&path).map_err(EvaluationError::io(&path))?;
    serde_json::from_slice(&bytes).map_err(|error| EvaluationError::OtherResults {
        path,
        message: format!("no results that this version reads: {error}"),
    })
}

/// Writes the two files of a leaderboard.
pub(super) fn write_leaderboard(
    folder: &EvaluationFolder,
    results: &LeaderboardResults,
) -> Result<(), Error> {
    save_json(&folder.file(RESULTS_FILE), results)?;
    save(&folder.file(REPORT_FILE), page::leaderboard(results)?.as_bytes())
}
