//! What the managed server logs: its last lines in memory, and a file that stays small.

use std::collections::VecDeque;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Lines kept in memory for error messages.
const TAIL_LINES: usize = 12;

/// Characters of each kept line.
const LINE_CHARS: usize = 300;

/// A log file is renamed to `<name>.1`, over the one before, when it grows past this: at most two
/// files of this size exist.
const FILE_LIMIT: u64 = 1 << 20;

/// The log of one managed server, over all its restarts.
#[derive(Clone, Default)]
pub(super) struct ServerLog {
    inner: Arc<Mutex<Inner>>,
    path: Option<Arc<Path>>,
}

#[derive(Default)]
struct Inner {
    tail: VecDeque<String>,
    file: Option<fs_err::File>,
    written: u64,
}

impl ServerLog {
    /// A log that is written to `<folder>/<name>.log` too, if there is a folder.
    ///
    /// # Errors
    /// The error of making the folder or opening the file; it names the path.
    pub(super) fn open(folder: Option<&Path>, name: &str) -> std::io::Result<Self> {
        let Some(folder) = folder else { return Ok(Self::default()) };
        fs_err::create_dir_all(folder)?;
        let path = folder.join(format!("{name}.log"));
        let (file, written) = append(&path)?;
        let inner = Inner { file: Some(file), written, tail: VecDeque::new() };
        Ok(Self { inner: Arc::new(Mutex::new(inner)), path: Some(path.into()) })
    }

    pub(super) fn path(&self) -> Option<PathBuf> {
        self.path.as_deref().map(Path::to_path_buf)
    }

    /// The last lines, oldest first.
    pub(super) fn tail(&self) -> String {
        let inner = self.lock();
        inner.tail.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }

    /// Takes one line. A log that cannot be written (a full disk) must not stop the work, so the
    /// file is given up with a warning and the memory goes on.
    pub(super) fn line(&self, line: &str) {
        let mut inner = self.lock();
        inner.remember(line);
        let Some(path) = &self.path else { return };
        if let Err(error) = inner.write(line, path) {
            tracing::warn!(%error, "the llama-server log is no longer written");
            inner.file = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn remember(&mut self, line: &str) {
        if self.tail.len() == TAIL_LINES {
            self.tail.pop_front();
        }
        self.tail.push_back(line.chars().take(LINE_CHARS).collect());
    }

    #[expect(clippy::disallowed_methods, reason = "a log may lose its last lines in a power cut")]
    fn write(&mut self, line: &str, path: &Path) -> std::io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        writeln!(file, "{line}")?;
        self.written += line.len() as u64 + 1;
        if self.written > FILE_LIMIT {
            let mut old = path.as_os_str().to_owned();
            old.push(".1");
            fs_err::rename(path, old)?;
            let (file, written) = append(path)?;
            self.file = Some(file);
            self.written = written;
        }
        Ok(())
    }
}

fn append(path: &Path) -> std::io::Result<(fs_err::File, u64)> {
    let file = fs_err::OpenOptions::new().create(true).append(true).open(path)?;
    let length = file.metadata()?.len();
    Ok((file, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_the_last_lines_only() {
        let log = ServerLog::default();
        (0..100).for_each(|n| log.line(&format!("line {n}")));
        let tail = log.tail();
        assert_eq!(tail.lines().count(), TAIL_LINES);
        assert!(tail.ends_with("line 99"));
    }

    #[test]
    fn files_stay_bounded_and_appended_to() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let line = "x".repeat(100_000);
        for _ in 0..3 {
            let log = ServerLog::open(Some(folder.path()), "server").expect("opened");
            (0..15).for_each(|_| log.line(&line));
        }
        let size = |name| fs_err::metadata(folder.path().join(name)).expect("exists").len();
        let most = FILE_LIMIT + 100_001;
        assert!(size("server.log") <= most && size("server.log.1") <= most);
        assert!(size("server.log.1") > FILE_LIMIT);
        assert_eq!(fs_err::read_dir(folder.path()).expect("listed").count(), 2);
    }
}
