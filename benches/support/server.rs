//! A real `pairwright serve` for the benchmarks, ended when dropped.
#![allow(dead_code, reason = "each benchmark uses a part of it")]

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tonic::transport::{Channel, Endpoint};

#[path = "photos.rs"]
mod photos;

use photos::{files, folder};

/// A server on a free port over a data folder of its own.
pub struct Server {
    child: Child,
    pub address: String,
    pub metrics: String,
    pub log: PathBuf,
}

impl Server {
    /// Starts the release binary and waits until it serves.
    pub fn start(data: &Path, flags: &[&str]) -> Self {
        Self::start_program(env!("CARGO_BIN_EXE_pairwright").as_ref(), data, flags)
    }

    /// Starts that program, which may be another version of this one.
    pub fn start_program(program: &OsStr, data: &Path, flags: &[&str]) -> Self {
        let log = data.join("server.log");
        let output = fs_err::OpenOptions::new().create(true).append(true).open(&log).expect("log");
        let mut child = Command::new(program)
            .args(["serve", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"])
            .arg("--data")
            .arg(data)
            .args(flags)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdout(Stdio::piped())
            .stderr(output.into_file())
            .spawn()
            .expect("the server starts");
        let stdout = child.stdout.take().expect("piped");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let word = |after: &str| {
            let rest = line.split_once(after).unwrap_or_else(|| panic!("{line:?}, see {log:?}")).1;
            rest.split([' ', ',', ')']).next().unwrap_or_default().to_owned()
        };
        let (address, metrics) = (word("serving on "), word("metrics "));
        Self { child, address, metrics, log }
    }

    /// A connection of its own.
    pub async fn connect(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).expect("address");
        endpoint.connect_timeout(Duration::from_secs(10)).connect().await.expect("connects")
    }

    /// Resident memory in MiB.
    pub fn resident_mib(&self) -> f64 {
        let path = format!("/proc/{}/statm", self.child.id());
        let text = fs_err::read_to_string(path).expect("Linux");
        let pages: f64 = text.split(' ').nth(1).expect("a field").parse().expect("a number");
        pages * 4096.0 / f64::from(1 << 20)
    }

    /// Lines of the log that tell of a panic.
    pub fn panics(&self) -> usize {
        let log = fs_err::read_to_string(&self.log).expect("log");
        log.lines().filter(|line| line.contains("panicked")).count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Percentile `q` (0 to 1) of durations in milliseconds.
pub fn percentile(sorted: &[f64], q: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * q).round() as usize).copied().unwrap_or(f64::NAN)
}

/// JPEG files to send: the COCO photos beside the project, else the samples.
pub fn photos() -> Vec<Vec<u8>> {
    let paths = files(&folder());
    paths.iter().map(|path| fs_err::read(path).expect("a photo")).collect()
}
