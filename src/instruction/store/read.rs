//! Reading the library: the instructions nearest to a vector, pages, and the whole as a file.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use super::error::LibraryStoreError;
use super::live::{Live, StoredInstruction};
use super::{InstructionFilter, InstructionStore, locked};
use crate::base::hash;
use crate::base::json;
use crate::dataset::sink::{SinkError, StagedFile};
use crate::index::{Ask, Hit, IndexError, Modality, unit};
use crate::instruction::library;

/// A category of at most this many instructions is compared one by one: some milliseconds at
/// width 384, and exact.
pub(super) const SCAN_UP_TO: usize = 4096;

/// Rows compared in one holding of the lock.
pub(super) const SCAN_STEP: usize = 1024;

/// The most hits fetched from the index in the hope of enough from one category.
pub(super) const MOST_FETCHED: usize = 4096;

/// An instruction and its cosine similarity with the query, in [-1, 1].
pub type Found = (StoredInstruction, f32);

impl InstructionStore {
    /// The `k` instructions nearest to `query`, most similar first, of one category if it is
    /// given. Fewer when there are fewer.
    ///
    /// # Errors
    /// `k` is 0, or the query has the wrong width, a value that is not finite, or length zero.
    pub fn search(
        &self,
        query: &[f32],
        k: usize,
        category: Option<&str>,
    ) -> Result<Vec<Found>, LibraryStoreError> {
        self.search_by(Modality::Text, query, k, category)
    }

    /// [`Self::search`] by a query that was embedded from a text or from a photo.
    ///
    /// # Errors
    /// As [`Self::search`].
    pub fn search_by(
        &self,
        of: Modality,
        query: &[f32],
        k: usize,
        category: Option<&str>,
    ) -> Result<Vec<Found>, LibraryStoreError> {
        match category {
            None => {
                let live = self.live.read();
                let hits = live.index.search_many(&[query], Ask::top(k).of(of))?.concat();
                Ok(hits.iter().filter_map(|hit| live.found(hit)).collect())
            }
            Some(category) => Ok(self.search_category(query, k, category)?),
        }
    }

    fn search_category(
        &self,
        query: &[f32],
        k: usize,
        category: &str,
    ) -> Result<Vec<Found>, IndexError> {
        if k == 0 {
            return Err(IndexError::ZeroK);
        }
        let (query, _) = unit(query, self.dim, || "the query".to_owned())?;
        let fetched = {
            let live = self.live.read();
            let many = live.catalog.len(Some(category)) > SCAN_UP_TO;
            if many { live.fetch(&query, k, category)? } else { None }
        };
        fetched.map_or_else(|| self.scan(&query, k, category), Ok)
    }

    /// Compares with every instruction of the category.
    fn scan(&self, query: &[f32], k: usize, category: &str) -> Result<Vec<Found>, IndexError> {
        let rows = self.live.read().catalog.rows(Some(category));
        let mut best: Vec<Found> = Vec::new();
        for part in rows.chunks(SCAN_STEP) {
            let keys: Vec<String> = part.iter().map(u64::to_string).collect();
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            let live = self.live.read();
            let hits = live.index.search_many(&[query], Ask::top(k).among(&keys))?.concat();
            best.extend(hits.iter().filter_map(|hit| live.found(hit)));
            drop(live);
            best.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.row.cmp(&b.0.row)));
            best.truncate(k);
        }
        Ok(best)
    }
}

impl Live {
    fn found(&self, hit: &Hit) -> Option<Found> {
        let row = hit.id.parse().ok()?;
        Some((self.catalog.row(row)?.clone(), hit.similarity))
    }

    /// Fetches more and more hits until enough are of the category; `None` when that takes too
    /// many.
    fn fetch(
        &self,
        query: &[f32],
        k: usize,
        category: &str,
    ) -> Result<Option<Vec<Found>>, IndexError> {
        let (all, some) = (self.index.len(), self.catalog.len(Some(category)));
        let wanted = k.min(some);
        // As if the category lay evenly among the others, with as much again.
        let mut fetched = wanted.saturating_mul(2).saturating_mul(all / some.max(1) + 1);
        while fetched <= MOST_FETCHED {
            let hits = self.index.search(query, fetched)?;
            let of_category = |found: &Found| found.0.category.as_deref() == Some(category);
            let found = hits.iter().filter_map(|hit| self.found(hit)).filter(of_category);
            let found: Vec<_> = found.take(k).collect();
            if found.len() >= wanted {
                return Ok(Some(found));
            }
            fetched *= 4;
        }
        Ok(None)
    }
}

/// The form of a token's bytes: this number, the last row, a check of library and filter.
const TOKEN_VERSION: u8 = 1;

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstructionPage {
    /// In the order in which they were created.
    pub instructions: Vec<StoredInstruction>,
    /// Asks for what follows; `None` at the end.
    pub next_token: Option<String>,
    /// How many instructions the filter lets through, now.
    pub total: usize,
}

impl InstructionStore {
    /// The next `page_size` instructions (0 counts as 1) after the page that gave `token`, of one
    /// category if it is given. What is created or deleted meanwhile neither repeats nor hides
    /// another one.
    ///
    /// # Errors
    /// [`LibraryStoreError::BadPageToken`]: the token is not this library's, or was given for
    /// another filter.
    pub fn list(
        &self,
        page_size: usize,
        token: Option<&str>,
        category: Option<&str>,
    ) -> Result<InstructionPage, LibraryStoreError> {
        let after = token.map_or(Some(0), |token| self.token_row(token, category));
        let after = after.ok_or(LibraryStoreError::BadPageToken)?;
        let live = self.live.read();
        let mut rest = live.catalog.after(after, category);
        let instructions: Vec<_> = rest.by_ref().take(page_size.max(1)).cloned().collect();
        let last = instructions.last().filter(|_| rest.next().is_some());
        let next_token = last.map(|last| self.token(last.row, category));
        Ok(InstructionPage { instructions, next_token, total: live.catalog.len(category) })
    }

    fn token(&self, row: u64, category: Option<&str>) -> String {
        let check = self.token_check(category);
        let bytes = [&[TOKEN_VERSION], &row.to_be_bytes()[..], &check.as_bytes()[..8]].concat();
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn token_row(&self, token: &str, category: Option<&str>) -> Option<u64> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (row, _) = bytes.get(1..)?.split_first_chunk::<8>()?;
        let row = u64::from_be_bytes(*row);
        (self.token(row, category) == token).then_some(row)
    }

    fn token_check(&self, category: Option<&str>) -> String {
        hash::key(&["page", &self.library_id, category.unwrap_or("")])
    }
}

/// What was exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LibraryExport {
    /// What [`Library::read`](crate::instruction::Library::read) will find as the library's hash.
    pub hash: String,
    pub instructions: usize,
    /// The library's revision that the file shows.
    pub revision: u64,
}

/// A line, as `Library::read` takes it.
#[derive(Serialize)]
struct Line<'a> {
    id: &'a str,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requires: Option<&'a [String]>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    tags: &'a [String],
}

impl InstructionStore {
    /// Writes the library to `path` in the form that
    /// [`Library::read`](crate::instruction::Library::read) reads (`.jsonl`), in the order in which
    /// the instructions were created: equal libraries give equal bytes. The file is there
    /// completely or not at all.
    ///
    /// # Errors
    /// The library is empty, which `Library::read` would refuse, or writing failed.
    pub fn export_jsonl(&self, path: &Path) -> Result<LibraryExport, LibraryStoreError> {
        self.export_some(path, &InstructionFilter::default())
    }

    /// As [`Self::export_jsonl`], of the instructions that `filter` lets through.
    ///
    /// # Errors
    /// As [`Self::export_jsonl`]; it is an empty library where none is let through.
    pub fn export_some(
        &self,
        path: &Path,
        filter: &InstructionFilter,
    ) -> Result<LibraryExport, LibraryStoreError> {
        let (mut all, revision) = self.all();
        all.retain(|one| filter.lets_through(one));
        if all.is_empty() {
            return Err(LibraryStoreError::Empty);
        }
        let mut file = StagedFile::create(path)?;
        for one in &all {
            file.put(&line(one, path)?)?;
        }
        file.commit(all.len() as u64)?;
        let fields = all
            .iter()
            .map(|one| (&*one.id, &*one.text, one.category.as_deref(), one.requires.as_deref()));
        let (_, hash) = library::hashes_of(fields);
        Ok(LibraryExport { hash, instructions: all.len(), revision })
    }

    /// Every instruction at one revision.
    fn all(&self) -> (Vec<StoredInstruction>, u64) {
        // Without a writer at work, nobody waits for this reader.
        let _writer = locked(&self.writer);
        (self.live.read().catalog.after(0, None).cloned().collect(), self.revision())
    }
}

fn line(one: &StoredInstruction, path: &Path) -> Result<Vec<u8>, SinkError> {
    let line = Line {
        id: &one.id,
        text: &one.text,
        category: one.category.as_deref(),
        requires: one.requires.as_deref(),
        tags: &one.tags,
    };
    let mut encoded = Vec::new();
    json::append(&mut encoded, &line).map_err(|error| SinkError::encoding(path, error))?;
    encoded.push(b'\n');
    Ok(encoded)
}
