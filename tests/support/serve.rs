//! A real `pairwright serve` for tests: its own folders, a free port, ended when dropped.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use pairwright::server::pb;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};
use tonic_types::{ErrorInfo, RpcStatusExt, StatusExt};

pub use super::paths::root;

/// The sample photos, which every server here may read.
pub fn samples() -> PathBuf {
    root().join("samples/photos")
}

/// A server and its folder.
pub struct Server {
    child: Child,
    pub address: String,
    pub metrics: String,
    flags: Vec<String>,
    folder: PathBuf,
    _temporary: Option<tempfile::TempDir>,
}

impl Server {
    /// A server over a new data folder. Only `samples/photos` and the folder `photos` beside the
    /// data may be read by path.
    pub fn start(flags: &[&str]) -> Self {
        let temporary = tempfile::tempdir().expect("temp dir");
        let folder = temporary.path().to_owned();
        let mut server = Self::over(&folder, flags);
        server._temporary = Some(temporary);
        server
    }

    /// A server over the data folder of an earlier one.
    pub fn over(folder: &Path, flags: &[&str]) -> Self {
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        fs_err::create_dir_all(folder.join("photos")).expect("create");
        let (child, address, metrics) = spawn(folder, &flags);
        let folder = folder.to_owned();
        Self { child, address, metrics, flags, folder, _temporary: None }
    }

    /// A server by a line of words as a reader types it in `folder`, on free ports.
    pub fn by_words(folder: &Path, words: &[String]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pairwright"));
        let mut words = words.iter();
        let mut host = "127.0.0.1".to_owned();
        while let Some(word) = words.next() {
            if word == "--listen" {
                let listen = words.next().expect("an address");
                host = listen.rsplit_once(':').expect("IP:PORT").0.to_owned();
            } else {
                command.arg(word);
            }
        }
        command.args(["--metrics-listen", "127.0.0.1:0"]);
        command.current_dir(folder);
        let listen = format!("{host}:0");
        let (child, address, metrics) = launch(command, folder, &listen);
        let (folder, flags) = (folder.to_owned(), Vec::new());
        Self { child, address, metrics, flags, folder, _temporary: None }
    }

    /// The folder that holds `data`, `photos` and `server.log`.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What the server wrote to standard error so far.
    pub fn log(&self) -> String {
        fs_err::read_to_string(self.folder.join("server.log")).expect("log")
    }

    /// `kill -9`, without a start afterwards.
    pub fn kill(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("reaped");
    }

    /// Starts again, on another port, with the same flags.
    pub fn restart(&mut self) {
        let (child, address, metrics) = spawn(&self.folder, &self.flags);
        (self.child, self.address, self.metrics) = (child, address, metrics);
    }

    /// SIGTERM, and how it ended.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait(Duration::from_secs(60))
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status().expect("kill runs");
        assert!(sent.success());
    }

    /// Bytes of memory that are resident now.
    pub fn resident(&self) -> u64 {
        let status = fs_err::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("a process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
        let kib = line.trim().trim_end_matches(" kB").parse::<u64>();
        kib.expect("a number") << 10
    }

    /// Waits for the end.
    pub fn wait(&mut self, longest: Duration) -> ExitStatus {
        let until = Instant::now() + longest;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            assert!(Instant::now() < until, "still running: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A figure of the metrics page, 0 before it was first counted; without labels the sum of all
    /// series of that name.
    pub async fn metric(&self, series: &str) -> f64 {
        let page = reqwest::get(&self.metrics).await.expect("the page").text().await.expect("text");
        let values = page.lines().filter_map(|line| line.rsplit_once(' ')).filter(|(name, _)| {
            *name == series || name.strip_prefix(series).is_some_and(|more| more.starts_with('{'))
        });
        values.map(|(_, value)| value.parse::<f64>().expect("a number")).sum()
    }

    /// Waits until a figure of the metrics page is as it should be.
    pub async fn until_metric(&self, series: &str, holds: impl Fn(f64) -> bool) {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let value = self.metric(series).await;
            if holds(value) {
                return;
            }
            assert!(Instant::now() < until, "{series} is still {value}: {}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// A connection of its own.
    pub async fn connect(&self) -> Channel {
        connect(&self.address).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the server's log:\n{}", self.log());
        }
    }
}

/// A connection to `address`.
pub async fn connect(address: &str) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
    endpoint.connect_timeout(Duration::from_secs(10)).connect().await.expect("connects")
}

/// The program with the flags that every test server shares.
pub fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pairwright"));
    command
        .env("PAIRWRIGHT__SERVE__LIMITS__LAME_DUCK_SECONDS", "0")
        .args(["serve", "--metrics-listen", "127.0.0.1:0", "--data"])
        .arg(folder.join("data"))
        .arg("--image-root")
        .arg(samples())
        .arg("--image-root")
        .arg(folder.join("photos"))
        .current_dir(root());
    command
}

fn spawn(folder: &Path, flags: &[String]) -> (Child, String, String) {
    let mut command = command(folder);
    command.args(flags);
    launch(command, folder, "127.0.0.1:0")
}

fn launch(mut command: Command, folder: &Path, listen: &str) -> (Child, String, String) {
    let log = fs_err::OpenOptions::new().create(true).append(true).open(folder.join("server.log"));
    let mut child = command
        .args(["--listen", listen])
        .stdout(Stdio::piped())
        .stderr(log.expect("log").into_file())
        .spawn()
        .expect("the server starts");
    let stdout = child.stdout.take().expect("piped");
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).expect("a line");
    let word = |after: &str| {
        let Some((_, rest)) = line.split_once(after) else {
            let log = fs_err::read_to_string(folder.join("server.log")).unwrap_or_default();
            panic!("the server said {line:?} and logged:\n{log}");
        };
        rest.split([' ', ',', ')', '\n']).next().unwrap_or_default().to_owned()
    };
    let (address, metrics) = (word("serving on "), word("metrics "));
    (child, address, metrics)
}

/// An image of these bytes.
pub fn image(bytes: impl Into<Vec<u8>>) -> pb::Image {
    pb::Image { source: Some(pb::image::Source::Content(bytes.into().into())) }
}

/// A sample photo as it lies on the disk.
pub fn photo(name: &str) -> Vec<u8> {
    fs_err::read(samples().join(name).with_extension("jpg")).expect("a sample photo")
}

/// The `google.rpc.ErrorInfo` of a failed call.
pub fn info(status: &Status) -> ErrorInfo {
    status.get_details_error_info().unwrap_or_else(|| panic!("no ErrorInfo in {status:?}"))
}

/// The stable reason of a failed call.
pub fn reason(status: &Status) -> String {
    info(status).reason
}

/// The stable reason of a failed item.
pub fn item_reason(status: &tonic_types::Status) -> String {
    let info = status.get_details_error_info();
    info.unwrap_or_else(|| panic!("no ErrorInfo in {status:?}")).reason
}
