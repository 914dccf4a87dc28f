//! Reading what jobs of other kinds than pairs came to.

use std::path::PathBuf;

use super::{JobKind, JobManager, JobRecord, ManagerError, blocking};
use crate::evaluate::{self, Agreement, JudgeResults, QuestionResult, Rule};
use crate::generate::folder;
use crate::instruction::lineage::LineageRow;

/// One page of a job's rows.
#[derive(Debug, Clone, PartialEq)]
pub struct RowPage<T> {
    pub rows: Vec<T>,
    /// Gives the next page; `None` on the last.
    pub next_token: Option<String>,
}

impl JobManager {
    /// A job that must be of `wanted`'s kind.
    ///
    /// # Errors
    /// `NoJob`, `JobKind`, or the store's.
    pub async fn get_kind(&self, id: &str, wanted: JobKind) -> Result<JobRecord, ManagerError> {
        let record = self.get(id).await?;
        if record.kind == wanted {
            return Ok(record);
        }
        Err(ManagerError::JobKind { id: record.id, found: record.kind, wanted })
    }

    /// A page of a generation's clusters with their instructions and lineage; none before the first
    /// clustering. `token` is empty for the first page.
    ///
    /// # Errors
    /// `NoJob`, `JobKind`, `InvalidToken`, or the store's.
    pub async fn generated(
        &self,
        id: &str,
        page_size: usize,
        token: &str,
    ) -> Result<RowPage<LineageRow>, ManagerError> {
        let start = parse_offset(token)?;
        let folder = self.folder_of(id, JobKind::Generate).await?;
        let read = move || match folder::open_if_there(&folder)? {
            Some(store) => Ok(page(store.lineage()?, start, page_size)),
            None => Ok(page(Vec::new(), start, page_size)),
        };
        blocking(read).await?
    }

    /// What an evaluation came to, and the folder that holds it.
    ///
    /// # Errors
    /// `NoJob`, `JobKind`, `Evaluation` while there are no results, or the store's.
    pub async fn evaluated(&self, id: &str) -> Result<(PathBuf, JudgeResults), ManagerError> {
        let folder = self.folder_of(id, JobKind::Judge).await?;
        blocking(move || Ok((folder.clone(), evaluate::read_results(&folder)?))).await?
    }

    /// A page of an evaluation's questions; `token` is empty for the first.
    ///
    /// # Errors
    /// As [`JobManager::evaluated`], and `InvalidToken`.
    pub async fn verdicts(
        &self,
        id: &str,
        page_size: usize,
        token: &str,
    ) -> Result<RowPage<QuestionResult>, ManagerError> {
        let start = parse_offset(token)?;
        let (_, results) = self.evaluated(id).await?;
        Ok(page(results.verdicts, start, page_size))
    }

    /// How far the judges of two jobs agree.
    ///
    /// # Errors
    /// As [`JobManager::evaluated`], and `Evaluation` where they judged other questions or answers.
    pub async fn agreement(
        &self,
        one: &str,
        other: &str,
        rule: Rule,
    ) -> Result<Agreement, ManagerError> {
        let one = self.folder_of(one, JobKind::Judge).await?;
        let other = self.folder_of(other, JobKind::Judge).await?;
        Ok(blocking(move || evaluate::compare(&one, &other, rule)).await??)
    }

    async fn folder_of(&self, id: &str, kind: JobKind) -> Result<PathBuf, ManagerError> {
        Ok(self.inner.run_folder(&self.get_kind(id, kind).await?.run_id))
    }
}

fn page<T>(mut rows: Vec<T>, start: usize, size: usize) -> RowPage<T> {
    let start = start.min(rows.len());
    let end = start.saturating_add(size.max(1)).min(rows.len());
    let next_token = (end < rows.len()).then(|| end.to_string());
    RowPage { rows: rows.drain(start..end).collect(), next_token }
}

fn parse_offset(token: &str) -> Result<usize, ManagerError> {
    if token.is_empty() {
        return Ok(0);
    }
    let invalid = || ManagerError::InvalidToken { token: token.chars().take(100).collect() };
    token.parse().map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_cover_all_rows_once() {
        let (mut all, mut token) = (Vec::new(), String::new());
        loop {
            let start = parse_offset(&token).expect("a token");
            let one = page((0..7).collect::<Vec<_>>(), start, 3);
            all.extend(one.rows);
            match one.next_token {
                Some(next) => token = next,
                None => break,
            }
        }
        assert_eq!(all, (0..7).collect::<Vec<_>>());
        assert!(page(vec![1], usize::MAX, 3).rows.is_empty());
        assert!(parse_offset("-1").is_err() && parse_offset("x").is_err());
    }
}
