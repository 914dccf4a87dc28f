//! Balance: how often one instruction may be used.

use std::collections::HashMap;

/// Counts the pairs of each instruction and refuses those beyond the cap.
#[derive(Debug, Clone, Default)]
pub struct QuotaBook {
    cap: Option<u64>,
    counts: HashMap<String, u64>,
}

impl QuotaBook {
    /// No bound; counts all the same.
    pub fn unlimited() -> Self {
        Self::default()
    }

    /// At most `cap` pairs for each instruction.
    pub fn with_cap(cap: u64) -> Self {
        Self { cap: Some(cap), counts: HashMap::new() }
    }

    /// At most `max_share` of `planned` pairs for each instruction, rounded down, but never less
    /// than 1. A share of 0 or 1 sets no bound.
    pub fn with_share(max_share: f64, planned: u64) -> Self {
        if max_share <= 0.0 || max_share >= 1.0 {
            return Self::unlimited();
        }
        // The margin keeps shares such as 0.29 of 100 from rounding down to 28.
        let cap = (max_share * planned as f64 * (1.0 + 1e-12)).floor() as u64;
        Self::with_cap(cap.max(1))
    }

    /// Adds pairs that stand already, as a resumed run finds them. Counts above the cap are
    /// kept: such an instruction is simply not used again.
    pub fn restore(&mut self, counts: impl IntoIterator<Item = (String, u64)>) {
        for (id, count) in counts {
            *self.counts.entry(id).or_default() += count;
        }
    }

    /// The most pairs one instruction may have; `None` when there is no bound.
    pub fn cap(&self) -> Option<u64> {
        self.cap
    }

    /// The pairs an instruction has.
    pub fn count(&self, id: &str) -> u64 {
        self.counts.get(id).copied().unwrap_or(0)
    }

    /// Whether the instruction may have one more pair.
    pub fn allows(&self, id: &str) -> bool {
        self.cap.is_none_or(|cap| self.count(id) < cap)
    }

    /// Counts one more pair; `false`, and no count, when that would be beyond the cap.
    pub fn take(&mut self, id: &str) -> bool {
        let allowed = self.allows(id);
        if allowed {
            *self.counts.entry(id.to_owned()).or_default() += 1;
        }
        allowed
    }
}
