//! TLS and mTLS from PEM files.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tonic::transport::{Certificate, ClientTlsConfig, Identity, Server, ServerTlsConfig};

use crate::ErrorKind;
use crate::base::failure::Failure;
use crate::config::TlsConfig;

/// A client that connects and says nothing must not hold a place for long.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("serve.{setting}: {source}")]
    Read {
        setting: &'static str,
        #[source]
        source: std::io::Error,
    },
    #[error("serve.{setting} = {path}: no {wanted} in PEM form; found {found}")]
    Content { setting: &'static str, path: PathBuf, wanted: &'static str, found: String },
    #[error("serve.tls.cert = {cert} with serve.tls.key = {key}: {message}")]
    Unusable { cert: PathBuf, key: PathBuf, message: String },
}

impl Failure for TlsError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                ErrorKind::NotFound
            }
            Self::Read { .. } | Self::Content { .. } | Self::Unusable { .. } => {
                ErrorKind::InvalidInput
            }
        }
    }

    fn code(&self) -> &'static str {
        "tls_unusable"
    }
}

/// Reads the files and tries them out. None when no certificate is configured.
///
/// # Errors
/// [`TlsError`] naming the file, what was wanted and what was found.
pub fn server_tls(config: &TlsConfig) -> Result<Option<ServerTlsConfig>, TlsError> {
    let (Some(cert), Some(key)) = (&config.cert, &config.key) else { return Ok(None) };
    choose_cryptography();
    let chain = certificates("tls.cert", cert)?;
    let secret = read_pem("tls.key", key, "private key", |label| label.ends_with("PRIVATE KEY"))?;
    warn_if_others_can_read(key);
    let mut tls =
        ServerTlsConfig::new().identity(Identity::from_pem(chain, secret)).timeout(HANDSHAKE);
    if let Some(ca) = &config.client_ca {
        let roots = certificates("tls.client_ca", ca)?;
        tls = tls.client_ca_root(Certificate::from_pem(roots));
    }
    // Only building an acceptor finds a key that is not the certificate's.
    Server::builder().tls_config(tls.clone()).map_err(|error| TlsError::Unusable {
        cert: cert.clone(),
        key: key.clone(),
        message: causes(&error),
    })?;
    Ok(Some(tls))
}

/// TLS towards the collector of traces: trusts the authorities of `ca`, or those of the system.
///
/// # Errors
/// [`TlsError`] naming the file, what was wanted and what was found.
pub fn collector_tls(ca: Option<&Path>) -> Result<ClientTlsConfig, TlsError> {
    choose_cryptography();
    let tls = ClientTlsConfig::new();
    let Some(ca) = ca else { return Ok(tls.with_native_roots()) };
    Ok(tls.ca_certificate(Certificate::from_pem(certificates("otel.ca", ca)?)))
}

/// Two providers are in the tree, so rustls wants to be told.
fn choose_cryptography() {
    // An error says that this was done already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

fn certificates(setting: &'static str, path: &Path) -> Result<String, TlsError> {
    read_pem(setting, path, "certificate", |label| label == "CERTIFICATE")
}

fn read_pem(
    setting: &'static str,
    path: &Path,
    wanted: &'static str,
    fits: fn(&str) -> bool,
) -> Result<String, TlsError> {
    let text = fs_err::read_to_string(path).map_err(|source| TlsError::Read { setting, source })?;
    let labels: Vec<&str> = text.lines().filter_map(pem_label).collect();
    if labels.iter().any(|label| fits(label)) {
        return Ok(text);
    }
    let found = match labels.as_slice() {
        [] if text.trim().is_empty() => "an empty file".to_owned(),
        [] => "no PEM section".to_owned(),
        labels => labels.join(", "),
    };
    Err(TlsError::Content { setting, path: path.to_owned(), wanted, found })
}

/// `CERTIFICATE` of `-----BEGIN CERTIFICATE-----`.
fn pem_label(line: &str) -> Option<&str> {
    line.trim().strip_prefix("-----BEGIN ")?.strip_suffix("-----")
}

/// An error and what caused it, on one line.
fn causes(error: &dyn std::error::Error) -> String {
    let rest = std::iter::successors(error.source(), |cause| cause.source());
    rest.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(unix)]
fn warn_if_others_can_read(key: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let mode = fs_err::metadata(key).map_or(0, |metadata| metadata.permissions().mode());
    if mode & 0o077 != 0 {
        let mode = format!("{:o}", mode & 0o777);
        tracing::warn!(
            file = %key.display(), mode,
            "other users of this machine can read the TLS key: chmod 600"
        );
    }
}

#[cfg(not(unix))]
fn warn_if_others_can_read(_key: &Path) {}

#[cfg(test)]
mod tests {
    use super::*;

    struct Files {
        _folder: tempfile::TempDir,
        config: TlsConfig,
    }

    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    fn files(cert: &str, key: &str, client_ca: Option<&str>) -> Files {
        let folder = tempfile::tempdir().expect("temp dir");
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs_err::write(&path, text).expect("write");
            path
        };
        let config = TlsConfig {
            cert: Some(write("cert.pem", cert)),
            key: Some(write("key.pem", key)),
            client_ca: client_ca.map(|text| write("ca.pem", text)),
        };
        Files { _folder: folder, config }
    }

    fn refusal(files: &Files) -> String {
        server_tls(&files.config).expect_err("refused").to_string()
    }

    #[test]
    fn good_files_are_taken_and_none_means_plain() {
        let (cert, key) = pair();
        let with_ca = files(&cert, &key, Some(&cert));
        assert!(server_tls(&with_ca.config).expect("good").is_some());
        assert!(server_tls(&TlsConfig::default()).expect("plain").is_none());
    }

    #[test]
    fn errors_name_the_file_and_what_is_in_it() {
        let (cert, key) = pair();
        let text = refusal(&files(&key, &key, None));
        assert!(text.contains("serve.tls.cert") && text.contains("cert.pem"), "{text}");
        assert!(text.contains("no certificate") && text.contains("found PRIVATE KEY"), "{text}");
        let text = refusal(&files(&cert, "", None));
        assert!(text.contains("serve.tls.key") && text.contains("an empty file"), "{text}");
        let text = refusal(&files(&cert, &key, Some("hello")));
        assert!(text.contains("client_ca") && text.contains("no PEM section"), "{text}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let (cert, key) = pair();
        let mut missing = files(&cert, &key, None);
        missing.config.key = Some("/nowhere/key.pem".into());
        let error = server_tls(&missing.config).expect_err("missing");
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("/nowhere/key.pem"), "{error}");
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let ((cert, _), (_, other)) = (pair(), pair());
        let text = refusal(&files(&cert, &other, None));
        assert!(text.contains("cert.pem") && text.contains("key.pem"), "{text}");
    }
}
