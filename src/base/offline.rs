//! The promise of `--offline`: this process fetches no model. It is the process's, so that no path
//! to a socket can forget it.

use std::sync::atomic::{AtomicBool, Ordering};

static OFFLINE: AtomicBool = AtomicBool::new(false);

/// The variable of the hub's own tools.
const HUB_VARIABLE: &str = "HF_HUB_OFFLINE";

/// Gives the promise, for as long as the process lives.
pub fn promise() {
    OFFLINE.store(true, Ordering::Relaxed);
}

/// Whether the promise was given, here or by `HF_HUB_OFFLINE=1`.
pub fn is_on() -> bool {
    let by_variable = || {
        std::env::var(HUB_VARIABLE)
            .is_ok_and(|value| matches!(value.to_lowercase().as_str(), "1" | "on" | "yes" | "true"))
    };
    OFFLINE.load(Ordering::Relaxed) || by_variable()
}
