//! What this process has spent since it began, whatever folder of work it was for: what a server
//! shows in its metrics.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::llm::spent::{Prices, Spent};

/// What language models do here: every name that an account or a call of the service has.
pub const ROLES: [&str; 7] =
    ["augment", "summarize", "describe", "check", "answer", "measure", "judge"];

static SPENT: Mutex<BTreeMap<String, RoleTally>> = Mutex::new(BTreeMap::new());

/// What one role has spent in this process.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct RoleTally {
    pub spent: Spent,
    /// What of it had a price has cost, in the prices' currency.
    pub cost: f64,
}

/// Counts what `role` has spent.
pub fn tally(role: &str, spent: Spent, prices: Option<&Prices>) {
    let mut all = lock();
    let of_role = all.entry(role.to_owned()).or_default();
    of_role.spent += spent;
    of_role.cost += prices.map_or(0.0, |prices| spent.cost(prices));
}

/// What was spent since the process began, by role.
pub fn tallies() -> BTreeMap<String, RoleTally> {
    lock().clone()
}

fn lock() -> MutexGuard<'static, BTreeMap<String, RoleTally>> {
    SPENT.lock().unwrap_or_else(PoisonError::into_inner)
}
