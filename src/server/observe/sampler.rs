//! Numbers that nobody reports and someone must fetch.

use std::time::Duration;

use super::Metrics;

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(5);

/// Keeps `pw_process_resident_memory_bytes` up to date for as long as the runtime lives. Elsewhere
/// than on Linux it stays at zero.
pub fn sample_memory(metrics: Metrics) {
    tokio::spawn(async move {
        while let Some(bytes) = resident_bytes() {
            metrics.resident_memory(bytes);
            tokio::time::sleep(INTERVAL).await;
        }
    });
}

/// `VmRSS` in kB: unlike `statm`, no page size must be known for it.
#[cfg(target_os = "linux")]
fn resident_bytes() -> Option<u64> {
    let status = fs_err::read_to_string("/proc/self/status").ok()?;
    parse(&status)
}

#[cfg(not(target_os = "linux"))]
fn resident_bytes() -> Option<u64> {
    None
}

#[cfg(target_os = "linux")]
fn parse(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read() {
        assert_eq!(parse("Name:\tx\nVmRSS:\t   2048 kB\nThreads: 1\n"), Some(2 << 20));
        assert_eq!(parse("Name:\tx\n"), None);
        let bytes = resident_bytes().expect("on Linux");
        assert!((1 << 20..1 << 40).contains(&bytes), "{bytes}");
    }
}
