//! What a generation came to, for the closing lines of a command and for its report.

use std::fmt;
use std::path::PathBuf;

use crate::Error;
use crate::instruction::lineage::{
    ACCEPTED, Count, GenerationStore, MERGED, StoredFailure, count, losses,
};

use super::clustering::ClusterFacts;
use crate::llm::{Ledger, Spending};

/// Counts over the whole generation, not only this session.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerationSummary {
    pub folder: PathBuf,
    /// Instructions in the library, imported ones included.
    pub library: usize,
    /// Raw instructions that are in it themselves.
    pub members: usize,
    pub seeds: usize,
    pub descriptions: usize,
    /// Descriptions that the source refused.
    pub refused_descriptions: usize,
    /// Outcomes of replies, raw and final instructions.
    pub counts: Vec<Count>,
    /// `None` before the first clustering.
    pub clusters: Option<ClusterFacts>,
    /// Calls without a reply.
    pub failures: Vec<StoredFailure>,
    /// Replies this generation rests on, their prompt and completion tokens.
    pub usage: (u64, u64, u64),
    /// What both models have spent, in all sessions; nothing for a part of a run, which counts it.
    pub spending: Spending,
}

impl GenerationSummary {
    /// Reads the figures of the store at `folder`.
    ///
    /// # Errors
    /// SQLite's.
    pub fn read(folder: PathBuf, store: &GenerationStore) -> Result<Self, Error> {
        Ok(Self {
            spending: Ledger::read(&folder)?,
            folder,
            library: store.library()?.len(),
            members: store.picks()?.len(),
            seeds: store.seeds()?.len(),
            descriptions: store.descriptions()?.len(),
            refused_descriptions: store
                .database()
                .meta_json("refused_descriptions")?
                .unwrap_or_default(),
            counts: store.counts()?,
            clusters: ClusterFacts::read(store)?,
            failures: store.failures()?,
            usage: store.usage()?,
        })
    }

    /// Whether calls are left that the same command tries again.
    pub fn is_partial(&self) -> bool {
        self.failures.iter().any(|failure| !failure.refused)
    }

    /// Why the library is empty, where it is: what most clusters met.
    pub fn why_nothing(&self) -> Option<String> {
        if self.library > 0 {
            return None;
        }
        let all = self.count("final", None);
        let why = self.lost("final").first().map_or(String::new(), |(code, count, _)| {
            format!(": {count} of {all} clusters {code}; the report shows what was written")
        });
        Some(format!("no instruction was accepted{why}"))
    }

    /// How many of `of` (`reply`, `raw`, `final`) there are, with `code` or with any.
    pub fn count(&self, of: &str, code: Option<&str>) -> u64 {
        count(&self.counts, of, code)
    }

    /// What was lost of `of`, most frequent first: code, count and share of all in [0, 1].
    pub fn lost(&self, of: &str) -> Vec<(&str, u64, f64)> {
        let all = self.count(of, None).max(1) as f64;
        let lost = losses(&self.counts, of);
        lost.map(|count| (count.code.as_str(), count.count, count.count as f64 / all)).collect()
    }
}

impl fmt::Display for GenerationSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (calls, prompt, completion) = self.usage;
        writeln!(f, "seeds     {}", self.seeds)?;
        writeln!(
            f,
            "written   for {} descriptions ({} refused)",
            self.descriptions, self.refused_descriptions
        )?;
        writeln!(f, "replies   {calls} ({prompt} prompt + {completion} completion tokens)")?;
        if self.spending.total().calls > 0 {
            writeln!(f, "spent     {}", self.spending)?;
        }
        writeln!(
            f,
            "raw       {} accepted of {}",
            self.count("raw", Some(ACCEPTED)),
            self.count("raw", None)
        )?;
        if let Some(facts) = &self.clusters {
            let how = if facts.tried.is_empty() { "given" } else { "by silhouette" };
            writeln!(
                f,
                "clusters  {} of {} instructions ({how}), inertia {:.2}",
                facts.k, facts.points, facts.inertia
            )?;
        }
        let (accepted, merged) =
            (self.count("final", Some(ACCEPTED)), self.count("final", Some(MERGED)));
        writeln!(
            f,
            "final     {accepted} accepted, {merged} merged, {} clusters",
            self.count("final", None)
        )?;
        if self.members > 0 {
            writeln!(f, "members   {} in the library themselves", self.members)?;
        }
        for of in ["reply", "raw", "final"] {
            for (code, count, share) in self.lost(of) {
                writeln!(f, "lost      {count:>6}  {of}: {code} ({:.0} %)", 100.0 * share)?;
            }
        }
        for failure in &self.failures {
            writeln!(f, "failed    {} {}: {}", failure.role, failure.subject, failure.reason)?;
        }
        writeln!(
            f,
            "library   {} instructions in {}",
            self.library,
            self.folder.join("library.jsonl").display()
        )
    }
}
