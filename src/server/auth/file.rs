//! The keys file.

use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use toml::value::Datetime;

use crate::base::durable;

use super::{ApiKey, KeyHash, KeysError, Scope};

const HEADER: &str = "# Written by `pairwright keys`, which does not keep other comments.\n\n";

/// The longest name, in bytes.
const NAME: usize = 100;

/// The keys file: names, hashes, scopes. Nothing in it lets anyone call.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyFile {
    #[serde(default)]
    pub keys: Vec<KeyEntry>,
}

/// One key of the file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyEntry {
    /// Who uses it; logged with each call.
    pub name: String,
    pub sha256: KeyHash,
    pub scope: Scope,
    /// UTC; never when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<Datetime>,
}

impl KeyEntry {
    /// When the key ends, if ever.
    ///
    /// # Errors
    /// [`KeysError::Value`] when `expires` is no UTC time.
    pub fn expiry(&self) -> Result<Option<SystemTime>, KeysError> {
        let Some(expires) = &self.expires else { return Ok(None) };
        let found = expires.to_string();
        humantime::parse_rfc3339(&found).map(Some).map_err(|_| KeysError::Value {
            what: "expires",
            found,
            wanted: "a UTC time such as 2027-01-31T00:00:00Z",
        })
    }
}

impl KeyFile {
    /// Reads and checks `path`.
    ///
    /// # Errors
    /// [`KeysError`] when it cannot be read, is not of this form, or names a key twice.
    pub fn read(path: &Path) -> Result<Self, KeysError> {
        let text = fs_err::read_to_string(path).map_err(|source| KeysError::Io { source })?;
        let wrong = |message: String| KeysError::Content { path: path.to_owned(), message };
        // Without the excerpt that the full message shows: it may hold a secret put there wrongly.
        let file: Self = toml::from_str(&text).map_err(|error| wrong(at_line(&text, &error)))?;
        for (place, entry) in file.keys.iter().enumerate() {
            entry.expiry().map_err(|error| wrong(format!("{:?}: {error}", entry.name)))?;
            if file.keys[..place].iter().any(|earlier| earlier.name == entry.name) {
                return Err(wrong(format!("two keys are named {:?}", entry.name)));
            }
        }
        Ok(file)
    }

    /// As [`KeyFile::read`]; a file that does not exist is empty.
    ///
    /// # Errors
    /// As [`KeyFile::read`].
    pub fn read_or_new(path: &Path) -> Result<Self, KeysError> {
        match Self::read(path) {
            Err(KeysError::Io { source }) if source.kind() == std::io::ErrorKind::NotFound => {
                Ok(Self::default())
            }
            read => read,
        }
    }

    /// Adds a new key to the file at `path` and returns it.
    ///
    /// # Errors
    /// [`KeysError`] when the name is empty, too long or taken, or the file cannot be changed.
    pub fn create(
        path: &Path,
        name: &str,
        scope: Scope,
        expires_in: Option<Duration>,
    ) -> Result<ApiKey, KeysError> {
        check_name(name)?;
        let mut file = Self::read_or_new(path)?;
        if file.keys.iter().any(|entry| entry.name == name) {
            return Err(KeysError::Exists { path: path.to_owned(), name: name.to_owned() });
        }
        let key = ApiKey::generate();
        let expires = expires_in.map(expiry_after).transpose()?;
        file.keys.push(KeyEntry { name: name.into(), sha256: key.hash(), scope, expires });
        file.write(path)?;
        Ok(key)
    }

    /// Removes the key called `name` from the file at `path`.
    ///
    /// # Errors
    /// [`KeysError::Unknown`] when there is none, or the file cannot be changed.
    pub fn revoke(path: &Path, name: &str) -> Result<(), KeysError> {
        let mut file = Self::read(path)?;
        let before = file.keys.len();
        file.keys.retain(|entry| entry.name != name);
        if file.keys.len() == before {
            return Err(KeysError::Unknown { path: path.to_owned(), name: name.to_owned() });
        }
        file.write(path)
    }

    /// Replaces the file at once, so that a server that reads meanwhile sees the old or the new
    /// one, never half of it. Only its owner can read it.
    fn write(&self, path: &Path) -> Result<(), KeysError> {
        let text = toml::to_string_pretty(self).map_err(|error| KeysError::Content {
            path: path.to_owned(),
            message: error.to_string(),
        })?;
        let saved = durable::write_private(path, format!("{HEADER}{text}").as_bytes());
        saved.map_err(|source| KeysError::Io { source })
    }
}

fn at_line(text: &str, error: &toml::de::Error) -> String {
    let line = error
        .span()
        .and_then(|span| text.get(..span.start))
        .map(|before| before.bytes().filter(|byte| *byte == b'\n').count() + 1);
    match line {
        Some(line) => format!("line {line}: {}", error.message()),
        None => error.message().to_owned(),
    }
}

fn check_name(name: &str) -> Result<(), KeysError> {
    if !name.trim().is_empty() && name.len() <= NAME && !name.chars().any(char::is_control) {
        return Ok(());
    }
    Err(KeysError::Value { what: "name", found: name.into(), wanted: "1 to 100 bytes of text" })
}

fn expiry_after(time: Duration) -> Result<Datetime, KeysError> {
    let wrong = || KeysError::Value {
        what: "expires-in",
        found: humantime::format_duration(time).to_string(),
        wanted: "a time before the year 10000",
    };
    // Checked by adding, since formatting a time too far away would panic.
    let latest = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799);
    let end = SystemTime::now().checked_add(time).filter(|end| *end < latest).ok_or_else(wrong)?;
    humantime::format_rfc3339_seconds(end).to_string().parse().map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        let folder = tempfile::tempdir().expect("temp dir");
        let path = folder.path().join("keys.toml");
        fs_err::write(&path, text).expect("write");
        KeyFile::read(&path).expect_err("refused").to_string()
    }

    #[test]
    fn a_key_is_created_listed_and_revoked() {
        let folder = tempfile::tempdir().expect("temp dir");
        let path = folder.path().join("keys.toml");
        let key = KeyFile::create(&path, "ci", Scope::Read, None).expect("created");
        let day = Some(Duration::from_secs(86_400));
        KeyFile::create(&path, "ops", Scope::Write, day).expect("created");
        let text = fs_err::read_to_string(&path).expect("there");
        assert!(!text.contains(key.reveal()), "the key itself was stored");
        let keys = KeyFile::read(&path).expect("reads").keys;
        assert!(bool::from(keys[0].sha256.same(&key.hash())));
        assert_eq!((keys[0].scope, keys[0].expiry().expect("none")), (Scope::Read, None));
        assert!(keys[1].expiry().expect("a time").expect("set") > SystemTime::now());
        KeyFile::revoke(&path, "ci").expect("revoked");
        let names: Vec<_> = KeyFile::read(&path).expect("reads").keys;
        assert_eq!(names.iter().map(|entry| &entry.name[..]).collect::<Vec<_>>(), ["ops"]);
        let files = fs_err::read_dir(folder.path()).expect("folder").count();
        assert_eq!(files, 1, "a temporary file was left");
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_can_read_the_file() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("temp dir");
        let path = folder.path().join("keys.toml");
        KeyFile::create(&path, "ci", Scope::Read, None).expect("created");
        let mode = fs_err::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn names_are_unique_and_must_exist() {
        let folder = tempfile::tempdir().expect("temp dir");
        let path = folder.path().join("keys.toml");
        KeyFile::create(&path, "ci", Scope::Read, None).expect("created");
        let again = KeyFile::create(&path, "ci", Scope::Write, None).expect_err("taken");
        assert!(matches!(again, KeysError::Exists { .. }));
        assert!(matches!(KeyFile::revoke(&path, "x"), Err(KeysError::Unknown { .. })));
        for name in ["", " ", "a\nb", &"n".repeat(101)] {
            let error = KeyFile::create(&path, name, Scope::Read, None).expect_err(name);
            assert!(matches!(error, KeysError::Value { what: "name", .. }));
        }
        let forever = KeyFile::create(&path, "f", Scope::Read, Some(Duration::MAX));
        assert!(matches!(forever, Err(KeysError::Value { what: "expires-in", .. })));
    }

    #[test]
    fn wrong_files_are_refused_without_showing_what_is_in_them() {
        let hash = "0".repeat(64);
        let text = refusal("[[keys]]\nname = \"a\"\nsha256 = \"pw_secret\"\nscope = \"read\"\n");
        assert!(text.contains("line 3") && text.contains("64 hexadecimal"), "{text}");
        assert!(!text.contains("pw_secret"), "{text}");
        let entry = format!("[[keys]]\nname = \"a\"\nsha256 = \"{hash}\"\nscope = \"read\"\n");
        assert!(refusal(&format!("{entry}{entry}")).contains("two keys are named \"a\""));
        let text = refusal(&format!("{entry}expires = 2027-01-01\n"));
        assert!(text.contains("must be a UTC time"), "{text}");
    }
}
