//! Why an item of a source cannot be used.

use crate::base::failure::Failure;
use crate::dataset::record::{Rejection, Stage};
use crate::sandbox::ConfineError;

/// Why one item cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub code: &'static str,
    pub reason: String,
    /// The reason begins with its place.
    placed: bool,
}

impl Refusal {
    pub fn new(code: &'static str, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into(), placed: false }
    }

    /// A file that cannot be read, which is `code` unless it may not be.
    pub fn unreadable(code: &'static str, error: &ConfineError) -> Self {
        let code = if error.is_outside() { error.code() } else { code };
        Self::new(code, error.to_string())
    }

    /// The same refusal with the place it was met at before its reason, unless one stands there,
    /// which says more.
    pub fn at(self, place: &str) -> Self {
        if self.placed {
            return self;
        }
        Self { reason: format!("{place}: {}", self.reason), placed: true, ..self }
    }

    /// Whether nothing is said of the photo, and nothing else is wrong.
    pub fn is_for_want_of_text(&self) -> bool {
        ["missing_description", "empty_description"].contains(&self.code)
    }

    pub fn into_rejection(self, subject: &str) -> Rejection {
        Rejection {
            stage: Stage::Source,
            code: self.code.to_owned(),
            reason: self.reason,
            subject: subject.to_owned(),
        }
    }
}
