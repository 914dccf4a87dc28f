//! Progress of work and of downloads: on a terminal as bars with rate and time left, elsewhere as plain lines.

use std::collections::HashMap;
use std::io::{IsTerminal, Write};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressStyle};

use crate::llm::Spending;
use crate::model::store::Transfer;
use crate::work::{Phase, Progress};

/// How often a phase or a file prints a plain line.
const LINE_EVERY: Duration = Duration::from_secs(10);

static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// The progress that suits standard error.
pub fn for_terminal() -> Arc<dyn Progress> {
    if std::io::stderr().is_terminal() {
        Arc::new(Bars::default())
    } else {
        Arc::new(Lines::default())
    }
}

/// A writer for the log that does not tear the bars.
pub fn log_writer() -> impl Write {
    SuspendingWriter
}

struct SuspendingWriter;

impl Write for SuspendingWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        BARS.suspend(|| std::io::stderr().write(bytes))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

#[derive(Default)]
struct Bars {
    bars: Mutex<HashMap<Phase, ProgressBar>>,
    /// A line for what the LLM calls have spent.
    spent: Mutex<Option<ProgressBar>>,
}

impl Bars {
    fn bar(&self, phase: Phase) -> ProgressBar {
        let mut bars = locked(&self.bars);
        let bar = bars.entry(phase).or_insert_with(|| {
            let bar = BARS.add(ProgressBar::no_length().with_style(style()));
            bar.set_prefix(phase.name());
            bar.enable_steady_tick(Duration::from_millis(250));
            bar
        });
        bar.clone()
    }
}

impl Progress for Bars {
    fn expect(&self, phase: Phase, total: u64) {
        self.bar(phase).set_length(total);
    }

    fn advance(&self, phase: Phase, items: u64) {
        self.bar(phase).inc(items);
    }

    fn finish(&self, phase: Phase) {
        self.bar(phase).finish();
    }

    fn spent(&self, spending: &Spending) {
        let mut spent = locked(&self.spent);
        let line = spent.get_or_insert_with(|| {
            let bar = BARS.add(ProgressBar::no_length().with_style(spent_style()));
            bar.set_prefix("spent");
            bar
        });
        line.set_message(spending.to_string());
    }
}

fn spent_style() -> ProgressStyle {
    ProgressStyle::with_template("{prefix:>8} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn style() -> ProgressStyle {
    let template = "{prefix:>8} {wide_bar} {pos}/{len} {per_sec:>12} left {eta:>6}";
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[derive(Default)]
struct Lines {
    counts: Mutex<HashMap<Phase, Count>>,
    /// When what was spent was printed last.
    spent: Mutex<Option<Instant>>,
}

struct Count {
    total: Option<u64>,
    done: u64,
    started: Instant,
    printed: Instant,
}

impl Lines {
    fn with(&self, phase: Phase, change: impl FnOnce(&mut Count)) {
        let mut counts = locked(&self.counts);
        let now = Instant::now();
        let new = || Count { total: None, done: 0, started: now, printed: now };
        change(counts.entry(phase).or_insert_with(new));
    }
}

impl Progress for Lines {
    fn expect(&self, phase: Phase, total: u64) {
        self.with(phase, |count| count.total = Some(total));
    }

    fn advance(&self, phase: Phase, items: u64) {
        self.with(phase, |count| {
            count.done += items;
            if count.printed.elapsed() >= LINE_EVERY {
                count.printed = Instant::now();
                eprintln!("{}", line(phase, count, "so far"));
            }
        });
    }

    fn finish(&self, phase: Phase) {
        self.with(phase, |count| eprintln!("{}", line(phase, count, "done")));
    }

    fn spent(&self, spending: &Spending) {
        let mut printed = locked(&self.spent);
        let last = printed.get_or_insert_with(Instant::now);
        if last.elapsed() >= LINE_EVERY {
            *last = Instant::now();
            eprintln!("spent: {spending} so far");
        }
    }
}

fn line(phase: Phase, count: &Count, state: &str) -> String {
    let seconds = count.started.elapsed().as_secs_f64();
    let rate = count.done as f64 / seconds.max(1e-3);
    let total = count.total.map_or(String::new(), |total| format!("/{total}"));
    let left = match count.total {
        Some(total) if state != "done" && rate > 0.0 => {
            let left = total.saturating_sub(count.done) as f64 / rate;
            format!(", about {} left", humantime::format_duration(Duration::from_secs(left as u64)))
        }
        _ => String::new(),
    };
    format!("{}: {}{total} {state}, {rate:.2}/s{left}", phase.name(), count.done)
}

/// How a download is shown on standard error.
pub fn of_transfer() -> Box<dyn Transfer> {
    if std::io::stderr().is_terminal() {
        Box::new(TransferBar(Mutex::new(ProgressBar::hidden())))
    } else {
        Box::new(TransferLines(Mutex::new(None)))
    }
}

struct TransferBar(Mutex<ProgressBar>);

impl Transfer for TransferBar {
    fn begin(&self, file: &str, done: u64, total: Option<u64>) {
        let bar = ProgressBar::no_length().with_style(transfer_style());
        bar.set_prefix(file.to_owned());
        if let Some(total) = total {
            bar.set_length(total);
        }
        bar.set_position(done);
        // Bytes of an earlier try must not count as speed.
        bar.reset_eta();
        let before = std::mem::replace(&mut *locked(&self.0), BARS.add(bar));
        before.finish_and_clear();
    }

    fn advance(&self, bytes: u64) {
        locked(&self.0).inc(bytes);
    }

    fn retry(&self, file: &str, cause: &str, wait: Duration) {
        locked(&self.0).println(retry_line(file, cause, wait));
    }

    fn end(&self) {
        locked(&self.0).finish();
    }
}

fn transfer_style() -> ProgressStyle {
    let template = "{prefix} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec:>12} left {eta:>6}";
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

struct TransferLines(Mutex<Option<FileLine>>);

struct FileLine {
    name: String,
    done: u64,
    total: Option<u64>,
    printed: Instant,
}

impl FileLine {
    fn print(&mut self, state: &str) {
        let total = self.total.map_or_else(String::new, |total| format!("/{}", HumanBytes(total)));
        eprintln!("{}: {}{total} {state}", self.name, HumanBytes(self.done));
        self.printed = Instant::now();
    }
}

impl Transfer for TransferLines {
    fn begin(&self, file: &str, done: u64, total: Option<u64>) {
        let mut file = FileLine { name: file.to_owned(), done, total, printed: Instant::now() };
        if done > 0 {
            file.print("here already");
        }
        *locked(&self.0) = Some(file);
    }

    fn advance(&self, bytes: u64) {
        if let Some(file) = &mut *locked(&self.0) {
            file.done += bytes;
            if file.printed.elapsed() >= LINE_EVERY {
                file.print("so far");
            }
        }
    }

    fn retry(&self, file: &str, cause: &str, wait: Duration) {
        eprintln!("{}", retry_line(file, cause, wait));
    }

    fn end(&self) {
        if let Some(mut file) = locked(&self.0).take() {
            file.print("done");
        }
    }
}

fn retry_line(file: &str, cause: &str, wait: Duration) -> String {
    format!("{file}: {cause}; trying again in {:.1} s", wait.as_secs_f64())
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_tell_rate_and_time_left() {
        let started = Instant::now() - Duration::from_secs(10);
        let count = Count { total: Some(300), done: 100, started, printed: started };
        let text = line(Phase::Embed, &count, "so far");
        assert!(text.starts_with("embed: 100/300 so far, "), "{text}");
        assert!(text.contains("about 1") || text.contains("about 2"), "{text}");
        assert!(!line(Phase::Embed, &count, "done").contains("left"));
    }
}
