//! The keys in force, kept in step with their file.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use subtle::ConditionallySelectable;

use super::{KeyFile, KeyHash, KeysError, Scope};
use crate::server::reload::Reload;

/// The keys in force. Clones share them.
#[derive(Clone)]
pub struct KeyRing(Arc<Inner>);

struct Inner {
    path: PathBuf,
    keys: ArcSwap<Vec<Key>>,
}

struct Key {
    name: Arc<str>,
    hash: KeyHash,
    scope: Scope,
    expires: Option<SystemTime>,
}

impl KeyRing {
    /// Reads the keys of `path`.
    ///
    /// # Errors
    /// [`KeysError`] when the file cannot be read or is wrong.
    pub fn open(path: &Path) -> Result<Self, KeysError> {
        let keys = read(path)?;
        if keys.is_empty() {
            tracing::warn!(file = %path.display(), "no keys; every call will be refused");
        }
        Ok(Self(Arc::new(Inner { path: path.to_owned(), keys: ArcSwap::from_pointee(keys) })))
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
}

impl Reload for KeyRing {
    fn files(&self) -> Vec<PathBuf> {
        vec![self.0.path.clone()]
    }

    /// A file that is broken or gone changes nothing.
    fn reload(&self) {
        let file = self.0.path.display();
        match read(&self.0.path) {
            Ok(keys) => {
                tracing::info!(%file, keys = keys.len(), "API keys reloaded");
                self.0.keys.store(Arc::new(keys));
            }
            Err(error) => tracing::error!(%error, "API keys not reloaded; the old ones hold"),
        }
    }
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
        it.ring.reload();
        assert!(it.ring.check(&it.key).is_none());
    }

    #[test]
    fn keys_are_taken_back_and_added_while_serving() {
        let it = fixture();
        KeyFile::revoke(&it.path, "ci").expect("revoked");
        let new = KeyFile::create(&it.path, "new", Scope::Write, None).expect("created");
        it.ring.reload();
        assert!(it.ring.check(&it.key).is_none());
        assert!(it.ring.check(new.reveal()).is_some());
    }

    #[test]
    fn a_broken_or_missing_file_keeps_the_old_keys() {
        let it = fixture();
        fs_err::write(&it.path, "[[keys").expect("written");
        it.ring.reload();
        assert!(it.ring.check(&it.key).is_some());
        fs_err::remove_file(&it.path).expect("removed");
        it.ring.reload();
        assert!(it.ring.check(&it.key).is_some());
    }
}
