//! Why a run came to nothing: what most records met at the stage behind which none is left.

use std::fmt;

use crate::base::db::DbError;
use crate::dataset::store::{RejectionCount, Store};
use crate::measure::keep::KeepCounts;

/// The last stage of a run that anything reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LostAt {
    /// No photo could be used.
    Photos,
    /// No photo got an instruction.
    Pairs,
    /// No answer was accepted.
    Answers,
    /// `export.keep` let no sample pass.
    Export,
}

impl LostAt {
    /// How the store names what is refused there.
    fn stages(self) -> &'static [&'static str] {
        match self {
            Self::Photos => &["source", "image"],
            Self::Pairs => &["describe", "match"],
            Self::Answers => &["answer", "filter"],
            Self::Export => &[],
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Photos => "no photo could be used",
            Self::Pairs => "no photo got an instruction",
            Self::Answers => "no answer was accepted",
            Self::Export => "no accepted sample passes export.keep",
        }
    }
}

/// That a run holds nothing, and the most frequent cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nothing {
    pub lost_at: LostAt,
    /// `None` where nothing was refused and no call failed, so that nothing came that far.
    pub cause: Option<Cause>,
}

/// What most of the lost records met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// A code of docs/rejections.md, or an expression of `export.keep`.
    pub code: String,
    pub count: u64,
    /// Everything that was refused or failed there, whatever its code.
    pub of: u64,
    /// The reason of one of them, with its subject where one is known.
    pub example: String,
}

impl Nothing {
    /// The most frequent among `rejections` of that stage and, where it is the answers', `failures`:
    /// (code, count, one reason).
    ///
    /// # Errors
    /// SQLite's.
    pub fn read(
        store: &Store,
        lost_at: LostAt,
        rejections: &[RejectionCount],
        failures: &[(String, u64, String)],
    ) -> Result<Self, DbError> {
        let there = |one: &&RejectionCount| lost_at.stages().contains(&one.stage.as_str());
        let refused: u64 = rejections.iter().filter(there).map(|one| one.count).sum();
        let failures = if lost_at == LostAt::Answers { failures } else { &[] };
        let failed: u64 = failures.iter().map(|(_, count, _)| count).sum();
        let of = refused + failed;
        // Both lists are in order of their counts.
        let rejection = rejections.iter().find(there);
        let failure = failures.first();
        let cause = match (rejection, failure) {
            (Some(one), other) if other.is_none_or(|(_, count, _)| one.count >= *count) => {
                let RejectionCount { stage, code, count } = one;
                let example = store.rejection_examples(stage, code, 1)?.pop();
                let example = example.map(|(subject, reason)| format!("{subject}: {reason}"));
                let example = example.unwrap_or_default();
                Some(Cause { code: code.clone(), count: *count, of, example })
            }
            (_, Some((code, count, reason))) => {
                Some(Cause { code: code.clone(), count: *count, of, example: reason.clone() })
            }
            (_, None) => None,
        };
        Ok(Self { lost_at, cause })
    }

    /// Where `export.keep` left all samples out: the expression that leaves out most.
    pub fn kept(counts: &KeepCounts) -> Option<Self> {
        if counts.kept > 0 || counts.samples == 0 {
            return None;
        }
        let most = counts.expressions.iter().rev().max_by_key(|one| one.left_out)?;
        let cause = Cause {
            code: most.expression.clone(),
            count: most.left_out,
            of: counts.samples,
            example: String::new(),
        };
        Some(Self { lost_at: LostAt::Export, cause: Some(cause) })
    }
}

impl fmt::Display for Nothing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.lost_at.words())?;
        let Some(Cause { code, count, of, example }) = &self.cause else {
            return f.write_str("; nothing came that far");
        };
        if self.lost_at == LostAt::Export {
            return write!(f, ": `{code}` leaves out {count} of {of}; loosen it");
        }
        write!(f, ": {count} of {of} {code}, such as {example}; ")?;
        match code.as_str() {
            "missing_image" => f.write_str("check --images and the paths that the source names"),
            _ => write!(f, "docs/rejections.md tells what to do about {code}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_cause_of_the_stage_is_named() {
        let folder = tempfile::tempdir().expect("temp dir");
        let store = Store::create(&folder.path().join("run.sqlite")).expect("a store");
        let count = |stage: &str, code: &str, count| RejectionCount {
            stage: stage.into(),
            code: code.into(),
            count,
        };
        let rejections = [
            count("image", "missing_image", 9),
            count("filter", "refusal", 3),
            count("source", "empty_id", 2),
            count("answer", "llm_content_policy", 1),
        ];
        let failures = [("llm_timeout".to_owned(), 4, "late".to_owned())];
        let said = |lost_at, failures: &[_]| {
            Nothing::read(&store, lost_at, &rejections, failures).expect("read").to_string()
        };
        let photos = said(LostAt::Photos, &failures);
        assert!(photos.starts_with("no photo could be used: 9 of 11 missing_image, "), "{photos}");
        assert!(photos.contains("check --images"), "{photos}");
        assert_eq!(
            said(LostAt::Pairs, &failures),
            "no photo got an instruction; nothing came that far"
        );
        let answers = said(LostAt::Answers, &failures);
        let expected =
            "no answer was accepted: 4 of 8 llm_timeout, such as late; docs/rejections.md";
        assert!(answers.starts_with(expected), "{answers}");
        assert!(said(LostAt::Answers, &[]).contains(": 3 of 4 refusal, "));
    }
}
