//! How a download is shown: as a bar on a terminal, elsewhere as plain lines.

use std::io::IsTerminal;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use crate::cli::progress;
use crate::model::store::Transfer;

/// How often a file prints a plain line.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// What suits standard error.
pub fn for_terminal() -> Box<dyn Transfer> {
    if std::io::stderr().is_terminal() {
        Box::new(Bar(Mutex::new(ProgressBar::hidden())))
    } else {
        Box::new(Lines(Mutex::new(None)))
    }
}

struct Bar(Mutex<ProgressBar>);

impl Transfer for Bar {
    fn begin(&self, file: &str, done: u64, total: Option<u64>) {
        let bar = ProgressBar::no_length().with_style(style());
        bar.set_prefix(file.to_owned());
        if let Some(total) = total {
            bar.set_length(total);
        }
        bar.set_position(done);
        // Bytes of an earlier try must not count as speed.
        bar.reset_eta();
        let before = std::mem::replace(&mut *locked(&self.0), progress::show(bar));
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

fn style() -> ProgressStyle {
    let template = "{prefix} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec:>12} left {eta:>6}";
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

struct Lines(Mutex<Option<File>>);

struct File {
    name: String,
    done: u64,
    total: Option<u64>,
    printed: Instant,
}

impl File {
    fn print(&mut self, state: &str) {
        let total = self.total.map_or_else(String::new, |total| format!("/{}", HumanBytes(total)));
        eprintln!("{}: {}{total} {state}", self.name, HumanBytes(self.done));
        self.printed = Instant::now();
    }
}

impl Transfer for Lines {
    fn begin(&self, file: &str, done: u64, total: Option<u64>) {
        let mut file = File { name: file.to_owned(), done, total, printed: Instant::now() };
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
