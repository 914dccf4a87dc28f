//! The keys in force, kept in step with their file.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use subtle::ConditionallySelectable;

use super::{KeyFile, KeyHash, KeysError, Scope};

/// Between two looks at the file.
const POLL: Duration = Duration::from_secs(2);

/// The keys in force. Clones share them.
#[derive(Clone)]
pub struct KeyRing(Arc<Inner>);

struct Inner {
    path: PathBuf,
    keys: ArcSwap<Vec<Key>>,
    seen: Mutex<Option<Stamp>>,
}

struct Key {
    name: Arc<str>,
    hash: KeyHash,
    scope: Scope,
    expires: Option<SystemTime>,
}

/// What tells one version of the file from another.
#[derive(PartialEq, Eq, Clone, Copy)]
struct Stamp {
    modified: Option<SystemTime>,
    bytes: u64,
}

impl KeyRing {
    /// Reads the keys of `path`.
    ///
    /// # Errors
    /// [`KeysError`] when the file cannot be read or is wrong.
    pub fn open(path: &Path) -> Result<Self, KeysError> {
        let seen = stamp(path);
        let keys = read(path)?;
        if keys.is_empty() {
            tracing::warn!(file = %path.display(), "no keys; every call will be refused");
        }
        Ok(Self(Arc::new(Inner {
            path: path.to_owned(),
            keys: ArcSwap::from_pointee(keys),
            seen: Mutex::new(seen),
        })))
    }

    /// The name and scope of the key that `token` is; none when it is unknown or has ended.
    ///
    /// Looks at every key whatever it finds, so that the time taken tells nothing.
    pub fn check(&self, token: &str) -> Option<(Arc<str>, Scope)> {
        let presented = KeyHash::of(token);
        let keys = self.0.keys.load();
        let mut found = 0u64;
        for (number, key) in (1u64..).zip(keys.iter()) {
            found.conditional_assign(&number, key.hash.same(&presented));
        }
        let place = usize::try_from(found.checked_sub(1)?).ok()?;
        let key = keys.get(place)?;
        let ended = key.expires.is_some_and(|end| end <= SystemTime::now());
        (!ended).then(|| (key.name.clone(), key.scope))
    }

    /// Reads the file again if it has changed. A file that is broken or gone changes nothing and
    /// is logged once.
    pub fn refresh(&self) {
        let now = stamp(&self.0.path);
        let before = std::mem::replace(
            &mut *self.0.seen.lock().unwrap_or_else(PoisonError::into_inner),
            now,
        );
        if now != before {
            self.reload();
        }
    }

    /// Reads the file again, changed or not.
    pub fn reload(&self) {
        let file = self.0.path.display();
        match read(&self.0.path) {
            Ok(keys) => {
                tracing::info!(%file, keys = keys.len(), "API keys reloaded");
                self.0.keys.store(Arc::new(keys));
            }
            Err(error) => tracing::error!(%error, "API keys not reloaded; the old ones hold"),
        }
    }

    /// Follows the file for as long as the runtime lives: every two seconds, and on SIGHUP.
    pub fn follow(&self) {
        self.follow_every(POLL);
    }

    fn follow_every(&self, interval: Duration) {
        let ring = self.clone();
        tokio::spawn(async move {
            loop {
                let asked = tokio::select! {
                    () = tokio::time::sleep(interval) => false,
                    () = hangup() => true,
                };
                let ring = ring.clone();
                let work = move || if asked { ring.reload() } else { ring.refresh() };
                // A panic in there leaves the old keys in force; the next round tries again.
                let _ = tokio::task::spawn_blocking(work).await;
            }
        });
    }
}

#[cfg(unix)]
async fn hangup() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::hangup()) {
        Ok(mut hangup) => {
            hangup.recv().await;
        }
        Err(_) => std::future::pending().await,
    }
}

#[cfg(not(unix))]
async fn hangup() {
    std::future::pending().await
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs_err::metadata(path).ok()?;
    Some(Stamp { modified: metadata.modified().ok(), bytes: metadata.len() })
}

fn read(path: &Path) -> Result<Vec<Key>, KeysError> {
    let entries = KeyFile::read(path)?.keys.into_iter();
    entries
        .map(|entry| {
            let expires = entry.expiry()?;
            Ok(Key { name: entry.name.into(), hash: entry.sha256, scope: entry.scope, expires })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixture {
        _folder: tempfile::TempDir,
        path: PathBuf,
        ring: KeyRing,
        key: String,
    }

    fn fixture() -> Fixture {
        let folder = tempfile::tempdir().expect("temp dir");
        let path = folder.path().join("keys.toml");
        KeyFile::create(&path, "first", Scope::Write, None).expect("created");
        let key = KeyFile::create(&path, "ci", Scope::Read, None).expect("created");
        let ring = KeyRing::open(&path).expect("opened");
        Fixture { _folder: folder, path, ring, key: key.reveal().to_owned() }
    }

    #[test]
    fn a_key_is_known_by_its_name_and_others_are_not() {
        let it = fixture();
        let (name, scope) = it.ring.check(&it.key).expect("known");
        assert_eq!((&name[..], scope), ("ci", Scope::Read));
        assert!(it.ring.check("").is_none());
        assert!(it.ring.check(&format!("{} ", it.key)).is_none());
    }

    #[test]
    fn an_ended_key_is_refused() {
        let it = fixture();
        let text = fs_err::read_to_string(&it.path).expect("reads");
        let text = text.replace("name = \"ci\"", "name = \"ci\"\nexpires = 2020-01-01T00:00:00Z");
        fs_err::write(&it.path, text).expect("written");
        it.ring.refresh();
        assert!(it.ring.check(&it.key).is_none());
    }

    #[test]
    fn keys_are_taken_back_and_added_while_serving() {
        let it = fixture();
        KeyFile::revoke(&it.path, "ci").expect("revoked");
        let new = KeyFile::create(&it.path, "new", Scope::Write, None).expect("created");
        it.ring.refresh();
        assert!(it.ring.check(&it.key).is_none());
        assert!(it.ring.check(new.reveal()).is_some());
    }

    #[test]
    fn a_broken_or_missing_file_keeps_the_old_keys() {
        let it = fixture();
        fs_err::write(&it.path, "[[keys").expect("written");
        it.ring.refresh();
        assert!(it.ring.check(&it.key).is_some());
        fs_err::remove_file(&it.path).expect("removed");
        it.ring.refresh();
        assert!(it.ring.check(&it.key).is_some());
    }

    #[tokio::test]
    async fn a_change_is_seen_by_itself() {
        let it = fixture();
        let interval = Duration::from_millis(5);
        it.ring.follow_every(interval);
        KeyFile::revoke(&it.path, "ci").expect("revoked");
        for _ in 0..2000 {
            tokio::time::sleep(interval).await;
            if it.ring.check(&it.key).is_none() {
                return;
            }
        }
        panic!("the revoked key is still in force");
    }
}
