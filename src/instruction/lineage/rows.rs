//! What the stages found, as rows.

/// How a reply could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadingRow {
    pub call_key: String,
    /// `augment` or `summarize`.
    pub role: &'static str,
    /// The form, or the code of what was wrong.
    pub outcome: String,
    /// Instructions in it.
    pub found: usize,
}

/// An instruction the LLM wrote for a description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawRow {
    /// Place among all raw instructions, from 0: description by description, in each reply's order.
    pub place: usize,
    /// Key of the text.
    pub key: String,
    pub text: String,
    /// Place of its description.
    pub description: usize,
    /// Ids of the seeds shown, in their order.
    pub seeds: Vec<String>,
    pub call_key: String,
    /// `accepted`, or the code of its refusal.
    pub verdict: String,
    /// Empty when accepted.
    pub reason: String,
}

/// One cluster.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClusterRow {
    pub cluster: usize,
    /// Members.
    pub size: usize,
    /// Sum of the members' squared distances to the centre.
    pub inertia: f64,
}

/// An accepted raw instruction in its cluster.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MemberRow {
    /// Place of the raw instruction.
    pub raw: usize,
    pub cluster: usize,
    /// 0 is nearest the centre.
    pub rank: usize,
    /// Euclidean distance to the centre.
    pub distance: f64,
}

/// What a cluster came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinalRow {
    pub cluster: usize,
    /// The instruction's id in the library; empty when nothing came of the cluster.
    pub id: String,
    pub text: String,
    pub call_key: String,
    /// Places of the raw instructions that the LLM saw, nearest first.
    pub shown: Vec<usize>,
    /// Replies that were read.
    pub attempts: u32,
    /// `accepted`, `merged`, or the code of the last refusal.
    pub verdict: String,
    pub reason: String,
    /// The cluster whose instruction stands for this one's.
    pub merged_into: Option<usize>,
}

/// A refused attempt at a final instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusalRow {
    pub call_key: String,
    pub cluster: usize,
    pub text: String,
    pub code: String,
    pub reason: String,
}
