//! This process's own time, and the Python that benchmarks compare with.
#![allow(dead_code, reason = "each benchmark uses a part of it")]

use std::path::{Path, PathBuf};

/// CPU time of this process, all threads: unlike a rate it tells little of other processes.
pub fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// `PAIRWRIGHT_PYTHON`, else the one in the environment that `make bench` makes.
pub fn python() -> PathBuf {
    let made = "runtime/bench-venv/bin/python";
    std::env::var_os("PAIRWRIGHT_PYTHON")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(made), PathBuf::from)
}
