//! One running llama.cpp server, on a leash.
//!
//! The server must not outlive this process, however that ends: SIGKILL leaves no time to clean
//! up. The kernel's parent-death signal would need unsafe code, exists on Linux only, and fires
//! when the *thread* that started the child ends, which in an async runtime is soon. So the server
//! runs below a small shell that holds the reading end of a pipe. When the writing end closes,
//! because it was dropped or because this process is gone, the shell kills its whole process
//! group. The group is its own, so a Ctrl-C in the terminal does not reach the server while work
//! in flight is finished.

use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use super::log::ServerLog;
use crate::llm::config::LocalConfig;
use crate::llm::error::LlmFault;
use crate::llm::openai::ApiKey;

/// Runs its arguments as a child until standard input ends, then kills the process group. The
/// reader must not keep the child's output open, or the end of the log would never be seen.
const LEASH: &str = r#"
exec 3<&0 </dev/null
"$@" 3<&- &
server=$!
( read -r _ <&3; kill -KILL 0 ) >/dev/null 2>&1 &
exec 3<&-
wait "$server"
"#;

/// How often health is asked for during the start.
const HEALTH_PAUSE: Duration = Duration::from_millis(50);

/// The variable that llama.cpp's server takes its key from: unlike a flag, no process list
/// shows it.
const KEY_VARIABLE: &str = "LLAMA_API_KEY";

/// What to start.
#[derive(Clone)]
pub(super) struct Launch {
    pub(super) program: PathBuf,
    pub(super) gguf: PathBuf,
    /// The model's name in replies.
    pub(super) name: String,
    pub(super) config: LocalConfig,
    pub(super) key: ApiKey,
    pub(super) log: ServerLog,
}

/// A server that was started; dropping it ends it.
pub(super) struct Server {
    pub(super) port: u16,
    child: Child,
    _leash: Option<ChildStdin>,
}

impl Launch {
    /// Starts the server on a free port and waits until it is healthy.
    ///
    /// # Errors
    /// [`LlmFault::LocalServer`] with the end of its log when it cannot be started, exits, or is
    /// not healthy in time.
    pub(super) async fn start(&self) -> Result<Server, LlmFault> {
        let client = health_client().map_err(|error| self.fault(error.to_string()))?;
        let mut server = self.spawn()?;
        let port = server.port;
        let limit = Duration::from_secs_f64(self.config.start_deadline_s);
        let said = tokio::select! {
            status = server.exit() => format!("ended during its start: {status}"),
            result = tokio::time::timeout(limit, healthy(&client, port)) => match result {
                Ok(()) => return Ok(server),
                Err(_) => format!("was not healthy within {}", humantime::format_duration(limit)),
            },
        };
        Err(self.fault(said))
    }

    fn spawn(&self) -> Result<Server, LlmFault> {
        let port = free_port().map_err(|error| self.fault(format!("got no port: {error}")))?;
        let mut child = self
            .command(port)
            .spawn()
            .map_err(|error| self.fault(format!("could not be started: {error}")))?;
        let pid = child.id();
        tracing::info!(program = %self.program.display(), port, pid, "starting llama-server");
        let _leash = child.stdin.take();
        if let Some(output) = child.stdout.take() {
            self.follow(output);
        }
        if let Some(output) = child.stderr.take() {
            self.follow(output);
        }
        Ok(Server { port, child, _leash })
    }

    fn command(&self, port: u16) -> Command {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(LEASH).arg("llama-server-leash").arg(&self.program);
        command.args(self.arguments(port));
        for (name, _) in std::env::vars_os() {
            // The user's own settings for llama.cpp would change what this server does.
            if name.to_string_lossy().starts_with("LLAMA_") {
                command.env_remove(name);
            }
        }
        command.env(KEY_VARIABLE, self.key.expose());
        command.env("LD_LIBRARY_PATH", library_path(&self.program));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true);
        command
    }

    /// Slots do not share their memory (`--no-kv-unified`) and nothing is reused from earlier
    /// prompts: with either, the text depends on what else was asked before or meanwhile. Replies
    /// written at the same time can still differ in rare words; one slot repeats exactly.
    fn arguments(&self, port: u16) -> Vec<String> {
        let LocalConfig { threads, slots, context_per_slot, .. } = self.config;
        let text = |value: &str| value.to_owned();
        let mut arguments = vec![text("--model"), self.gguf.display().to_string()];
        let pairs = [
            ("--alias", self.name.clone()),
            ("--host", text("127.0.0.1")),
            ("--port", port.to_string()),
            ("--threads", threads.unwrap_or_else(default_threads).to_string()),
            ("--parallel", slots.to_string()),
            ("--ctx-size", (slots * context_per_slot).to_string()),
            ("--cache-ram", text("0")),
        ];
        arguments.extend(pairs.into_iter().flat_map(|(flag, value)| [text(flag), value]));
        arguments.extend(["--no-kv-unified", "--no-cache-prompt", "--no-ui"].map(text));
        arguments
    }

    fn follow(&self, output: impl AsyncRead + Send + Unpin + 'static) {
        let log = self.log.clone();
        tokio::spawn(async move {
            let mut lines = BufReader::new(output).split(b'\n');
            while let Ok(Some(line)) = lines.next_segment().await {
                log.line(&String::from_utf8_lossy(&line));
            }
        });
    }

    /// A fault with the end of the log.
    pub(super) fn fault(&self, what: impl Into<String>) -> LlmFault {
        let (log, log_path) = (self.log.tail(), self.log.path());
        LlmFault::LocalServer { what: what.into(), log, log_path }
    }
}

impl Server {
    /// Waits for the end of the server; says how it ended.
    pub(super) async fn exit(&mut self) -> String {
        match self.child.wait().await {
            Ok(status) => {
                // What it wrote last is still on its way through the pipe.
                tokio::time::sleep(Duration::from_millis(100)).await;
                describe(status)
            }
            Err(error) => format!("its state is unknown: {error}"),
        }
    }

    /// The process group of the server and its leash; none once it has ended.
    pub(super) fn group(&self) -> Option<u32> {
        self.child.id()
    }
}

/// The shell reports a signal of the server as 128 plus its number; a signal of its own means
/// that the whole group was killed.
fn describe(status: ExitStatus) -> String {
    let code = status.code();
    match status.signal().or(code.filter(|code| *code > 128).map(|code| code - 128)) {
        Some(4) => "signal 4, illegal instruction: this llama-server was built for another \
                    processor; run `make setup` again, or name another program"
            .to_owned(),
        Some(signal) => format!("signal {signal}"),
        None => format!("exit code {}", code.unwrap_or_default()),
    }
}

/// Half the processors: they are mostly hyper-threads, and the compute threads wait for each
/// other by spinning, so that with one of them off its core all lose. On two busy cores, one
/// thread was seen to write 38 tokens/s where two wrote 2.
fn default_threads() -> usize {
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    (all / 2).max(1)
}

/// A port that was free a moment ago. Another program may take it first; the server then ends
/// with a message that says so, and the next start tries another.
fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// The program's own folder before what is set already: prebuilt servers bring their libraries.
fn library_path(program: &Path) -> std::ffi::OsString {
    let own = program.parent().unwrap_or(Path::new(".")).to_path_buf();
    let set = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let all = std::iter::once(own).chain(std::env::split_paths(&set));
    let all: Vec<_> = all.filter(|path| !path.as_os_str().is_empty()).collect();
    // Fails only for a path with a colon in it, which the variable cannot express.
    std::env::join_paths(all).unwrap_or(set)
}

/// Returns once `/health` says yes; 503 means that the model is still loading.
async fn healthy(client: &reqwest::Client, port: u16) {
    let url = format!("http://127.0.0.1:{port}/health");
    loop {
        let answer = client.get(&url).send().await;
        if answer.is_ok_and(|answer| answer.status().is_success()) {
            return;
        }
        tokio::time::sleep(HEALTH_PAUSE).await;
    }
}

fn health_client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(2)).build()
}
