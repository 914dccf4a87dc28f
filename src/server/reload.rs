//! Files that are read again while the server runs: when they change, and on SIGHUP.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::MissedTickBehavior;

use crate::base::signal::Hangups;

/// Between two looks at the files.
const POLL: Duration = Duration::from_secs(2);

/// What is read again.
pub trait Reload: Send + Sync + 'static {
    /// The files it comes from.
    fn files(&self) -> Vec<PathBuf>;

    /// Reads them again. What cannot be used changes nothing and is logged.
    fn reload(&self);
}

/// What tells one version of a file from another.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
struct Stamp {
    modified: Option<SystemTime>,
    bytes: u64,
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs_err::metadata(path).ok()?;
    Some(Stamp { modified: metadata.modified().ok(), bytes: metadata.len() })
}

struct Followed {
    what: Arc<dyn Reload>,
    seen: Vec<Option<Stamp>>,
}

impl Followed {
    fn new(what: Arc<dyn Reload>) -> Self {
        let seen = stamps(&*what);
        Self { what, seen }
    }

    fn look(&mut self, asked: bool) {
        // Before the reading: what changes meanwhile is seen the next time.
        let now = stamps(&*self.what);
        if asked || now != self.seen {
            self.what.reload();
        }
        self.seen = now;
    }
}

fn stamps(what: &dyn Reload) -> Vec<Option<Stamp>> {
    what.files().iter().map(|path| stamp(path)).collect()
}

/// Follows the files of `all` for as long as the runtime lives. SIGHUP does not end the process
/// from now on, whether there is anything to read or not.
pub fn follow(all: Vec<Arc<dyn Reload>>) {
    follow_every(all, POLL);
}

fn follow_every(all: Vec<Arc<dyn Reload>>, interval: Duration) {
    let mut hangups = Hangups::listen();
    let mut all: Vec<Followed> = all.into_iter().map(Followed::new).collect();
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let asked = tokio::select! {
                () = hangups.next() => true,
                _ = ticks.tick(), if !all.is_empty() => false,
            };
            if asked {
                tracing::info!(files = all.len(), "SIGHUP: reading keys and certificates again");
            }
            let work = move || {
                all.iter_mut().for_each(|one| one.look(asked));
                all
            };
            match tokio::task::spawn_blocking(work).await {
                Ok(looked) => all = looked,
                Err(error) => {
                    tracing::error!(%error, "files are not followed any more; what was read holds");
                    return;
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    struct Text {
        path: PathBuf,
        read: Mutex<Vec<String>>,
    }

    impl Reload for Text {
        fn files(&self) -> Vec<PathBuf> {
            vec![self.path.clone()]
        }

        fn reload(&self) {
            let text = fs_err::read_to_string(&self.path).unwrap_or_default();
            self.read.lock().expect("no panic").push(text);
        }
    }

    #[tokio::test]
    async fn a_change_is_seen_by_itself() {
        let folder = tempfile::tempdir().expect("temp dir");
        let path = folder.path().join("file");
        fs_err::write(&path, "one").expect("written");
        let text = Arc::new(Text { path: path.clone(), read: Mutex::default() });
        let all: Vec<Arc<dyn Reload>> = vec![text.clone()];
        follow_every(all, Duration::from_millis(5));
        fs_err::write(&path, "another").expect("written");
        for _ in 0..2000 {
            tokio::time::sleep(Duration::from_millis(5)).await;
            if text.read.lock().expect("no panic").last().is_some_and(|read| read == "another") {
                return;
            }
        }
        panic!("the change was never seen");
    }
}
