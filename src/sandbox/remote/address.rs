use std::path::Path;

use object_store::path::Path as Key;

use super::error::RemoteError;
use super::hub;

/// Kinds of storage, by how their addresses begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Scheme {
    S3,
    Gcs,
    Azure,
    Hub,
    Http,
    Https,
}

const SCHEMES: [(&str, Scheme); 6] = [
    ("s3://", Scheme::S3),
    ("gs://", Scheme::Gcs),
    ("az://", Scheme::Azure),
    ("hf://", Scheme::Hub),
    ("http://", Scheme::Http),
    ("https://", Scheme::Https),
];

impl Scheme {
    pub fn prefix(self) -> &'static str {
        SCHEMES.iter().find(|(_, scheme)| *scheme == self).map_or("", |(prefix, _)| prefix)
    }

    pub fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Https)
    }

    /// Bytes of the bucket that an address names behind the prefix: up to the `/` before the key.
    fn bucket_len(self, rest: &str) -> usize {
        // A hub's dataset has a kind and an owner before its name.
        let parts = if self == Self::Hub { 3 } else { 1 };
        rest.match_indices('/').nth(parts - 1).map_or(rest.len(), |(at, _)| at)
    }

    /// Variables of the environment of which one must be set, unless the machine itself has a role.
    pub fn credentials(self) -> &'static [&'static str] {
        match self {
            Self::S3 => &[
                "AWS_ACCESS_KEY_ID",
                "AWS_WEB_IDENTITY_TOKEN_FILE",
                "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
                "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                "AWS_SKIP_SIGNATURE",
            ],
            Self::Gcs => &[
                "GOOGLE_APPLICATION_CREDENTIALS",
                "GOOGLE_SERVICE_ACCOUNT",
                "GOOGLE_SERVICE_ACCOUNT_KEY",
                "GOOGLE_SKIP_SIGNATURE",
            ],
            Self::Azure => &[
                "AZURE_STORAGE_ACCOUNT_NAME",
                "AZURE_STORAGE_ACCOUNT_KEY",
                "AZURE_STORAGE_SAS_TOKEN",
                "AZURE_CLIENT_ID",
                "AZURE_SKIP_SIGNATURE",
            ],
            Self::Hub | Self::Http | Self::Https => &[],
        }
    }
}

fn split(path: &Path) -> Option<(Scheme, &str)> {
    let text = path.to_str()?;
    SCHEMES.iter().find_map(|(prefix, scheme)| Some((*scheme, text.strip_prefix(prefix)?)))
}

/// Whether a path is a remote address.
pub fn is_remote(path: &Path) -> bool {
    split(path).is_some()
}

/// The scheme and bucket of a remote address with the `/` behind them, empty for any other path, and
/// the rest.
pub fn split_start(text: &str) -> (&str, &str) {
    let Some((scheme, rest)) = split(Path::new(text)) else { return ("", text) };
    let bucket = (scheme.bucket_len(rest) + 1).min(rest.len());
    text.split_at(scheme.prefix().len() + bucket)
}

/// Whether the folders of an address can be listed, as those of a bucket and of this machine can.
pub fn lists_folders(path: &Path) -> bool {
    split(path).is_none_or(|(scheme, _)| !scheme.is_http())
}

/// Where an object lies.
#[derive(Debug, Clone)]
pub(super) struct Address {
    pub scheme: Scheme,
    /// The bucket, the container, the hub's dataset with its revision, or the host with its port.
    pub bucket: String,
    /// Empty for the bucket itself.
    pub key: Key,
    /// It ends with `/`, so that it can only be a folder.
    pub is_folder: bool,
    /// As it was written, for messages.
    pub shown: String,
}

impl Address {
    /// What the keys of all objects below begin with; none for the bucket itself.
    pub fn prefix(&self) -> Option<&Key> {
        (!self.key.as_ref().is_empty()).then_some(&self.key)
    }

    /// # Errors
    /// [`RemoteError::Address`]: there is no bucket, the key leads elsewhere, or it holds what may be
    /// a secret, which the message leaves out.
    pub fn of(path: &Path) -> Result<Self, RemoteError> {
        let wrong = |shown: String, reason: &str| {
            Err(RemoteError::Address { address: shown, reason: reason.to_owned() })
        };
        let Some((scheme, rest)) = split(path) else {
            return wrong(path.display().to_string(), "it is no remote address");
        };
        let (bucket, key) = rest.split_at(scheme.bucket_len(rest));
        let key = key.strip_prefix('/').unwrap_or(key);
        // Behind a dataset's name stands a revision.
        let owner = bucket.rsplit_once('/').map_or(bucket, |(owner, _)| owner);
        let before = if scheme == Scheme::Hub { owner } else { bucket };
        if let Some((_, host)) = before.rsplit_once('@') {
            let shown = format!("{}{host}/…", scheme.prefix());
            return wrong(
                shown,
                "an address must not hold a user or a password; set the credentials in the \
                 environment",
            );
        }
        if scheme.is_http()
            && let Some((before, _)) = rest.split_once('?')
        {
            return wrong(
                format!("{}{before}?…", scheme.prefix()),
                "an address must not hold a query, which may be a signature: set it as \
                 PAIRWRIGHT_HTTP_QUERY in the environment",
            );
        }
        let shown = format!("{}{rest}", scheme.prefix());
        if scheme == Scheme::Hub
            && let Err(reason) = hub::dataset(bucket)
        {
            return wrong(shown, reason);
        }
        let odd = |letter: char| letter.is_control() || letter.is_whitespace();
        if bucket.is_empty() || bucket.contains(odd) {
            return wrong(shown, "it names no bucket, container or host");
        }
        let parsed = if scheme.is_http() { Key::from_url_path(key) } else { Key::parse(key) };
        match parsed {
            Ok(key) => {
                let is_folder = rest.ends_with('/') || key.as_ref().is_empty();
                Ok(Self { scheme, bucket: bucket.to_owned(), key, is_folder, shown })
            }
            Err(_) => wrong(
                shown,
                "a key has no empty part, no part `.` or `..`, and no control characters",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Result<(Scheme, String, String), String> {
        let found = Address::of(Path::new(text)).map_err(|error| error.to_string())?;
        Ok((found.scheme, found.bucket, found.key.to_string()))
    }

    #[test]
    fn addresses_tell_bucket_and_key() {
        let of = |scheme, bucket: &str, key: &str| Ok((scheme, bucket.to_owned(), key.to_owned()));
        assert_eq!(address("s3://b/a/c d.tar"), of(Scheme::S3, "b", "a/c d.tar"));
        assert_eq!(address("s3://b"), of(Scheme::S3, "b", ""));
        assert_eq!(address("gs://b/x%20y"), of(Scheme::Gcs, "b", "x%20y"));
        assert_eq!(address("az://c/x?"), of(Scheme::Azure, "c", "x?"));
        assert_eq!(address("http://h:80/a%20b.tar"), of(Scheme::Http, "h:80", "a b.tar"));
        let dataset = "datasets/o/n@v1";
        assert_eq!(address("hf://datasets/o/n@v1"), of(Scheme::Hub, dataset, ""));
        assert_eq!(address("hf://datasets/o/n@v1/d/a.tar"), of(Scheme::Hub, dataset, "d/a.tar"));
        for path in ["/s3/b", "s3:/b", "photos", "ftp://h/x"] {
            assert!(!is_remote(Path::new(path)), "{path}");
        }
    }

    #[test]
    fn secrets_and_ways_out_are_refused_and_not_repeated() {
        for wrong in [
            "s3://KEY:hidden@bucket/a",
            "https://user:hidden@host/a.tar",
            "https://host/a.tar?X-Amz-Signature=hidden",
            "https://host?hidden",
            "hf://user:hidden@datasets/o/n",
            "hf://hidden@host/datasets/o/n",
        ] {
            let error = address(wrong).expect_err("refused");
            assert!(!error.contains("hidden") && !error.contains("KEY"), "{error}");
            assert!(error.contains("environment"), "{error}");
        }
        for wrong in [
            "s3://",
            "s3:///a",
            "s3://b/../c",
            "s3://b/a//c",
            "http://h/a/%2e%2e/b",
            "hf://datasets/name",
            "hf://o/n/a.tar",
        ] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_in_remote_files_stay_below_their_folder() {
        let joined = |name: &str| super::super::join(Path::new("s3://b/a"), name);
        assert_eq!(joined("x.jpg"), Path::new("s3://b/a/x.jpg"));
        assert_eq!(joined("/etc/passwd"), Path::new("s3://b/a/etc/passwd"));
        assert!(Address::of(&joined("../x.jpg")).is_err());
        assert_eq!(super::super::join(Path::new("a"), "/x.jpg"), Path::new("/x.jpg"));
    }
}
