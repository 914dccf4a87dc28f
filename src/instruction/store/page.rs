//! Lists in pages.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::InstructionStore;
use super::catalog::StoredInstruction;
use super::error::LibraryStoreError;
use crate::base::hash;

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
