//! Runs the real `pairwright` against a stub LLM, and reads what it left behind.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

pub use super::paths::root;
use super::stub_llm::{Step, StubLlm, StubOptions};

/// Photos of `samples/photos`, each with its description beside it.
pub const PHOTOS: [&str; 6] =
    ["coffee-cup", "deep-space", "moose", "raccoon", "tabby-cat", "two-dogs"];

/// The exports, below the run folder.
pub const EXPORTS: [&str; 3] =
    ["dataset/llava.json", "dataset/samples.jsonl", "dataset/samples.parquet"];

/// A stub server and the runtime it lives in, for tests that are not async.
pub struct Llm {
    pub stub: StubLlm,
    // Dropped after the stub, whose task it runs.
    runtime: tokio::runtime::Runtime,
}

impl Llm {
    pub fn start(options: StubOptions) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let stub = runtime.block_on(StubLlm::start(options));
        Self { stub, runtime }
    }

    /// Value of the `--llm` flag.
    pub fn target(&self) -> String {
        format!("openai:{}", self.stub.base_url)
    }

    /// How many different requests came.
    pub fn distinct(&self) -> usize {
        let url = self.stub.base_url.replace("/v1", "/stub/stats");
        let stats: Value = self.runtime.block_on(async {
            reqwest::get(url).await.expect("the stub is up").json().await.expect("JSON")
        });
        usize::try_from(stats["distinct"].as_u64().expect("a count")).expect("fits")
    }

    /// How many calls batches answered, which is what is paid for: each once.
    #[track_caller]
    pub fn paid_once(&self) -> usize {
        let mut paid = self.stub.paid();
        let all = paid.len();
        paid.sort();
        paid.dedup();
        assert_eq!(all, paid.len(), "calls were paid for twice");
        all
    }

    /// Starts the program until the server hangs at this step, and kills it then.
    pub fn kill_at(&self, step: Step, command: &mut Command) {
        self.stub.hang_at(Some(step));
        let child = RefCell::new(start(command));
        wait_until(&format!("the server hangs at {step:?}, or it ended"), || {
            self.stub.is_hanging() || child.borrow_mut().try_wait().expect("its state").is_some()
        });
        assert!(self.stub.is_hanging(), "it ended and never came to {step:?}");
        let mut child = child.into_inner();
        child.kill().expect("kill -9");
        child.wait().expect("it ended");
        self.stub.hang_at(None);
    }
}

impl Default for Llm {
    fn default() -> Self {
        Self::start(StubOptions::default())
    }
}

/// A source folder, a run folder and a configuration file, gone when dropped.
pub struct World {
    folder: tempfile::TempDir,
}

impl World {
    pub fn new() -> Self {
        let world = Self { folder: tempfile::tempdir().expect("temp dir") };
        fs_err::create_dir(world.source()).expect("create");
        world.configure("");
        world
    }

    /// With the sample photos in its source.
    pub fn with_photos(names: &[&str]) -> Self {
        let world = Self::new();
        names.iter().for_each(|name| world.add_photo(name, name));
        world
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn source(&self) -> PathBuf {
        self.path("photos")
    }

    /// Copies a sample photo and its description under another name.
    pub fn add_photo(&self, sample: &str, name: &str) {
        let photos = root().join("samples/photos");
        for ending in ["jpg", "txt"] {
            let bytes = fs_err::read(photos.join(format!("{sample}.{ending}"))).expect("a sample");
            self.write(&format!("photos/{name}.{ending}"), bytes);
        }
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs_err::write(self.path(name), content).expect("write");
    }

    /// Replaces the configuration: quick retries and patient filters, unless `more` (TOML that
    /// begins with dotted keys) says otherwise; of a key that comes twice the last one counts.
    pub fn configure(&self, more: &str) {
        let base = "llm.backoff_base_s = 0.01\nllm.backoff_cap_s = 0.05\nanswer.attempts = 5\n\
            llm.model = \"stub-model\"\n";
        let text = format!("{base}{more}");
        let key = |line: &str| line.split_once('=').map(|(key, _)| key.trim().to_owned());
        let lines: Vec<&str> = text.lines().collect();
        let kept = lines.iter().enumerate().filter(|(number, line)| {
            let later = &lines[number + 1..];
            key(line).is_none_or(|name| !later.iter().any(|line| key(line).as_ref() == Some(&name)))
        });
        let kept: Vec<&str> = kept.map(|(_, line)| *line).collect();
        self.write("config.toml", kept.join("\n"));
    }

    /// `pairwright run` over its photos with its configuration.
    pub fn command(&self, out: &Path, llm: &str) -> Command {
        self.command_over(&self.source(), out, llm)
    }

    pub fn command_over(&self, source: &Path, out: &Path, llm: &str) -> Command {
        let mut command = pairwright(&["run", "--llm", llm]);
        command.arg("--config").arg(self.path("config.toml"));
        command.arg("--source").arg(source).arg("--out").arg(out);
        command
    }

    /// Runs to the end into `out`.
    pub fn run(&self, out: &str, llm: &Llm) -> Output {
        finish(&mut self.command(&self.path(out), &llm.target()))
    }
}

/// The program, to be run from the repository's root.
pub fn pairwright(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pairwright"));
    command.current_dir(root()).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub fn finish(command: &mut Command) -> Output {
    command.output().expect("the program starts")
}

pub fn start(command: &mut Command) -> Child {
    command.spawn().expect("the program starts")
}

/// Everything the program said.
pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[track_caller]
pub fn assert_code(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}", said(output));
}

/// Sends a signal to a process this test started; one that is gone already is none the worse.
pub fn signal(process: u32, name: &str) {
    let mut kill = Command::new("kill");
    let kill = kill.arg(format!("-{name}")).arg(process.to_string()).stderr(Stdio::null());
    kill.status().expect("kill is there");
}

/// The rows of a query on a run's store, each with its columns joined by ` | `.
pub fn query(out: &Path, sql: &str) -> Vec<String> {
    let store = rusqlite::Connection::open(out.join("run.sqlite")).expect("a store");
    let mut statement = store.prepare(sql).expect("a query");
    let columns = statement.column_count();
    let text = |row: &rusqlite::Row<'_>| {
        let column = |n| row.get::<_, rusqlite::types::Value>(n).map(|value| shown(&value));
        Ok((0..columns).map(column).collect::<rusqlite::Result<Vec<_>>>()?.join(" | "))
    };
    statement.query_map([], text).expect("rows").map(|row| row.expect("a row")).collect()
}

fn shown(value: &rusqlite::types::Value) -> String {
    use rusqlite::types::Value;
    match value {
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => number.to_string(),
        Value::Text(text) => text.clone(),
        Value::Null | Value::Blob(_) => String::new(),
    }
}

/// The number a query gives.
pub fn count(out: &Path, sql: &str) -> usize {
    query(out, sql)[0].parse().expect("a count")
}

pub fn exports(out: &Path) -> [Vec<u8>; 3] {
    EXPORTS.map(|name| fs_err::read(out.join(name)).expect("an export"))
}

#[track_caller]
pub fn assert_same_exports(out: &Path, expected: &[Vec<u8>; 3], what: &str) {
    for ((name, found), expected) in EXPORTS.iter().zip(exports(out)).zip(expected) {
        assert!(found == *expected, "{name} differs: {what}");
    }
}

/// The ids of the samples in each export, asserted to be the same set in all three.
#[track_caller]
pub fn exported_ids(out: &Path) -> BTreeSet<String> {
    let id = |row: &Value| row["id"].as_str().expect("an id").to_owned();
    let [llava, jsonl, _] = exports(out);
    let llava: Vec<Value> = serde_json::from_slice(&llava).expect("JSON");
    let jsonl = String::from_utf8(jsonl).expect("UTF-8");
    let lines: Vec<Value> =
        jsonl.lines().map(|line| serde_json::from_str(line).expect("JSON line")).collect();
    let ids: BTreeSet<String> = llava.iter().map(id).collect();
    assert_eq!(ids.len(), llava.len(), "ids are unique");
    assert_eq!(ids, lines.iter().map(id).collect(), "llava and jsonl");
    assert_eq!(ids, parquet_ids(&out.join(EXPORTS[2])), "llava and parquet");
    ids
}

fn parquet_ids(path: &Path) -> BTreeSet<String> {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::RowAccessor;
    let file = std::fs::File::open(path).expect("an export");
    let reader = SerializedFileReader::new(file).expect("Parquet");
    let id = |row: parquet::record::Row| {
        let column = row.get_column_iter().position(|(name, _)| name == "id").expect("id");
        row.get_string(column).expect("text").clone()
    };
    reader.get_row_iter(None).expect("rows").map(|row| id(row.expect("a row"))).collect()
}

/// Waits for something another process does; a test that never sees it fails.
#[track_caller]
pub fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while !holds() {
        assert!(start.elapsed().as_secs() < 120, "still waiting until {what}");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// Every file below a folder, by its path from there on.
pub fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = walkdir::WalkDir::new(folder).into_iter().map(|entry| entry.expect("readable"));
    let file = |entry: walkdir::DirEntry| {
        let name = entry.path().strip_prefix(folder).expect("below").display().to_string();
        (name, fs_err::read(entry.path()).expect("a file"))
    };
    entries.filter(|entry| entry.file_type().is_file()).map(file).collect()
}
