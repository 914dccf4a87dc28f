//! This process's own time, and the Python that benchmarks compare with.
#![allow(dead_code, reason = "each benchmark uses a part of it")]

use std::path::{Path, PathBuf};

/// CPU time of this process, all threads: unlike a rate it tells little of other processes.
pub fn cpu_seconds() -> f64 {
    let stat = fs_err::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    // User and system time, in ticks of 10 ms.
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// `PAIRWRIGHT_PYTHON`, else the one in the environment that `make bench` makes.
pub fn python() -> PathBuf {
    let made = "runtime/bench-venv/bin/python";
    std::env::var_os("PAIRWRIGHT_PYTHON")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(made), PathBuf::from)
}
