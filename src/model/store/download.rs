//! One file, from the hub into the cache.

use std::path::PathBuf;
use std::time::Duration;

use super::attempt::{Download, Stop};
use super::hub::Hub;
use super::{HashSource, ModelStoreError};

/// The longest wait between two tries.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Hears how a download goes.
pub trait Transfer: Send + Sync {
    /// A file begins, of `total` bytes where that is known, `done` of which are here already.
    fn begin(&self, file: &str, done: u64, total: Option<u64>);
    /// Some bytes came.
    fn advance(&self, bytes: u64);
    /// The connection failed; another try follows after `wait`.
    fn retry(&self, file: &str, cause: &str, wait: Duration);
    /// The file is here, and what it should be.
    fn end(&self);
}

/// What is wanted.
pub(super) struct Wanted<'a> {
    pub repo: &'a str,
    pub revision: &'a str,
    /// Its path in the repository.
    pub path: &'a str,
    /// Where it goes.
    pub target: PathBuf,
    pub bytes: Option<u64>,
    pub sha256: Option<String>,
    /// Who says what its hash is.
    pub by: HashSource,
}

/// What came.
pub(super) struct Fetched {
    pub sha256: String,
    pub bytes: u64,
    pub commit: Option<String>,
}

/// Fetches a file: goes on where an earlier try stopped, tries again while there is hope, and gives
/// the file its name only when it is what was wanted.
pub(super) async fn fetch(
    hub: &Hub,
    wanted: &Wanted<'_>,
    transfer: &dyn Transfer,
) -> Result<Fetched, ModelStoreError> {
    let download = Download {
        hub,
        wanted,
        transfer,
        url: hub.file_url(wanted.repo, wanted.revision, wanted.path),
    };
    let (mut tries, mut wait, mut before) = (0, hub.options.first_wait, 0);
    loop {
        let (fault, received) = match download.attempt().await {
            Ok(fetched) => return Ok(fetched),
            Err(Stop::Final(error)) => return Err(error),
            Err(Stop::Again { fault, received }) => (fault, received),
        };
        if received > before {
            (before, tries, wait) = (received, 0, hub.options.first_wait);
        }
        tries += 1;
        if tries >= hub.options.tries {
            return Err(download.give_up(fault, tries, received));
        }
        let pause = fault.wait().unwrap_or(wait).min(LONGEST_WAIT);
        transfer.retry(wanted.path, &fault.words(), pause);
        tokio::time::sleep(pause).await;
        wait *= 2;
    }
}
